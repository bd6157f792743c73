//! The damages that no Python ever repairs (a valid header with any broken body), and those that only the ledger
//! sees: each found, each repaired, then importable.

use std::fs;

use super::{compiled_elsewhere, finds, is_repaired, published, verify};
use crate::aid::{let_the_clock_tick, set_mtime};
use crate::oracle;
use crate::support::{PYTHON, World};

/// A name, what becomes of the bytes (given those of another module, too), and the class: of what we published, and
/// of what we did not.
type Row = (&'static str, fn(&[u8], &[u8]) -> Vec<u8>, &'static str, &'static str);

const TABLE: [Row; 14] = [
    ("empty", |_, _| Vec::new(), "invalid", "invalid"),
    ("all NUL", |whole, _| vec![0; whole.len()], "invalid", "invalid"),
    ("header cut", |whole, _| whole[..15].to_vec(), "invalid", "invalid"),
    ("header only", |whole, _| whole[..16].to_vec(), "broken", "broken"),
    ("a quarter", |whole, _| whole[..16 + (whole.len() - 16) / 4].to_vec(), "broken", "broken"),
    ("half", |whole, _| whole[..16 + (whole.len() - 16) / 2].to_vec(), "broken", "broken"),
    ("last byte lost", |whole, _| whole[..whole.len() - 1].to_vec(), "broken", "broken"),
    ("body zeroed", |whole, _| [&whole[..16], &vec![0; whole.len() - 16]].concat(), "broken", "broken"),
    ("body of another", |whole, other| [&whole[..16], &other[16..]].concat(), "altered", "misnamed"),
    ("None", |whole, _| [&whole[..16], b"N"].concat(), "broken", "broken"),
    ("a tuple", |whole, _| [&whole[..16], b")\x01i\x01\0\0\0"].concat(), "broken", "broken"),
    ("trailing bytes", |whole, _| [whole, b"\0\0\0"].concat(), "broken", "broken"),
    ("random bytes", |whole, _| [&whole[..16], &noise(whole.len())].concat(), "broken", "broken"),
    ("twice", |whole, _| [whole, whole].concat(), "broken", "broken"),
];

/// Bytes of no pattern that are the same in every run.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn every_damage_to_what_we_published_is_found_and_repaired() {
    let world = published();
    for (name, damage, class, _) in TABLE {
        damaged_and_repaired(&world, name, damage, class);
    }
}

/// It is read in another way.
#[test]
fn every_damage_to_what_is_large_is_found_and_repaired() {
    let world = published();
    world.write("a.py", format!("x = {:?}\n", "text".repeat(600_000)));
    world.commit().exits(0);
    verify(&world, &[]).exits(0);
    for (name, damage, class, _) in TABLE {
        damaged_and_repaired(&world, name, damage, class);
    }
    let pyc = world.pyc("a.py");
    let mut flipped = fs::read(&pyc).unwrap();
    let last = flipped.windows(4).rposition(|four| four == b"text").unwrap();
    flipped[last] ^= 1;
    fs::write(&pyc, flipped).unwrap();
    finds(&world, &pyc, "altered").exits(1);
}

#[test]
fn every_damage_to_what_others_wrote_is_found_and_repaired() {
    for (name, damage, _, class) in TABLE {
        let world = compiled_elsewhere();
        damaged_and_repaired(&world, name, damage, class);
    }
}

#[track_caller]
fn damaged_and_repaired(world: &World, name: &str, damage: fn(&[u8], &[u8]) -> Vec<u8>, class: &str) {
    let (pyc, other) = (world.pyc("a.py"), world.pyc("b.py"));
    let whole = fs::read(&pyc).unwrap();
    fs::write(&pyc, damage(&whole, &fs::read(other).unwrap())).unwrap();
    eprintln!("{name}: {class}");
    finds(world, &pyc, class).exits(1);
    is_repaired(world, 1);
    oracle::imports_from_bytecode(world, PYTHON.as_ref(), &[], "a", &pyc);
}

#[test]
fn whole_bytes_that_were_not_published_are_altered() {
    let world = published();
    let pyc = world.pyc("a.py");
    let before = fs::metadata(&pyc).unwrap().modified().unwrap();
    let whole = fs::read(&pyc).unwrap();
    let at = whole.windows(4).position(|four| four == b"text").unwrap();
    let mut flipped = whole.clone();
    flipped[at] ^= 1;
    fs::write(&pyc, flipped).unwrap();
    fs::File::options().write(true).open(&pyc).unwrap().set_modified(before).unwrap();
    finds(&world, &pyc, "altered").exits(1);
    is_repaired(&world, 1);
    assert_eq!(fs::read(&pyc).unwrap(), whole);
}

/// As an upgrade whose times are clamped does it: only the ledger can tell.
#[test]
fn a_source_of_the_same_size_and_second_with_other_content_is_found_stale_and_repaired() {
    let world = World::new();
    let source = world.write("a.py", "x = 1\n");
    set_mtime(&source, 1_600_000_000, 0);
    world.commit().exits(0);
    let_the_clock_tick(&world, &world.pyc("a.py"));
    let other = world.write("other", "x = 2\n");
    set_mtime(&other, 1_600_000_000, 0);
    fs::rename(other, &source).unwrap();
    finds(&world, &world.pyc("a.py"), "stale").exits(1).says("its source has other content");
    is_repaired(&world, 1);
    assert_eq!(oracle::value(&world.pyc("a.py"), "x"), "2");
}
