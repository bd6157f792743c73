//! What a package excludes in `/usr/share/python3/bcep`: no command makes it or misses it.

use std::fs;

use crate::aid::{names, set_mtime};
use crate::installation::{Installation, PUBLIC};
use crate::support::{PYTHON, python};

const LIST: &str = "/usr/share/python3/bcep/pkg";

/// A source that is no Python.
const TEMPLATE: &str = "class {{ name }}: pass\n";

/// A system with a package of a module and a template, which this line excludes.
fn system(line: &str) -> Installation {
    let system = Installation::with_programs();
    system.install("pkg", &["pkg/m.py", "pkg/template.py"]);
    system.write(&format!("{PUBLIC}/pkg/template.py"), TEMPLATE);
    system.write(LIST, &format!("{line}\n"));
    system
}

fn by_pattern() -> String {
    format!("re|-4.0|{PUBLIC}/pkg|.*template.*")
}

/// Demands that the module has bytecode, and nothing else.
#[track_caller]
fn only_the_module_is_compiled(system: &Installation, context: &str) {
    let cache = names(&system.at(&format!("{PUBLIC}/pkg/__pycache__")));
    assert_eq!(cache, [format!("m.{}.pyc", python::cache_tag())], "{context}");
}

#[test]
fn no_line_of_a_list_is_lost_in_the_trigger() {
    for line in [by_pattern(), format!("dir|-|{PUBLIC}/pkg/sub"), format!("file|-|{PUBLIC}/pkg/template.py")]
    {
        for moment in ["triggered", "configure"] {
            let system = system(&line);
            if line.starts_with("dir") {
                let from = system.at(&format!("{PUBLIC}/pkg/template.py"));
                fs::create_dir(system.at(&format!("{PUBLIC}/pkg/sub"))).unwrap();
                fs::rename(from, system.at(&format!("{PUBLIC}/pkg/sub/template.py"))).unwrap();
            }
            let outcome = system.call_in_script("pyc-txn", &["hook", moment]).exits(0).says("compiled 1 ");
            only_the_module_is_compiled(&system, outcome.context());
            assert_eq!(outcome.stderr, "", "{line}");
            system.call("pyc-txn", &["commit"]).exits(0).says("nothing to do (1 up to date)");
        }
    }
}

#[test]
fn every_command_leaves_out_the_same() {
    let tree = format!("{PUBLIC}/pkg");
    let template = format!("{PUBLIC}/pkg/template.py");
    for what in
        [&[][..], &[tree.as_str()], &["-p", "pkg"], &["--python", PYTHON], &[template.as_str(), &tree]]
    {
        let system = system(&by_pattern());
        system
            .call("pyc-txn", &[&["commit", "-n"], what].concat())
            .exits(0)
            .says("would compile or remove 1,");
        if !what.is_empty() && what[0] != "--python" {
            system.call("pyc-txn", &[&["record"], what].concat()).exits(0).says("recorded 1 ");
            system.call("pyc-txn", &["rollback"]).exits(0);
        }
        let outcome =
            system.call("pyc-txn", &[&["commit", "-f"], what].concat()).exits(0).says("compiled 1 ");
        only_the_module_is_compiled(&system, outcome.context());
        system
            .call("pyc-txn", &[&["verify"], what].concat())
            .exits(0)
            .says("valid 1 ")
            .does_not_say("missing");
        fs::remove_file(system.pyc("pkg/m.py")).unwrap();
        let outcome = system.call("pyc-txn", &[&["verify", "--repair"], what].concat());
        let outcome = outcome.exits(0).says("repaired 1");
        only_the_module_is_compiled(&system, outcome.context());
    }
}

#[test]
fn a_list_is_for_the_versions_that_it_names() {
    let system = system(&format!("dir|3.2-3.3|{PUBLIC}/pkg"));
    system.call("pyc-txn", &["commit"]).exits(1).says("compiled 1, failed 1 ").says("template.py:1: ");
}

#[test]
fn a_list_counts_by_the_name_of_a_directory_and_by_where_it_is() {
    let system = system(&by_pattern());
    fs::create_dir(system.at("/srv")).unwrap();
    fs::rename(system.at(&format!("{PUBLIC}/pkg")), system.at("/srv/pkg")).unwrap();
    std::os::unix::fs::symlink("../../../../srv/pkg", system.at(&format!("{PUBLIC}/pkg"))).unwrap();
    let outcome = system.call("pyc-txn", &["commit", "/srv/pkg"]).exits(0).says("compiled 1 ");
    only_the_module_is_compiled(&system, outcome.context());
    system.write(LIST, &format!("re|-4.0|{PUBLIC}|pkg/templ.*\n"));
    for arguments in [&["-p", "pkg"][..], &[&format!("{PUBLIC}/pkg")]] {
        system.call("py3compile", &[&["-f"], arguments].concat()).exits(0);
        system.call("pyc-txn", &[&["commit", "-f"], arguments].concat()).exits(0).says("compiled 1 ");
    }
}

#[test]
fn a_change_of_a_list_is_not_hidden_by_seals() {
    let system = system(&format!("re|-|{PUBLIC}|p7/a.py"));
    fs::remove_file(system.at(&format!("{PUBLIC}/pkg/template.py"))).unwrap();
    let modules: Vec<String> = (0..130).map(|number| format!("p{number}/a.py")).collect();
    system.install("many", &modules.iter().map(String::as_str).collect::<Vec<_>>());
    system.call("pyc-txn", &["commit"]).exits(0).says("compiled 130 ");
    let sources: Vec<String> = modules.iter().map(|module| format!("{PUBLIC}/{module}")).collect();
    system.rest(sources.iter());
    system.call("pyc-txn", &["commit", "-v"]).exits(0).says("sealed ");
    // Private modules are in none of the sealed directories, so that another package's change nothing.
    system.install_private(&["/usr/share/pkg/p.py"], "py3compile -p pkg /usr/share/pkg");
    system
        .call("pyc-txn", &["commit", "-v"])
        .exits(0)
        .does_not_say("sealed ")
        .says("compiled 1 (130 up to date)");
    fs::remove_file(system.at(LIST)).unwrap();
    system.call("pyc-txn", &["hook", "triggered"]).exits(0).says("compiled 1 ");
    assert!(system.pyc("p7/a.py").exists());
}

#[test]
fn what_was_published_before_it_was_excluded_is_not_missed_and_not_made_anew() {
    let system = system("");
    system.write(&format!("{PUBLIC}/pkg/template.py"), "x = 1\n");
    system.call("pyc-txn", &["commit"]).exits(0).says("compiled 2 ");
    system.write(LIST, &by_pattern());
    system.call("pyc-txn", &["verify"]).exits(0).says("valid 2 ");
    set_mtime(&system.at(&format!("{PUBLIC}/pkg/template.py")), 1_000_000_000, 0);
    system.call("pyc-txn", &["verify"]).exits(0).says("stale 1");
    system.call("pyc-txn", &["verify", "--repair"]).exits(0).does_not_say("repaired");
    system.call("pyc-txn", &["commit"]).exits(0).says("nothing to do");
    fs::write(system.pyc("pkg/template.py"), "torn").unwrap();
    system.call("pyc-txn", &["verify", "--repair"]).exits(0).says("repaired 1");
    only_the_module_is_compiled(&system, "");
    system.call("pyc-txn", &["verify"]).exits(0).says("valid 1 ").does_not_say("missing");
}

#[test]
fn a_pyc_that_is_gone_is_not_missed_if_its_source_is_excluded() {
    let system = system("");
    system.write(&format!("{PUBLIC}/pkg/template.py"), "x = 1\n");
    system.call("pyc-txn", &["commit"]).exits(0).says("compiled 2 ");
    fs::remove_file(system.pyc("pkg/template.py")).unwrap();
    system.call("pyc-txn", &["verify"]).exits(1).says("missing 1");
    system.write("/etc/pyc-txn.conf", "exclude = ['template']\n");
    system.call("pyc-txn", &["verify"]).exits(0).does_not_say("missing");
    fs::remove_file(system.at("/etc/pyc-txn.conf")).unwrap();
    system.write(LIST, &by_pattern());
    system.call("pyc-txn", &["verify"]).exits(0).does_not_say("missing");
}

#[test]
fn what_an_upgrade_excludes_is_not_taken_back() {
    for end in ["triggered", "after-apt"] {
        let system = system("");
        system.write(&format!("{PUBLIC}/pkg/template.py"), "x = 1\n");
        system.call("pyc-txn", &["hook", "triggered"]).exits(0).says("compiled 2 ");
        system.call_in_script("py3clean", &["-p", "pkg"]).exits(0);
        system.write(LIST, &by_pattern());
        system.write(&format!("{PUBLIC}/pkg/template.py"), TEMPLATE);
        let outcome = system.call("pyc-txn", &["hook", end]).exits(0).says("reused 1 ");
        only_the_module_is_compiled(&system, outcome.context());
        assert_eq!(outcome.stderr, "", "{end}");
    }
}
