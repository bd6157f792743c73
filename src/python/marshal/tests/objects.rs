//! The objects among the constants of a module: their types, lengths, depth, references, hashes.

use super::super::{Format, Reason, check};
use super::{Module, module, reason};

/// What is wrong with a module that has this among its constants.
fn reason_of_constant(constant: &[u8]) -> Option<Reason> {
    reason(&module(&[b")\x01", constant].concat()))
}

/// `constant`, inside so many tuples of one.
fn nested(levels: usize, constant: &[u8]) -> Vec<u8> {
    [b")\x01".repeat(levels), constant.to_vec()].concat()
}

#[test]
fn what_is_not_code_is_refused() {
    for bytes in [&b"N"[..], b"i\0\0\0\0", b"z\x01a", b")\0", b"{0"] {
        assert_eq!(reason(bytes), Some(Reason::NotCode));
    }
    assert_eq!(reason(b""), Some(Reason::CutOff));
    assert_eq!(reason(b"0"), Some(Reason::Null));
    assert_eq!(reason(&[b")\x01", &module(b")\0")[..]].concat()), Some(Reason::NotCode));
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
        (b"{0N0", Reason::WrongType { part: "co_names", wanted: "a tuple of strings" }),
        (b"{N0", Reason::Null),
        (b">\x01\0\0\x000", Reason::Null),
    ];
    for (constant, expected) in wrong {
        assert_eq!(reason_of_constant(constant), Some(expected), "{}", constant.escape_ascii());
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
    assert_eq!(Module::default().with("consts", consts).with("name", b"r\x02\0\0\0").reason(), None);
    let wrong = Module::default().with("consts", consts).with("name", b"r\x01\0\0\0");
    assert_eq!(wrong.reason(), Some(Reason::WrongType { part: "co_name", wanted: "a string" }));
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
    let code = Module::default().with("type", b"\xe3").with("consts", b")\x01r\0\0\0\0");
    assert_eq!(code.reason(), Some(Reason::BadReference(0)));
}

#[test]
fn what_has_no_hash_is_no_key() {
    let list = b"[\0\0\0\0";
    for around in
        [&b"<\x01\0\0\0"[..], b">\x01\0\0\0", b">\x01\0\0\0)\x01", b"{", b">\x01\0\0\0:NN", b">\x01\0\0\0}N"]
    {
        let constant = [around, list, b"0"].concat();
        assert_eq!(reason_of_constant(&constant), Some(Reason::Unhashable), "{}", around.escape_ascii());
    }
    let code = [b">\x01\0\0\0", &module(b")\x01[\0\0\0\0")[..]].concat();
    assert_eq!(reason_of_constant(&code), Some(Reason::Unhashable));
    assert_eq!(reason_of_constant(b"{N[\0\0\0\x000"), None);
    assert_eq!(reason_of_constant(b">\x01\0\0\0>\0\0\0\0"), None);
}
