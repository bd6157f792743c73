//! What py3clean takes away, and what it must leave.

use std::collections::BTreeSet;

use super::{SUITE, modules_of};
use crate::chroot::Chroot;
use crate::package::{MODULES, Package};

mod r16 {
    use super::*;

    /// Two packages whose modules' names look alike to a glob; then the first one's bytecode is removed.
    fn cleaned(chroot: &Chroot, first: &str, second: &str) -> Vec<String> {
        let packages = [("first", first), ("second", second)]
            .map(|(name, module)| Package::public(name, "1", &[(module, "x = 1\n")]));
        chroot.dpkg_install(&[&packages[0], &packages[1]]).succeeds();
        chroot.run(&["py3clean", "-p", "first"]).succeeds();
        modules_of(chroot, MODULES)
    }

    #[test]
    fn today_bytecode_of_other_files_is_removed() {
        assert_eq!(cleaned(&Chroot::original(SUITE), "a[1].py", "a1.py"), ["a[1]"]);
        assert_eq!(cleaned(&Chroot::original(SUITE), "foo.py", "foo.bar.py"), [""; 0]);
    }

    #[test]
    fn only_the_package_s_own_bytecode_is_removed() {
        assert_eq!(cleaned(&Chroot::transactional(SUITE), "a[1].py", "a1.py"), ["a1"]);
        assert_eq!(cleaned(&Chroot::transactional(SUITE), "foo.py", "foo.bar.py"), ["foo.bar"]);
    }

    /// Bytecode of all levels, and a temporary file, of a version that goes; what of it stays.
    fn of_a_version(chroot: &Chroot) -> BTreeSet<String> {
        chroot.dpkg_install(&[&Package::public("levels", "1", &[("levels.py", "x = 1\n")])]).succeeds();
        let stem = format!("{MODULES}/__pycache__/levels.{}", SUITE.tag());
        chroot.run(&["python3", "-O", "-m", "compileall", "-q", MODULES]).succeeds();
        chroot.run(&["python3", "-OO", "-m", "compileall", "-q", MODULES]).succeeds();
        chroot.write(&format!("{stem}.pyc.140245"), "half a file");
        chroot.run(&["touch", "-d", "2 hours ago", &format!("{stem}.pyc.140245")]).succeeds();
        chroot.run(&["py3clean", "-V", SUITE.python(), MODULES]).succeeds();
        let all = walkdir::WalkDir::new(chroot.path(MODULES)).into_iter().flatten();
        let files =
            all.filter(|entry| entry.path().components().any(|part| part.as_os_str() == "__pycache__"));
        files.map(|entry| entry.file_name().to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn today_optimized_bytecode_of_a_version_stays() {
        let left = of_a_version(&Chroot::original(SUITE));
        let tag = SUITE.tag();
        for name in [format!("levels.{tag}.opt-1.pyc"), format!("levels.{tag}.pyc.140245")] {
            assert!(left.contains(&name), "{left:?}");
        }
    }

    #[test]
    fn all_bytecode_of_a_version_is_removed() {
        assert!(of_a_version(&Chroot::transactional(SUITE)).is_empty());
    }
}
