//! The walker and the canonical form before bytes that nobody wrote.
//!
//! ```sh
//! cd tests/fuzz && ./seeds ../../target/fuzz-corpus
//! export CARGO_TARGET_DIR=../../target/fuzz
//! cargo +nightly fuzz run --fuzz-dir . marshal ../../target/fuzz-corpus -- -max_len=4096 -max_total_time=600
//! ```
//!
//! The first byte is the format, the rest is the code.
#![no_main]

use libfuzzer_sys::fuzz_target;

// Alone: with all of the program around it, SQLite would have to be instrumented, too.
#[path = "../../../src/python/marshal/mod.rs"]
#[allow(unused_imports, dead_code, reason = "a part of it is enough here")]
mod marshal;

use marshal::{Format, canonicalize, check};

fuzz_target!(|input: &[u8]| {
    let Some((&minor, code)) = input.split_first() else { return };
    let format = match minor % 12 {
        10 => Format::of_pypy(3, 9),
        11 => Format::of_pypy(3, 11),
        minor => Format::of(3, 6 + minor),
    };
    let Some(format) = format else { unreachable!("a format for each number") };
    let checked = check(code, format);
    let mut form = code.to_vec();
    let canonical = canonicalize(&mut form, format);
    let (whole, canonical) = match (checked, canonical) {
        (Ok(whole), Ok(canonical)) => (whole, canonical),
        (checked, canonical) => {
            assert_eq!(checked, canonical, "both refuse, and say the same");
            assert_eq!(form, code, "what is refused is left as it is");
            return;
        }
    };
    assert_eq!(whole.filename(), canonical.filename());
    let length = canonical.bytes().len();
    assert!(length <= code.len());
    form.truncate(length);
    let filename = whole.filename();
    assert_eq!(check(&form, format).map(|whole| whole.filename() == filename), Ok(true), "loads as before");
    let mut again = form.clone();
    assert_eq!(canonicalize(&mut again, format).map(|code| code.bytes() == form), Ok(true), "is its own");
});
