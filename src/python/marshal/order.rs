//! What stands where: the items of sets in one order, and once what may be one object or several. It reads what is
//! whole, and writes it anew.
//!
//! The order is that of digests, which depend on what the items are and on nothing else: not on the interpreter's
//! hashes, not on what is a reference to what. They are not made against somebody who looks for two things of the
//! same digest; it is that one's own code that would suffer.
//!
//! What is read first has to be written first: where items change places, what is shared is written out where it
//! comes first now, and referred to where it came first before.

mod survey;

use std::ops::Range;

use super::canonical::interned;
use super::format::Format;
use super::object::offset;
use super::reader::{FLAG, REFERENCE};
use super::walk::Walk;
use survey::{MarkKind, Survey};

/// The same code in order, with flags on whatever could be referred to; `None` if it is in order already. `bytes`
/// are whole. No longer than these, but it may be nested more deeply than the loader goes.
pub(super) fn in_order(bytes: &[u8], format: Format) -> Option<Vec<u8>> {
    let (_, survey) = Walk::new(bytes, format, Survey::new(bytes, format)).ok()?.run().ok()?;
    survey.disorder.then(|| Rewriting::new(bytes, &survey).run())
}

/// The copying of what was surveyed.
struct Rewriting<'a> {
    bytes: &'a [u8],
    survey: &'a Survey<'a>,
    output: Vec<u8>,
    /// The new index of each object that has been written, by its slot.
    numbers: Vec<Option<u32>>,
    next: u32,
    /// What is to be written still, the next at the end.
    ranges: Vec<Range<u32>>,
}

impl<'a> Rewriting<'a> {
    fn new(bytes: &'a [u8], survey: &'a Survey<'a>) -> Self {
        Self {
            bytes,
            survey,
            output: Vec::with_capacity(bytes.len()),
            numbers: vec![None; survey.slots.len()],
            next: 0,
            ranges: vec![Range { start: 0, end: offset(bytes.len()) }],
        }
    }

    fn run(mut self) -> Vec<u8> {
        while let Some(range) = self.ranges.pop() {
            self.write(range);
        }
        self.output
    }

    /// Write a range, up to the first place where something else comes between.
    fn write(&mut self, mut range: Range<u32>) {
        let marks = &self.survey.marks;
        let mut next = marks.partition_point(|mark| mark.at < range.start);
        while let Some(mark) = marks.get(next).filter(|mark| mark.at < range.end) {
            next += 1;
            self.copy(range.start..mark.at);
            range.start = mark.at;
            match mark.kind {
                MarkKind::Definition(slot) => {
                    range.start = self.define(slot, mark.at);
                    next += marks[next..].partition_point(|mark| mark.at < range.start);
                }
                MarkKind::Reference(slot) => {
                    range.start += 5;
                    if !self.refer(slot) {
                        let definition = &self.survey.slots[slot];
                        return self.ranges.extend([range, definition.at..definition.end]);
                    }
                }
                MarkKind::Items(set) => {
                    let items = &self.survey.sets[set];
                    if let Some(end) = items.iter().map(|item| item.end).max() {
                        self.copy(mark.at..mark.at + 1);
                        self.ranges.push(end..range.end);
                        return self.ranges.extend(items.iter().rev().map(|item| item.at..item.end));
                    }
                }
            }
        }
        self.copy(range);
    }

    /// An object begins: its type byte, or a reference if it has been written already. The answer is where to go on.
    fn define(&mut self, slot: usize, at: u32) -> u32 {
        if self.refer(slot) {
            return self.survey.slots[slot].end;
        }
        let one = self.survey.one_of(slot);
        self.numbers[one] = Some(self.next);
        self.next += 1;
        let byte = self.bytes[at as usize] | FLAG;
        self.output.push(if self.survey.is_interned[one] { interned(byte) } else { byte });
        at + 1
    }

    /// A reference to what has been written already; false if it has not.
    fn refer(&mut self, slot: usize) -> bool {
        let Some(number) = self.numbers[self.survey.one_of(slot)] else {
            return false;
        };
        self.output.push(REFERENCE);
        self.output.extend_from_slice(&number.to_le_bytes());
        true
    }

    fn copy(&mut self, range: Range<u32>) {
        self.output.extend_from_slice(&self.bytes[range.start as usize..range.end as usize]);
    }
}
