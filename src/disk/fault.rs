//! Numbered steps: where a crash test stops the process or lets a call fail.
//!
//! Owns the count of steps and the reading of its two variables; knows nothing of what a step is for. Without
//! the feature `fault-injection` [`step`] is an empty function and the variables are not read.
//!
//! * `PYC_TXN_FAULT=abort@N` stops the process before step N, without destructors;
//!   `ENOSPC@N` (or `EIO`, `EROFS`, `EMFILE`) makes step N fail; `ENOSPC@N+` that one and all behind it;
//!   `EXDEV@N` does so if step N is a rename. With the name of a step for a number it is every one of that name.
//!   Several, with commas between them, are several faults: of those at one step the first counts.
//! * `PYC_TXN_TRACE=FILE` appends a line a step: its number, its name, its path.

use std::io;
use std::path::Path;

/// Announces that the change called `name` is about to be made at `path`.
///
/// # Errors
/// The error that `PYC_TXN_FAULT` asks for at this step; never one in a build without fault injection.
#[cfg(not(feature = "fault-injection"))]
#[inline]
pub fn step(_name: &str, _path: &Path) -> io::Result<()> {
    Ok(())
}

/// Announces that the change called `name` is about to be made at `path`.
///
/// # Errors
/// The error that `PYC_TXN_FAULT` asks for at this step.
#[cfg(feature = "fault-injection")]
pub fn step(name: &str, path: &Path) -> io::Result<()> {
    injection::step(name, path)
}

#[cfg(feature = "fault-injection")]
mod injection {
    use std::io::{self, Write};
    use std::path::Path;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static COUNT: AtomicU64 = AtomicU64::new(0);

    const EXDEV: i32 = 18;

    enum Effect {
        Abort,
        Error(i32),
    }

    struct Fault {
        effect: Effect,
        at: At,
    }

    enum At {
        Only(u64),
        From(u64),
        Every(String),
    }

    impl At {
        fn parse(text: &str) -> Self {
            let number = |text: &str| text.parse().ok();
            let from = text.strip_suffix('+').and_then(number).map(Self::From);
            from.or_else(|| number(text).map(Self::Only)).unwrap_or_else(|| Self::Every(text.to_owned()))
        }

        fn is(&self, number: u64, name: &str) -> bool {
            match self {
                Self::Only(only) => number == *only,
                Self::From(first) => number >= *first,
                Self::Every(every) => name == every,
            }
        }
    }

    fn parse(text: &str) -> Option<Fault> {
        let (effect, at) = text.split_once('@')?;
        let effect = match effect {
            "abort" => Effect::Abort,
            "ENOSPC" => Effect::Error(28),
            "EIO" => Effect::Error(5),
            "EROFS" => Effect::Error(30),
            "EMFILE" => Effect::Error(24),
            "EDQUOT" => Effect::Error(122),
            "EXDEV" => Effect::Error(EXDEV),
            _ => return None,
        };
        Some(Fault { effect, at: At::parse(at) })
    }

    fn faults() -> &'static [Fault] {
        static FAULTS: OnceLock<Vec<Fault>> = OnceLock::new();
        let read = |text: &str| parse(text).unwrap_or_else(|| panic!("{text} is not EFFECT@STEP"));
        FAULTS.get_or_init(|| match std::env::var("PYC_TXN_FAULT") {
            Ok(text) => text.split(',').map(read).collect(),
            Err(_) => Vec::new(),
        })
    }

    pub(super) fn step(name: &str, path: &Path) -> io::Result<()> {
        let number = COUNT.fetch_add(1, Ordering::SeqCst) + 1;
        trace(number, name, path);
        match faults().iter().find(|fault| fault.at.is(number, name)).map(|fault| &fault.effect) {
            Some(Effect::Abort) => std::process::abort(),
            Some(Effect::Error(EXDEV)) if name != "rename" => Ok(()),
            Some(Effect::Error(errno)) => Err(io::Error::from_raw_os_error(*errno)),
            None => Ok(()),
        }
    }

    fn trace(number: u64, name: &str, path: &Path) {
        let Some(file) = std::env::var_os("PYC_TXN_TRACE") else {
            return;
        };
        let line = format!("{number} {name} {}\n", path.display());
        let opened = std::fs::OpenOptions::new().append(true).create(true).open(file);
        opened.and_then(|mut file| file.write_all(line.as_bytes())).expect("the trace can be written");
    }
}
