//! The marks on objects: reference flags, numbers, and whether a short string is interned. It changes them in place;
//! no byte moves. What has to move is `order`'s.

use super::error::Malformed;
use super::format::{Format, Sharing};
use super::object::{Kind, Object, Shape, offset};
use super::reader::FLAG;
use super::walk::{Walk, Witness};

/// Everything in marshalled code that says which object is which.
pub(super) struct Marks {
    /// Where each object begins that has a reference index, by that index.
    flagged: Vec<u32>,
    /// Whether something refers to it.
    used: Vec<bool>,
    /// Where each reference stands, and to what.
    references: Vec<(u32, u32)>,
    /// Strings of two bytes at most: where they begin, and their content.
    short: Vec<(u32, Object)>,
    /// There is something whose order or sharing has to be looked at.
    pub needs_order: bool,
}

impl Marks {
    /// Check the code, and note its marks. The other part of the answer is its `co_filename`.
    pub(super) fn of(bytes: &[u8], format: Format) -> Result<(Object, Self), Malformed> {
        Walk::new(bytes, format, Self::with_room_for(bytes.len()))?.run()
    }

    /// With room for what code of this length, in bytes, has as a rule.
    fn with_room_for(length: usize) -> Self {
        Self {
            flagged: Vec::with_capacity(length / 64),
            used: Vec::with_capacity(length / 64),
            references: Vec::with_capacity(length / 48),
            short: Vec::with_capacity(length / 512),
            needs_order: false,
        }
    }

    /// Set the marks as they should be. `bytes` are those that were checked.
    pub(super) fn apply(&self, bytes: &mut [u8], format: Format) {
        if format.sharing != Sharing::Sure {
            for &(at, object) in &self.short {
                intern_single(bytes, at as usize, object);
            }
        }
        self.renumber(bytes);
    }

    /// Take the flags away to which nothing refers, and number the others anew.
    fn renumber(&self, bytes: &mut [u8]) {
        let mut next = 0_u32;
        let mut numbers = Vec::with_capacity(self.flagged.len());
        for (&at, &used) in self.flagged.iter().zip(&self.used) {
            numbers.push(next);
            if used {
                next += 1;
            } else {
                bytes[at as usize] &= !FLAG;
            }
        }
        for &(at, index) in &self.references {
            let number = numbers[index as usize];
            bytes[at as usize + 1..][..4].copy_from_slice(&number.to_le_bytes());
        }
    }

    fn note(&mut self, at: usize, flagged: bool) {
        if flagged {
            self.flagged.push(offset(at));
            self.used.push(false);
        }
    }
}

impl Witness for Marks {
    fn whole(&mut self, at: usize, _: usize, object: Object, flagged: bool) {
        self.note(at, flagged);
        if object.kind == Kind::String && object.size <= 2 {
            self.short.push((offset(at), object));
        }
    }

    fn open(&mut self, at: usize, _: usize, shape: Shape, flagged: bool) {
        self.note(at, flagged);
        self.needs_order |= shape.is_unordered();
    }

    fn close(&mut self, _: usize) {}

    fn class(&mut self, _: Object) {
        self.needs_order = true;
    }

    fn reference(&mut self, at: usize, index: u32) {
        self.used[index as usize] = true;
        self.references.push((offset(at), index));
    }
}

/// Mark a string as interned if it is one Latin-1 character, or none.
fn intern_single(bytes: &mut [u8], at: usize, object: Object) {
    // Two bytes are one such character if the first is 0xc2 or 0xc3, and else two.
    if object.size < 2 || matches!(bytes[object.at as usize], 0xc2 | 0xc3) {
        bytes[at] = interned(bytes[at]);
    }
}

/// The type byte of the same string, interned.
pub(super) fn interned(byte: u8) -> u8 {
    let kind = match byte & !FLAG {
        b'z' => b'Z',
        b'a' => b'A',
        b'u' => b't',
        other => other,
    };
    byte & FLAG | kind
}
