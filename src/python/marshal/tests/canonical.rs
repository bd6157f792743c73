//! The canonical form: what changes, and what does not.

use super::{Module, module, samples};
use crate::python::marshal::{Format, canonicalize, check};

/// The canonical form, which is its own.
fn canonical(bytes: &[u8], format: Format) -> Vec<u8> {
    let mut code = bytes.to_vec();
    let whole = canonicalize(&mut code, format).unwrap();
    let (length, filename) = (whole.bytes().len(), whole.filename().into_owned());
    code.truncate(length);
    assert_eq!(*check(&code, format).unwrap().filename(), filename);
    let mut again = code.clone();
    assert_eq!(canonicalize(&mut again, format).unwrap().bytes(), code);
    code
}

/// For 3.14, with these constants, what the constants become.
fn consts(consts: &[u8]) -> Vec<u8> {
    between(&canonical(&module(consts), Format::of(3, 14).unwrap()))
}

/// What stands for the constants in what [`module`] made.
fn between(code: &[u8]) -> Vec<u8> {
    let before = module(b"").windows(5).position(|window| window == b")\x01z\x01n").unwrap();
    let after = module(b"").len() - before;
    code[before..code.len() - after].to_vec()
}

#[test]
fn real_code_becomes_no_longer_and_is_refused_where_it_was() {
    for (format, code) in samples() {
        assert!(canonical(code, format).len() <= code.len());
        for length in 0..code.len() {
            let mut cut = code[..length].to_vec();
            assert_eq!(
                canonicalize(&mut cut, format).unwrap_err(),
                check(&code[..length], format).unwrap_err()
            );
            assert_eq!(cut, code[..length]);
        }
    }
}

#[test]
fn flags_stand_on_what_is_referred_to_and_nowhere_else() {
    assert_eq!(consts(b")\x03\xda\x03abc\xda\x03defr\x01\0\0\0"), b")\x03Z\x03abc\xda\x03defr\0\0\0\0");
    assert_eq!(consts(b"\xa9\x02\xe9\x01\0\0\0\xa9\x01\xf3\0\0\0\0"), b")\x02i\x01\0\0\0)\x01s\0\0\0\0");
    let kept = b")\x03\xda\x03abc\xa9\x01r\0\0\0\0r\x01\0\0\0";
    assert_eq!(consts(kept), kept);
}

#[test]
fn a_string_of_one_character_is_interned() {
    let before = b")\x06z\x01.z\0u\x02\0\0\0\xc3\xa4a\x01\0\0\0xz\x02..u\x02\0\0\0..";
    let after = b")\x06Z\x01.Z\0t\x02\0\0\0\xc3\xa4A\x01\0\0\0xz\x02..u\x02\0\0\0..";
    assert_eq!(consts(before), after);
    let format = Format::of_pypy(3, 11).unwrap();
    let (_, sample) = samples().find(|(other, _)| *other == format).unwrap();
    let single = |code: &[u8]| code.windows(3).filter(|window| window == b"z\x01g").count();
    assert_eq!(single(&canonical(sample, format)), single(sample) + 1, "only the flag of another is gone");
}

#[test]
fn a_set_has_one_order_however_it_was_written() {
    let items: [&[u8]; 4] = [b"z\x03abc", b"i\x05\0\0\0", b"N", b")\x02i\x01\0\0\0T"];
    let set = |order: [usize; 4]| {
        let items: Vec<u8> = order.iter().flat_map(|&item| items[item].to_vec()).collect();
        consts(&[b")\x01>\x04\0\0\0", &items[..]].concat())
    };
    for order in [[1, 0, 2, 3], [3, 2, 1, 0], [2, 3, 0, 1], [1, 3, 0, 2]] {
        assert_eq!(set(order), set([0, 1, 2, 3]));
    }
}

#[test]
fn what_is_shared_in_a_set_is_written_where_it_comes_first() {
    let one = consts(b")\x02>\x02\0\0\0)\x01\xda\x03abc)\x02r\0\0\0\0Nr\0\0\0\0");
    let other = consts(b")\x02>\x02\0\0\0)\x02\xda\x03abcN)\x01r\0\0\0\0r\0\0\0\0");
    assert_eq!(one, other);
    assert_eq!(one.len(), 27);
}

#[test]
fn equal_frozensets_are_one_and_equal_sets_are_not() {
    let before = b")\x02>\x02\0\0\0z\x03abcz\x03def>\x02\0\0\0z\x03defz\x03abc";
    let after = consts(before);
    assert!(after.starts_with(b")\x02\xbe\x02\0\0\0") && after.ends_with(b"r\0\0\0\0"));
    let sets: Vec<u8> = before.iter().map(|&byte| if byte == b'>' { b'<' } else { byte }).collect();
    assert_eq!(consts(&sets).len(), sets.len());
    // 1 is True, and 0.0 is -0.0, but they are not the same.
    for (one, other) in [(&b"i\x01\0\0\0"[..], &b"T"[..]), (b"g\0\0\0\0\0\0\0\0", b"g\0\0\0\0\0\0\0\x80")] {
        let before = [b")\x02>\x01\0\0\0", one, b">\x01\0\0\0", other].concat();
        assert_eq!(consts(&before), before);
    }
}

#[test]
fn the_name_of_a_class_is_what_it_has_among_its_constants() {
    let parts = |constant: &[u8], name: &[u8], flags: u8| {
        let module = Module::default().with("consts", &[b")\x01", constant].concat()).with("qualname", name);
        module.with("flags", &[flags, 0, 0, 0]).bytes()
    };
    let (shared, apart) = (parts(b"\xda\x03A.B", b"r\0\0\0\0", 0), parts(b"z\x03A.B", b"\xda\x03A.B", 0));
    for minor in 13..=15 {
        let format = Format::of(3, minor).unwrap();
        assert_eq!(canonical(&shared, format), canonical(&apart, format));
    }
    let before = Format::of(3, 12).unwrap();
    assert_eq!(canonical(&apart, before).len(), apart.len(), "3.12 does not intern it");
    let function = parts(b"z\x03A.B", b"\xda\x03A.B", 3);
    assert_eq!(canonical(&function, Format::of(3, 13).unwrap()).len(), function.len(), "no class");
}

#[test]
fn what_would_become_too_deep_stays_in_its_order() {
    let nested = |depth: usize, inner: &[u8]| [b")\x01".repeat(depth), inner.to_vec()].concat();
    // A set of two; in one of its orders the second part of the depth is inside the first.
    let changes = |depth: usize, leaf: u8| {
        let shared = [&b"\xa9\x01"[..], &nested(depth, &[b'i', leaf, 0, 0, 0])].concat();
        let set = [b")\x01>\x02\0\0\0", &shared[..], &nested(depth, b"r\0\0\0\0")].concat();
        consts(&set) != set
    };
    assert!((0..10).any(|leaf| changes(900, leaf)));
    assert!(!(0..10).any(|leaf| changes(1500, leaf)));
}
