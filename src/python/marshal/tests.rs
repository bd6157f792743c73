//! What is whole and what is not. The samples are real; what `objects` and `code` try is made from
//! [`Module`], byte by byte.

mod canonical;
mod code;
mod objects;
mod samples;

use super::*;
use samples::samples;

/// A module's code object in the format of 3.11 to 3.15, with these constants.
fn module(consts: &[u8]) -> Vec<u8> {
    Module::default().with("consts", consts).bytes()
}

/// The parts of a code object, each under its name, each to be exchanged.
struct Module(Vec<(&'static str, Vec<u8>)>);

impl Default for Module {
    fn default() -> Self {
        let parts: [(&str, &[u8]); 17] = [
            ("type", b"c"),
            ("argcount", &[0; 4]),
            ("posonlyargcount", &[0; 4]),
            ("kwonlyargcount", &[0; 4]),
            ("stacksize", &[1, 0, 0, 0]),
            ("flags", &[0; 4]),
            ("code", b"s\x04\0\0\0\x80\0\0\0"),
            ("consts", b")\x01N"),
            ("names", b")\x01z\x01n"),
            ("localsplusnames", b")\x02z\x01az\x01b"),
            ("localspluskinds", b"s\x02\0\0\0  "),
            ("filename", b"z\x04m.py"),
            ("name", b"z\x08<module>"),
            ("qualname", b"z\x08<module>"),
            ("firstlineno", &[1, 0, 0, 0]),
            ("linetable", b"s\0\0\0\0"),
            ("exceptiontable", b"s\0\0\0\0"),
        ];
        Self(parts.map(|(name, bytes)| (name, bytes.to_vec())).to_vec())
    }
}

impl Module {
    fn with(mut self, name: &str, bytes: &[u8]) -> Self {
        let part = self.0.iter_mut().find(|part| part.0 == name);
        part.unwrap().1 = bytes.to_vec();
        self
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|part| part.1.iter().copied()).collect()
    }

    fn reason(&self) -> Option<Reason> {
        reason(&self.bytes())
    }
}

/// What is wrong with these bytes, for 3.15, which knows all types.
fn reason(bytes: &[u8]) -> Option<Reason> {
    check(bytes, Format::of(3, 15).unwrap()).err().map(|malformed| malformed.reason)
}

#[test]
fn what_every_interpreter_compiled_is_whole() {
    for (format, code) in samples() {
        let whole = check(code, format).unwrap();
        assert_eq!(whole.bytes(), code);
        assert_eq!(&*whole.filename(), "é.py".as_bytes());
    }
}

#[test]
fn code_of_one_layout_is_refused_as_another() {
    for (format, code) in samples() {
        for (other, _) in samples().filter(|(other, _)| other.fields != format.fields) {
            assert!(check(code, other).is_err(), "{format:?} as {other:?}");
        }
    }
}

#[test]
fn code_that_is_cut_off_anywhere_is_refused() {
    for (format, code) in samples() {
        for length in 0..code.len() {
            let malformed = check(&code[..length], format).unwrap_err();
            assert_eq!(malformed.reason, Reason::CutOff, "{length} of {format:?}");
        }
    }
}

#[test]
fn code_with_something_behind_it_is_refused() {
    for (format, code) in samples() {
        let malformed = check(&[code, b"N"].concat(), format).unwrap_err();
        assert_eq!((malformed.offset, malformed.reason), (code.len(), Reason::Trailing(1)));
    }
}

#[test]
fn a_byte_that_changed_is_survived_wherever_it_is() {
    for (format, code) in samples() {
        let mut damaged = code.to_vec();
        for at in 0..code.len() {
            let was = code[at];
            for byte in [0, 1, 0x7f, 0xff, was ^ 0x80, was ^ 1, was ^ 4, b'c', b'r', b'(', b'{', b'0'] {
                damaged[at] = byte;
                let _ = check(&damaged, format);
            }
            damaged[at] = was;
        }
    }
}

#[test]
fn only_known_interpreters_have_a_format() {
    assert!(Format::of(3, 5).is_none());
    assert!(Format::of(3, 16).is_none());
    assert!(Format::of(2, 7).is_none());
    assert!(Format::of_pypy(3, 10).is_none());
}

#[test]
fn the_number_of_locals_is_that_of_their_names_where_it_is_written() {
    let (format, code) = samples().find(|(format, _)| *format == Format::of(3, 8).unwrap()).unwrap();
    let mut damaged = code.to_vec();
    damaged[13] = 1;
    assert_eq!(check(&damaged, format).unwrap_err(), Malformed { offset: 0, reason: Reason::LocalsDisagree });
}

#[test]
fn a_message_says_where_and_what() {
    let damaged = module(b")\x01\xbf");
    let malformed = check(&damaged, Format::of(3, 11).unwrap()).unwrap_err();
    assert_eq!(malformed.to_string(), "malformed bytecode at offset 32: unknown type byte 0xbf");
    let wrong = Module::default().with("names", b"N").bytes();
    let malformed = check(&wrong, Format::of(3, 11).unwrap()).unwrap_err();
    assert_eq!(malformed.reason.to_string(), "co_names is not a tuple of strings");
}
