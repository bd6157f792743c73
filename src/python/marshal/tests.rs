//! What is whole and what is not. The samples are real; the rest is made from [`module`], byte by byte.

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
            ("code", b"s\x04\0\0\0\x97\0\x53\0"),
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
    check(bytes, Format::of(3, 15).unwrap())
        .err()
        .map(|malformed| malformed.reason)
}

/// What is wrong with a module that has this among its constants.
fn reason_of_constant(constant: &[u8]) -> Option<Reason> {
    reason(&module(&[b")\x01", constant].concat()))
}

/// `constant`, inside so many tuples of one.
fn nested(levels: usize, constant: &[u8]) -> Vec<u8> {
    [b")\x01".repeat(levels), constant.to_vec()].concat()
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
        assert_eq!(
            (malformed.offset, malformed.reason),
            (code.len(), Reason::Trailing(1))
        );
    }
}

#[test]
fn a_byte_that_changed_is_survived_wherever_it_is() {
    for (format, code) in samples() {
        let mut damaged = code.to_vec();
        for at in 0..code.len() {
            let was = code[at];
            for byte in [
                0,
                1,
                0x7f,
                0xff,
                was ^ 0x80,
                was ^ 1,
                was ^ 4,
                b'c',
                b'r',
                b'(',
                b'{',
                b'0',
            ] {
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
fn what_is_not_code_is_refused() {
    for bytes in [&b"N"[..], b"i\0\0\0\0", b"z\x01a", b")\0", b"{0"] {
        assert_eq!(reason(bytes), Some(Reason::NotCode));
    }
    assert_eq!(reason(b""), Some(Reason::CutOff));
    assert_eq!(reason(b"0"), Some(Reason::Null));
    assert_eq!(
        reason(&[b")\x01", &module(b")\0")[..]].concat()),
        Some(Reason::NotCode)
    );
}

#[test]
fn every_type_of_constant_is_known() {
    let constants: [&[u8]; 24] = [
        b"N",
        b"T",
        b"F",
        b".",
        b"S",
        b"i\xff\xff\xff\xff",
        b"I\0\0\0\0\0\0\0\x80",
        b"l\xfe\xff\xff\xff\0\0\x01\0",
        b"f\x041e-5",
        b"g\0\0\0\0\0\0\xf0?",
        b"x\x011\x04-inf",
        b"y\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xf0?",
        b"s\x01\0\0\0\xff",
        b"t\x02\0\0\0\xc3\xa9",
        b"u\x03\0\0\0\xed\xa0\x80",
        b"a\x01\0\0\0a",
        b"Z\x01a",
        b"(\x01\0\0\0N",
        b"[\x01\0\0\0N",
        b"<\x01\0\0\0N",
        b">\x02\0\0\0NT",
        b"{NN0",
        b":NNN",
        b"}z\x01a[\0\0\0\x000",
    ];
    for constant in constants {
        assert_eq!(reason_of_constant(constant), None, "{}", constant.escape_ascii());
    }
    let older = Format::of(3, 13).unwrap();
    for constant in [&b":NNN"[..], b"}0"] {
        let malformed = check(&module(&[b")\x01", constant].concat()), older).unwrap_err();
        assert_eq!(malformed.reason, Reason::UnknownType(constant[0]));
    }
}

#[test]
fn constants_that_no_loader_takes_are_refused() {
    let wrong: [(&[u8], Reason); 18] = [
        (b"?", Reason::UnknownType(b'?')),
        (b"\xbf", Reason::UnknownType(0xbf)),
        (b"0", Reason::Null),
        (b"l\x01\0\0\0\0\x80", Reason::BadDigit),
        (b"l\x02\0\0\0\x01\0\0\0", Reason::UnnormalizedInt),
        (b"l\0\0\0\x80", Reason::NegativeSize),
        (b"f\x02 1", Reason::BadFloat),
        (b"f\x00", Reason::BadFloat),
        (b"f\x031_0", Reason::BadFloat),
        (b"z\x01\xe9", Reason::NotAscii),
        (b"u\x01\0\0\0\xe9", Reason::NotUtf8),
        (b"u\x03\0\0\0\xed\xa0\x40", Reason::NotUtf8),
        (b"s\xff\xff\xff\xff", Reason::NegativeSize),
        (b"(\xff\xff\xff\xff", Reason::NegativeSize),
        (b"\xce", Reason::StrayFlag),
        (
            b"{0N0",
            Reason::WrongType {
                part: "co_names",
                wanted: "a tuple of strings",
            },
        ),
        (b"{N0", Reason::Null),
        (b">\x01\0\0\x000", Reason::Null),
    ];
    for (constant, expected) in wrong {
        assert_eq!(
            reason_of_constant(constant),
            Some(expected),
            "{}",
            constant.escape_ascii()
        );
    }
}

#[test]
fn a_length_is_not_believed() {
    for code in b"s(u[<>aAt" {
        let constant = [&[*code], &b"\xff\xff\xff\x7f"[..]].concat();
        assert_eq!(reason_of_constant(&constant), Some(Reason::CutOff));
    }
    assert_eq!(reason_of_constant(b"l\xff\xff\xff\x7f"), Some(Reason::CutOff));
    assert_eq!(reason_of_constant(b"l\x01\0\0\x80"), Some(Reason::CutOff));
    assert_eq!(reason_of_constant(b")\xff"), Some(Reason::CutOff));
}

#[test]
fn as_deep_as_the_loader_goes_and_no_deeper() {
    // The code object is at depth 1, its constants at depth 2.
    assert_eq!(reason(&module(&nested(1998, b")\0"))), None);
    assert_eq!(reason(&module(&nested(1999, b")\0"))), Some(Reason::TooDeep));
    assert_eq!(reason(&module(&nested(1997, b")\x01N"))), None);
    assert_eq!(reason(&module(&nested(1998, b"{0"))), Some(Reason::TooDeep));
    assert_eq!(reason(&nested(1_000_000, b"N")), Some(Reason::TooDeep));
}

#[test]
fn references_are_numbered_by_where_their_objects_begin() {
    // The tuple of constants is 0, the frozenset 1, its string 2.
    let consts = b"\xa9\x03\xbe\x01\0\0\0\xfa\x01ar\x01\0\0\0r\x02\0\0\0";
    assert_eq!(reason(&module(consts)), None);
    assert_eq!(
        Module::default()
            .with("consts", consts)
            .with("name", b"r\x02\0\0\0")
            .reason(),
        None
    );
    let wrong = Module::default()
        .with("consts", consts)
        .with("name", b"r\x01\0\0\0");
    assert_eq!(
        wrong.reason(),
        Some(Reason::WrongType {
            part: "co_name",
            wanted: "a string"
        })
    );
}

#[test]
fn a_reference_to_what_is_missing_or_not_complete_is_refused() {
    for (constant, index) in [
        (&b"r\0\0\0\0"[..], 0),
        (b"r\xff\xff\xff\xff", u32::MAX),
        (b"\xa9\x01r\0\0\0\0", 0),
        (b"\xdb\x01\0\0\0r\0\0\0\0", 0),
        (b"\xbe\x01\0\0\0r\0\0\0\0", 0),
        (b"\xfbNr\0\0\0\x000", 0),
        (b")\x02\xe9\0\0\0\0r\x01\0\0\0", 1),
    ] {
        assert_eq!(reason_of_constant(constant), Some(Reason::BadReference(index)));
    }
    let code = Module::default()
        .with("type", b"\xe3")
        .with("consts", b")\x01r\0\0\0\0");
    assert_eq!(code.reason(), Some(Reason::BadReference(0)));
}

#[test]
fn what_has_no_hash_is_no_key() {
    let list = b"[\0\0\0\0";
    for around in [
        &b"<\x01\0\0\0"[..],
        b">\x01\0\0\0",
        b">\x01\0\0\0)\x01",
        b"{",
        b">\x01\0\0\0:NN",
        b">\x01\0\0\0}N",
    ] {
        let constant = [around, list, b"0"].concat();
        assert_eq!(
            reason_of_constant(&constant),
            Some(Reason::Unhashable),
            "{}",
            around.escape_ascii()
        );
    }
    let code = [b">\x01\0\0\0", &module(b")\x01[\0\0\0\0")[..]].concat();
    assert_eq!(reason_of_constant(&code), Some(Reason::Unhashable));
    assert_eq!(reason_of_constant(b"{N[\0\0\0\x000"), None);
    assert_eq!(reason_of_constant(b">\x01\0\0\0>\0\0\0\0"), None);
}

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
    assert_eq!(
        mixed,
        Some(Reason::WrongType {
            part: "co_names",
            wanted: "a tuple of strings"
        })
    );
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
    assert_eq!(
        with(&[("argcount", two), ("kwonlyargcount", one)]),
        Some(Reason::TooManyArguments)
    );
    assert_eq!(
        with(&[("argcount", two), ("flags", &[4, 0, 0, 0])]),
        Some(Reason::TooManyArguments)
    );
    assert_eq!(with(&[("argcount", one), ("flags", &[8, 0, 0, 0])]), None);
    assert_eq!(with(&[("posonlyargcount", one)]), Some(Reason::TooManyArguments));
    assert_eq!(
        with(&[("argcount", two), ("localspluskinds", b"s\x02\0\0\0 @")]),
        Some(Reason::TooManyArguments)
    );
    assert_eq!(
        with(&[("localspluskinds", b"s\x01\0\0\0 ")]),
        Some(Reason::LocalsDisagree)
    );
    assert_eq!(
        with(&[("stacksize", &[0xff; 4])]),
        Some(Reason::Negative("co_stacksize"))
    );
    assert_eq!(with(&[("firstlineno", &[0xff; 4])]), None);
}

#[test]
fn the_number_of_locals_is_that_of_their_names_where_it_is_written() {
    let (format, code) = samples()
        .find(|(format, _)| *format == Format::of(3, 8).unwrap())
        .unwrap();
    let mut damaged = code.to_vec();
    damaged[13] = 1;
    assert_eq!(
        check(&damaged, format).unwrap_err(),
        Malformed {
            offset: 0,
            reason: Reason::LocalsDisagree
        }
    );
}

#[test]
fn instructions_are_pairs_that_a_compiler_writes() {
    assert_eq!(
        Module::default().with("code", b"s\x01\0\0\0\x97").reason(),
        Some(Reason::OddCode)
    );
    let line = Module::default().with("code", b"s\x02\0\0\0\xfe\0");
    assert_eq!(line.reason(), Some(Reason::Instrumented));
    assert_eq!(
        Module::default().with("code", b"s\x02\0\0\0\x97\xfe").reason(),
        None
    );
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
    assert_eq!(
        name(b"u\x09\0\0\0\xed\xb2\x80\xed\xb3\xbf.py"),
        Ok(b"\x80\xff.py".to_vec())
    );
    // U+D55C begins with the same byte and is no surrogate.
    assert_eq!(
        name(b"u\x03\0\0\0\xed\x95\x9c"),
        Ok("\u{d55c}".as_bytes().to_vec())
    );
    assert_eq!(name(b"z\x03a\0b").unwrap_err().reason, Reason::NulInPath);
}

#[test]
fn a_message_says_where_and_what() {
    let damaged = module(b")\x01\xbf");
    let malformed = check(&damaged, Format::of(3, 11).unwrap()).unwrap_err();
    assert_eq!(
        malformed.to_string(),
        "malformed bytecode at offset 32: unknown type byte 0xbf"
    );
    let wrong = Module::default().with("names", b"N").bytes();
    let malformed = check(&wrong, Format::of(3, 11).unwrap()).unwrap_err();
    assert_eq!(malformed.reason.to_string(), "co_names is not a tuple of strings");
}
