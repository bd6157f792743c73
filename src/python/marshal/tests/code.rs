//! The parts of one code object, and whether they go together.

use super::super::{Format, Reason, check};
use super::Module;

#[test]
fn every_part_of_a_code_object_has_its_type() {
    let wanted = [
        ("code", "bytes"),
        ("consts", "a tuple"),
        ("names", "a tuple of strings"),
        ("localsplusnames", "a tuple of strings"),
        ("localspluskinds", "bytes"),
        ("filename", "a string"),
        ("name", "a string"),
        ("qualname", "a string"),
        ("linetable", "bytes"),
        ("exceptiontable", "bytes"),
    ];
    for (name, wanted) in wanted {
        for wrong in [&b"N"[..], b"[\0\0\0\0", b"i\0\0\0\0"] {
            let Some(Reason::WrongType { part, wanted: said }) = Module::default().with(name, wrong).reason()
            else {
                panic!("{name}");
            };
            assert_eq!((part.trim_start_matches("co_"), said), (name, wanted));
        }
        assert_eq!(Module::default().with(name, b"0").reason(), Some(Reason::Null));
    }
    let mixed = Module::default().with("names", b")\x02z\x01aN").reason();
    assert_eq!(mixed, Some(Reason::WrongType { part: "co_names", wanted: "a tuple of strings" }));
    assert_eq!(Module::default().with("names", b")\0").reason(), None);
}

#[test]
fn the_counts_of_a_code_object_go_together() {
    let with = |parts: &[(&str, &[u8])]| {
        let change = |module: Module, part: &(&str, &[u8])| module.with(part.0, part.1);
        parts.iter().fold(Module::default(), change).reason()
    };
    let (one, two, three): (&[u8], &[u8], &[u8]) = (&[1, 0, 0, 0], &[2, 0, 0, 0], &[3, 0, 0, 0]);
    assert_eq!(with(&[("argcount", two)]), None);
    assert_eq!(with(&[("argcount", three)]), Some(Reason::TooManyArguments));
    assert_eq!(with(&[("argcount", two), ("kwonlyargcount", one)]), Some(Reason::TooManyArguments));
    assert_eq!(with(&[("argcount", two), ("flags", &[4, 0, 0, 0])]), Some(Reason::TooManyArguments));
    assert_eq!(with(&[("argcount", one), ("flags", &[8, 0, 0, 0])]), None);
    assert_eq!(with(&[("posonlyargcount", one)]), Some(Reason::TooManyArguments));
    assert_eq!(
        with(&[("argcount", two), ("localspluskinds", b"s\x02\0\0\0 @")]),
        Some(Reason::TooManyArguments)
    );
    assert_eq!(with(&[("localspluskinds", b"s\x01\0\0\0 ")]), Some(Reason::LocalsDisagree));
    assert_eq!(with(&[("stacksize", &[0xff; 4])]), Some(Reason::Negative("co_stacksize")));
    assert_eq!(with(&[("firstlineno", &[0xff; 4])]), None);
}

#[test]
fn instructions_are_pairs_that_a_compiler_writes() {
    // In 3.15: 128 is RESUME, 33 is RETURN_VALUE, 253 is INSTRUMENTED_LINE.
    let reason = |code: &[u8]| Module::default().with("code", code).reason();
    assert_eq!(reason(b"s\x04\0\0\0\x80\0\x21\0"), None);
    assert_eq!(reason(b"s\x04\0\0\0\x80\xfd\x21\xfd"), None);
    assert_eq!(reason(b"s\x03\0\0\0\x80\0\x21"), Some(Reason::OddCode));
    assert_eq!(reason(b"s\x04\0\0\0\xfd\0\x21\0"), Some(Reason::Instrumented));
    assert_eq!(reason(b"s\x04\0\0\0\x21\0\x80\0"), Some(Reason::OpenEnd));
    assert_eq!(reason(b"s\0\0\0\0"), Some(Reason::OpenEnd));
}

#[test]
fn a_file_name_is_the_bytes_of_its_path() {
    let name = |marshalled: &[u8]| {
        let code = Module::default().with("filename", marshalled).bytes();
        check(&code, Format::of(3, 11).unwrap()).map(|code| code.filename().into_owned())
    };
    assert_eq!(name(b"z\x04m.py"), Ok(b"m.py".to_vec()));
    assert_eq!(name(b"u\x05\0\0\0\xc3\xa9.py"), Ok("é.py".as_bytes().to_vec()));
    // b'\x80\xff.py' as the interpreter keeps it: two lone surrogates, U+DC80 and U+DCFF.
    assert_eq!(name(b"u\x09\0\0\0\xed\xb2\x80\xed\xb3\xbf.py"), Ok(b"\x80\xff.py".to_vec()));
    // U+D55C begins with the same byte and is no surrogate.
    assert_eq!(name(b"u\x03\0\0\0\xed\x95\x9c"), Ok("\u{d55c}".as_bytes().to_vec()));
    assert_eq!(name(b"z\x03a\0b").unwrap_err().reason, Reason::NulInPath);
}
