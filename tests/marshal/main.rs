//! Marshalled code before the interpreters that it is for: each one of this machine compiles its own library, and
//! judges what the walker accepts and what becomes of it.
//!
//! With `--features real-input` it is all of the library, and the public modules; without, a sample.
#![allow(
    unreachable_pub,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test makes and breaks its own world"
)]

#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use pyc_txn::python::marshal::{self, Format};
use support::python;

/// Of so many sources one is judged; and one in other surroundings.
const STEPS: [usize; 2] = if cfg!(feature = "real-input") { [1, 8] } else { [32, 64] };

/// What belongs to a process and not to a source.
struct Surroundings {
    step: usize,
    order: &'static str,
    variables: &'static [(&'static str, &'static str)],
    user: Option<u32>,
}

const ONE: Surroundings = Surroundings {
    step: STEPS[0],
    order: "1",
    variables: &[("PYTHONHASHSEED", "0"), ("LC_ALL", "C"), ("TZ", "UTC"), ("HOME", "/root")],
    user: None,
};
const OTHER: Surroundings = Surroundings {
    step: STEPS[1],
    order: "-1",
    variables: &[("PYTHONHASHSEED", "4711"), ("LC_ALL", "C.UTF-8"), ("TZ", "Asia/Kathmandu"), ("HOME", "/")],
    user: Some(65534),
};

#[test]
fn code_is_accepted_and_has_one_form_under_every_interpreter() {
    let pythons = python::all();
    for minor in (6..=14).filter(|minor| pythons.iter().all(|(found, _)| found != minor)) {
        let _ = io::stderr().write_all(format!("SKIPPED: marshalled code of Python 3.{minor}\n").as_bytes());
    }
    assert!(!pythons.is_empty());
    std::thread::scope(|scope| {
        for (minor, path) in &pythons {
            scope.spawn(move || {
                let format = Format::of(3, *minor).unwrap();
                let [one, other] = [ONE, OTHER].map(|surroundings| judge(path, format, &surroundings));
                for (name, form) in &other {
                    assert_eq!(*form, one[name], "{} of {}", name.escape_ascii(), path.display());
                }
            });
        }
    });
}

/// Has an interpreter judge; the hash of the canonical code of each source.
fn judge(python: &Path, format: Format, surroundings: &Surroundings) -> BTreeMap<Vec<u8>, blake3::Hash> {
    let mut command = Command::new(python);
    command.args([
        "-B",
        "-S",
        "-c",
        include_str!("judge.py"),
        &surroundings.step.to_string(),
        surroundings.order,
    ]);
    command.env_clear().envs(surroundings.variables.iter().copied()).current_dir("/");
    if let Some(user) = surroundings.user.filter(|_| may_be_run_by_others(python)) {
        std::os::unix::process::CommandExt::uid(&mut command, user);
    }
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let answers = child.stdin.take().unwrap();
    let forms = serve(&mut child, answers, format);
    assert!(child.wait().unwrap().success(), "{} complains, see above", python.display());
    forms.unwrap()
}

/// Root can be everybody, but pyenv may be where only root can go.
fn may_be_run_by_others(python: &Path) -> bool {
    rustix::process::geteuid().is_root() && python.starts_with("/usr")
}

/// Answers the questions of `judge.py`, which says how they are put.
fn serve(
    child: &mut Child,
    mut answers: ChildStdin,
    format: Format,
) -> io::Result<BTreeMap<Vec<u8>, blake3::Hash>> {
    let mut questions = BufReader::new(child.stdout.take().unwrap());
    let mut forms = BTreeMap::new();
    loop {
        let kind = number(&mut questions)?;
        let mut payload = vec![0; number(&mut questions)? as usize];
        questions.read_exact(&mut payload)?;
        match kind {
            0 => match marshal::canonicalize(&mut payload, format) {
                Ok(code) => {
                    let length = u32::try_from(code.bytes().len()).unwrap();
                    answers.write_all(&[&[1][..], &length.to_le_bytes(), code.bytes()].concat())?;
                }
                Err(_) => answers.write_all(&[0])?,
            },
            1 => answers.write_all(&[u8::from(marshal::check(&payload, format).is_ok())])?,
            2 => {
                let end = payload.iter().position(|&byte| byte == 0).unwrap();
                forms.insert(payload[..end].to_vec(), blake3::hash(&payload[end + 1..]));
            }
            _ => return Ok(forms),
        }
    }
}

fn number(from: &mut impl Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    from.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}
