//! Where everything is that can change its place, and which objects are one.

use std::collections::HashMap;
use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

use super::super::format::{Field, Format, Sharing};
use super::super::object::{Kind, Object, Shape, offset};
use super::super::reader::FLAG;
use super::super::walk::Witness;

/// An object, and where it stands.
#[derive(Clone, Copy)]
pub(super) struct Part {
    digest: u128,
    pub at: u32,
    pub end: u32,
    /// Its number among those that can be referred to.
    slot: Option<usize>,
}

/// A place that matters while bytes are copied. They are in the order of the bytes.
pub(super) struct Mark {
    pub at: u32,
    pub kind: MarkKind,
}

#[derive(Clone, Copy)]
pub(super) enum MarkKind {
    /// The object with this slot begins.
    Definition(usize),
    /// A reference to the object with this slot.
    Reference(usize),
    /// The items of this set begin.
    Items(usize),
}

pub(super) struct Survey<'a> {
    bytes: &'a [u8],
    format: Format,
    pub marks: Vec<Mark>,
    /// What has a reference index, and what could be one with another: strings, frozensets.
    pub slots: Vec<Part>,
    /// The slot of each reference index.
    indices: Vec<usize>,
    /// A slot that is the same object, or itself.
    same: Vec<usize>,
    /// By the slot that stands for all that are the same: written as an interned string, whatever it was.
    pub is_interned: Vec<bool>,
    frozensets: HashMap<u128, usize>,
    /// The items of each set, in order; none, if they are in order where they stand.
    pub sets: Vec<Vec<Part>>,
    open: Vec<Open>,
    /// The items of those that are open.
    parts: Vec<Part>,
    /// Something has to be written in another place, or once instead of twice.
    pub disorder: bool,
}

/// A container that has not been read to its end.
struct Open {
    at: u32,
    /// Where its first item begins.
    start: u32,
    shape: Shape,
    slot: Option<usize>,
    /// Its number among the sets.
    set: usize,
    /// Where its items begin in `parts`.
    first: usize,
    /// Of a code object, the slots of its constants.
    constants: Vec<usize>,
}

impl<'a> Survey<'a> {
    pub(super) fn new(bytes: &'a [u8], format: Format) -> Self {
        Self {
            bytes,
            format,
            marks: Vec::new(),
            slots: Vec::new(),
            indices: Vec::new(),
            same: Vec::new(),
            is_interned: Vec::new(),
            frozensets: HashMap::new(),
            sets: Vec::new(),
            open: Vec::new(),
            parts: Vec::new(),
            disorder: false,
        }
    }

    /// The slot that stands for all that are the same object as this one.
    pub(super) fn one_of(&self, mut slot: usize) -> usize {
        while self.same[slot] != slot {
            slot = self.same[slot];
        }
        slot
    }

    /// Make one object of two. The first of those that are the same stands for all.
    fn unite(&mut self, a: usize, b: usize) -> usize {
        let (a, b) = (self.one_of(a), self.one_of(b));
        let (first, second) = (a.min(b), a.max(b));
        if first != second {
            self.same[second] = first;
            self.disorder = true;
        }
        first
    }

    fn define(&mut self, at: usize, flagged: bool, could_be_one: bool) -> Option<usize> {
        let slot = self.slots.len();
        if flagged {
            self.indices.push(slot);
        } else if !could_be_one {
            return None;
        }
        let at = offset(at);
        self.slots.push(Part { digest: 0, at, end: at, slot: Some(slot) });
        self.same.push(slot);
        self.is_interned.push(false);
        self.marks.push(Mark { at, kind: MarkKind::Definition(slot) });
        Some(slot)
    }

    fn complete(&mut self, part: Part) {
        if let Some(slot) = part.slot {
            self.slots[slot] = part;
        }
        self.parts.push(part);
    }

    /// The items of a set, the last that came: in order.
    fn put_in_order(&mut self, open: &Open) {
        let items = &mut self.parts[open.first..];
        if !items.is_sorted_by_key(|item| item.digest) {
            items.sort_by_key(|item| item.digest);
            self.sets[open.set] = items.to_vec();
            self.disorder = true;
        }
    }

    /// What is between the items are the numbers of a code object.
    fn digest_of(&self, open: &Open) -> u128 {
        let mut hasher = SipHasher13::new();
        hasher.write(&[self.bytes[open.at as usize] & !FLAG]);
        let mut end = open.start;
        for item in &self.parts[open.first..] {
            if !open.shape.is_unordered() {
                hasher.write(&self.bytes[end as usize..item.at as usize]);
                end = item.end;
            }
            hasher.write(&item.digest.to_le_bytes());
        }
        hasher.finish128().as_u128()
    }

    /// Constants of a class are kept until its name comes.
    fn keep_constants(&mut self, open: &Open) {
        if self.format.sharing == Sharing::QualNames
            && let Some(code) = self.open.last_mut().filter(|outer| outer.shape == Shape::Code)
            && Some(self.parts[code.first..open.first].len()) == self.format.place(Field::Consts)
        {
            code.constants.extend(self.parts[open.first..].iter().filter_map(|item| item.slot));
        }
    }
}

impl Witness for Survey<'_> {
    fn whole(&mut self, at: usize, end: usize, object: Object, flagged: bool) {
        let slot = self.define(at, flagged, object.kind == Kind::String);
        let mut hasher = SipHasher13::new();
        if object.kind == Kind::String {
            // However it is encoded.
            hasher.write(b"u");
            hasher.write(&self.bytes[object.at as usize..][..object.size as usize]);
        } else {
            hasher.write(&[self.bytes[at] & !FLAG]);
            hasher.write(&self.bytes[at + 1..end]);
        }
        let digest = hasher.finish128().as_u128();
        self.complete(Part { digest, at: offset(at), end: offset(end), slot });
    }

    fn open(&mut self, at: usize, end: usize, shape: Shape, flagged: bool) {
        let slot = self.define(at, flagged, shape == Shape::Frozenset);
        let (set, first) = (self.sets.len(), self.parts.len());
        if shape.is_unordered() {
            self.sets.push(Vec::new());
            // Between the header and what begins at the same place with the first item.
            self.marks.push(Mark { at: offset(end) - 1, kind: MarkKind::Items(set) });
        }
        let (at, start) = (offset(at), offset(end));
        self.open.push(Open { at, start, shape, slot, set, first, constants: Vec::new() });
    }

    fn close(&mut self, end: usize) {
        let Some(open) = self.open.pop() else { return };
        if open.shape.is_unordered() {
            self.put_in_order(&open);
        }
        let digest = self.digest_of(&open);
        if open.shape == Shape::Frozenset
            && self.format.sharing != Sharing::Sure
            && let Some(slot) = open.slot
        {
            let first = *self.frozensets.entry(digest).or_insert(slot);
            self.unite(first, slot);
        }
        if open.shape == Shape::Tuple {
            self.keep_constants(&open);
        }
        self.parts.truncate(open.first);
        self.complete(Part { digest, at: open.at, end: offset(end), slot: open.slot });
    }

    fn class(&mut self, _: Object) {
        let Some(code) = self.open.last_mut() else { return };
        let constants = std::mem::take(&mut code.constants);
        let place = self.format.place(Field::QualName);
        let name = place.and_then(|place| self.parts[code.first..].get(place));
        let Some(Part { digest, slot: Some(name), .. }) = name.copied() else { return };
        for constant in constants {
            if self.slots[constant].digest == digest && self.one_of(constant) != self.one_of(name) {
                let one = self.unite(constant, name);
                self.is_interned[one] = true;
            }
        }
    }

    fn reference(&mut self, at: usize, index: u32) {
        let (slot, at) = (self.indices[index as usize], offset(at));
        self.marks.push(Mark { at, kind: MarkKind::Reference(slot) });
        let Part { digest, .. } = self.slots[slot];
        self.parts.push(Part { digest, at, end: at + 5, slot: Some(slot) });
    }
}
