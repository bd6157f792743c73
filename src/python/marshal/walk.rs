//! The walk through everything nested: the stack, the references, and what belongs inside what. It owns the
//! bookkeeping of `r_object` in `CPython`'s `marshal.c`; bytes are the reader's, code objects are `code`'s.
//!
//! The stack is a vector, not the thread's, and as deep as the loader's may become and no deeper.

use super::code::Parts;
use super::error::{Malformed, Reason};
use super::format::{Format, Sharing};
use super::object::{HASHABLE, Kind, Object, STRING, STRINGS, Shape, offset};
use super::reader::{Item, Reader};

/// `MAX_MARSHAL_STACK_DEPTH`: the outermost object is at depth 1, and nothing is deeper than this.
const MAX_DEPTH: usize = 2000;

/// Who goes along and takes notes. Positions are of whole objects; a container's items come between its opening
/// and its closing.
pub(super) trait Witness {
    /// An object without parts. It stands from `at` to `end`.
    fn whole(&mut self, at: usize, end: usize, object: Object, flagged: bool);
    /// A container or a code object begins at `at`; its first item, or part, at `end`.
    fn open(&mut self, at: usize, end: usize, shape: Shape, flagged: bool);
    /// The innermost open one ends at `end`.
    fn close(&mut self, end: usize);
    /// The innermost open one is the body of a class, about to end, with this `co_qualname`. Only where that matters
    /// ([`Sharing::QualNames`]).
    fn class(&mut self, qualname: Object);
    /// A reference at `at`, to what has this index.
    fn reference(&mut self, at: usize, index: u32);
}

/// Nobody.
impl Witness for () {
    fn whole(&mut self, _: usize, _: usize, _: Object, _: bool) {}
    fn open(&mut self, _: usize, _: usize, _: Shape, _: bool) {}
    fn close(&mut self, _: usize) {}
    fn class(&mut self, _: Object) {}
    fn reference(&mut self, _: usize, _: u32) {}
}

pub(super) struct Walk<'a, W> {
    witness: W,
    reader: Reader<'a>,
    format: Format,
    /// What each reference index stands for.
    references: Vec<Object>,
    /// Every object that has parts and has not got all of them, the outermost first.
    stack: Vec<Frame>,
    /// The code objects among these.
    codes: Vec<Parts>,
    /// `co_filename` of the code object that was completed last: in the end, the outermost.
    filename: Option<Object>,
}

/// An object some of whose parts are still to come.
struct Frame {
    shape: Shape,
    /// The traits that all parts so far have in common.
    common: u8,
    /// The next part has to be hashable: always in a set, every other time in a dict.
    key: bool,
    /// How many parts it has in all; 0 where that is not known beforehand.
    count: u32,
    /// How many parts are still to come, where that is known.
    left: u32,
    /// Its reference index.
    slot: Option<u32>,
}

impl<'a, W: Witness> Walk<'a, W> {
    pub(super) fn new(bytes: &'a [u8], format: Format, witness: W) -> Result<Self, Malformed> {
        Ok(Self {
            witness,
            reader: Reader::new(bytes, format)?,
            format,
            references: Vec::with_capacity(bytes.len() / 64),
            stack: Vec::with_capacity(16),
            codes: Vec::with_capacity(8),
            filename: None,
        })
    }

    /// Read everything; the answer is the `co_filename` of the outermost code object, and what was witnessed.
    pub(super) fn run(mut self) -> Result<(Object, W), Malformed> {
        let outermost = self.outermost()?;
        let (Kind::Container(Shape::Code), Some(filename)) = (outermost.kind, self.filename) else {
            return Err(Malformed { offset: 0, reason: Reason::NotCode });
        };
        match self.reader.left() {
            0 => Ok((filename, self.witness)),
            left => {
                let offset = self.reader.position();
                Err(Malformed { offset, reason: Reason::Trailing(left) })
            }
        }
    }

    fn outermost(&mut self) -> Result<Object, Malformed> {
        loop {
            let Some(mut object) = self.next()? else {
                continue;
            };
            while self.hand_over(object)? {
                object = self.close()?;
            }
            if self.stack.is_empty() {
                return Ok(object);
            }
        }
    }

    /// The next object that is complete; `None` if one was opened instead.
    fn next(&mut self) -> Result<Option<Object>, Malformed> {
        match self.reader.item()? {
            Item::Whole { object, flagged } => {
                self.witness.whole(self.reader.start(), self.reader.position(), object, flagged);
                if flagged {
                    self.references.push(object);
                }
                Ok(Some(object))
            }
            Item::Reference(index) => {
                let object = self.resolve(index)?;
                self.witness.reference(self.reader.start(), index);
                Ok(Some(object))
            }
            Item::Open { shape, count, flagged } => self.open(shape, count, flagged),
            Item::Null => self.end_dict().map(Some),
        }
    }

    fn resolve(&self, index: u32) -> Result<Object, Malformed> {
        match self.references.get(index as usize) {
            Some(object) if object.kind != Kind::Incomplete => Ok(*object),
            _ => Err(self.reader.fail(Reason::BadReference(index))),
        }
    }
}

/// Objects with parts.
impl<W: Witness> Walk<'_, W> {
    /// A container or a code object begins. It is complete at once if it has no parts.
    fn open(&mut self, shape: Shape, count: u32, flagged: bool) -> Result<Option<Object>, Malformed> {
        self.witness.open(self.reader.start(), self.reader.position(), shape, flagged);
        let slot = flagged.then(|| self.reserve());
        let frame = Frame { shape, common: u8::MAX, key: shape.has_keys(), count, left: count, slot };
        if count == 0 && !shape.ends_itself() {
            return Ok(Some(self.complete(&frame)));
        }
        // Its parts are one deeper than it is itself.
        if self.stack.len() + 2 > MAX_DEPTH {
            return Err(self.reader.fail(Reason::TooDeep));
        }
        self.stack.push(frame);
        if shape == Shape::Code {
            self.codes.push(Parts::new(self.reader.start(), self.format));
            self.numbers()?;
        }
        Ok(None)
    }

    /// The index is given when an object begins, whatever is inside it; it may be used when it has ended.
    fn reserve(&mut self) -> u32 {
        let slot = offset(self.references.len());
        self.references.push(Object::INCOMPLETE);
        slot
    }

    /// Give a complete object to the one it is a part of, if there is one. True: that one is complete now.
    fn hand_over(&mut self, object: Object) -> Result<bool, Malformed> {
        let Some(frame) = self.stack.last_mut() else {
            return Ok(false);
        };
        frame.common &= object.traits;
        match frame.shape {
            Shape::Code => return self.field(object),
            Shape::Tuple | Shape::List | Shape::Slice => {}
            _ if frame.key && object.traits & HASHABLE == 0 => {
                return Err(self.reader.fail(Reason::Unhashable));
            }
            Shape::Set | Shape::Frozenset => {}
            Shape::Dict | Shape::Frozendict => {
                frame.key = !frame.key;
                return Ok(false);
            }
        }
        frame.left -= 1;
        Ok(frame.left == 0)
    }

    /// A null: the dict that is being read ends here. Nowhere else is there a null.
    fn end_dict(&mut self) -> Result<Object, Malformed> {
        match self.stack.last() {
            Some(Frame { shape: Shape::Dict | Shape::Frozendict, key: true, .. }) => self.close(),
            _ => Err(self.reader.fail(Reason::Null)),
        }
    }

    /// The innermost open object has all its parts.
    fn close(&mut self) -> Result<Object, Malformed> {
        let Some(frame) = self.stack.pop() else {
            return Err(self.reader.fail(Reason::Null));
        };
        if frame.shape == Shape::Code {
            self.close_code()?;
        }
        Ok(self.complete(&frame))
    }

    fn complete(&mut self, frame: &Frame) -> Object {
        let traits = match frame.shape {
            Shape::Tuple if frame.common & STRING != 0 => HASHABLE | STRINGS,
            Shape::Tuple | Shape::Slice | Shape::Frozendict | Shape::Code => frame.common & HASHABLE,
            Shape::Frozenset => HASHABLE,
            Shape::List | Shape::Set | Shape::Dict => 0,
        };
        let object = Object { kind: Kind::Container(frame.shape), traits, at: 0, size: frame.count };
        self.witness.close(self.reader.position());
        if let Some(place) = frame.slot.and_then(|slot| self.references.get_mut(slot as usize)) {
            *place = object;
        }
        object
    }
}

/// Code objects.
impl<W: Witness> Walk<'_, W> {
    /// The next part of the code object that is being read. True: it was the last.
    fn field(&mut self, object: Object) -> Result<bool, Malformed> {
        if let Some(parts) = self.codes.last_mut()
            && let Some((&field, rest)) = parts.rest.split_first()
        {
            parts.rest = rest;
            parts.object(field, object).map_err(|reason| self.reader.fail(reason))?;
        }
        self.numbers()
    }

    /// The numbers stand bare between the objects. True: nothing stands behind them.
    fn numbers(&mut self) -> Result<bool, Malformed> {
        let Some(parts) = self.codes.last_mut() else {
            return Ok(true);
        };
        while let Some((&field, rest)) = parts.rest.split_first() {
            if !field.is_number() {
                return Ok(false);
            }
            parts.rest = rest;
            let number = self.reader.number()?;
            parts.number(field, number).map_err(|reason| self.reader.fail(reason))?;
        }
        Ok(true)
    }

    fn close_code(&mut self) -> Result<(), Malformed> {
        if let Some(parts) = self.codes.pop() {
            let check = parts.finish(|object| self.reader.content(object));
            check.map_err(|reason| Malformed { offset: parts.at, reason })?;
            self.filename = parts.filename;
            if self.format.sharing == Sharing::QualNames
                && let Some(name) = parts.class_name(|object| self.reader.content(object))
            {
                self.witness.class(name);
            }
        }
        Ok(())
    }
}
