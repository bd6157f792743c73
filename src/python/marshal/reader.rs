//! From bytes to items: one type byte and what belongs to it, read and checked, nothing nested.
//!
//! A container or a code object is only announced; who reads decides what to do with its parts. The reader
//! knows lengths, encodings and numbers. It does not know nesting, references, or what a code object is
//! made of, so that a rewriter can stand on it as well as the walker.

use super::error::{Malformed, Reason};
use super::format::Format;
use super::object::{HASHABLE, Kind, Object, STRING, Shape, offset};

/// The bit of a type byte that says: this object gets the next reference index.
pub(super) const FLAG: u8 = 0x80;

/// The type byte of a reference; the index follows, four bytes.
pub(super) const REFERENCE: u8 = b'r';

/// One step of the reader.
#[derive(Clone, Copy, Debug)]
pub(super) enum Item {
    /// The end of a dict.
    Null,
    /// An object without parts, read to its end. `flagged`: it takes the next reference index.
    Whole { object: Object, flagged: bool },
    /// To the object with this index.
    Reference(u32),
    /// So many items follow. `count` is 0 for a dict (pairs and a null follow) and for code (its fields).
    Open { shape: Shape, count: u32, flagged: bool },
}

pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where the item began that was read last.
    start: usize,
    slices: bool,
    frozendicts: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], format: Format) -> Result<Self, Malformed> {
        if i32::try_from(bytes.len()).is_err() {
            return Err(Malformed { offset: 0, reason: Reason::TooLarge });
        }
        let Format { slices, frozendicts, .. } = format;
        Ok(Self { bytes, at: 0, start: 0, slices, frozendicts })
    }

    /// The item that was read last is wrong.
    #[cold]
    pub(super) fn fail(&self, reason: Reason) -> Malformed {
        Malformed { offset: self.start, reason }
    }

    /// Where the item began that was read last.
    pub(super) fn start(&self) -> usize {
        self.start
    }

    /// Where the next item begins.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// How many bytes have not been read yet.
    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The content of a string or of bytes that this reader has read.
    pub(super) fn content(&self, object: Object) -> &'a [u8] {
        &self.bytes[object.at as usize..][..object.size as usize]
    }

    /// The next object, or the beginning of it.
    #[inline]
    pub(super) fn item(&mut self) -> Result<Item, Malformed> {
        self.start = self.at;
        let byte = self.byte()?;
        let flagged = byte & FLAG != 0;
        let object = match byte & !FLAG {
            b'z' | b'Z' => {
                let size = self.byte()?;
                self.ascii(u32::from(size))?
            }
            REFERENCE if !flagged => return Ok(Item::Reference(self.number()?.cast_unsigned())),
            b')' => {
                let count = self.byte()?;
                return self.open(Shape::Tuple, u32::from(count), flagged);
            }
            b's' => self.bytes()?,
            b'N' | b'T' | b'F' | b'.' | b'S' if !flagged => Object::PLAIN,
            b'i' => self.skip(4)?,
            b'c' => return self.open(Shape::Code, 0, flagged),
            b'0' if !flagged => return Ok(Item::Null),
            other => return self.seldom(other, flagged),
        };
        Ok(Item::Whole { object, flagged })
    }

    /// The types that are not in every function, apart, so that the others stay fast.
    fn seldom(&mut self, code: u8, flagged: bool) -> Result<Item, Malformed> {
        let object = match code {
            b'a' | b'A' => {
                let size = self.size()?;
                self.ascii(size)?
            }
            b'u' | b't' => self.utf8()?,
            b'I' | b'g' => self.skip(8)?,
            b'y' => self.skip(16)?,
            b'l' => self.long()?,
            b'f' => self.float_text()?,
            b'x' => {
                self.float_text()?;
                self.float_text()?
            }
            b'N' | b'T' | b'F' | b'.' | b'S' | REFERENCE | b'0' => return Err(self.fail(Reason::StrayFlag)),
            other => return self.seldom_container(other, flagged),
        };
        Ok(Item::Whole { object, flagged })
    }

    /// Tuples of more than 255 items, and what is no tuple.
    fn seldom_container(&mut self, code: u8, flagged: bool) -> Result<Item, Malformed> {
        let shape = match code {
            b'(' => Shape::Tuple,
            b'[' => Shape::List,
            b'<' => Shape::Set,
            b'>' => Shape::Frozenset,
            b'{' => return self.open(Shape::Dict, 0, flagged),
            b'}' if self.frozendicts => return self.open(Shape::Frozendict, 0, flagged),
            b':' if self.slices => return self.open(Shape::Slice, 3, flagged),
            _ => return Err(self.fail(Reason::UnknownType(self.bytes[self.start]))),
        };
        let count = self.size()?;
        self.open(shape, count, flagged)
    }

    /// A number among the parts of a code object.
    pub(super) fn number(&mut self) -> Result<i32, Malformed> {
        let bytes = self.take(4)?;
        Ok(i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        let Some(&byte) = self.bytes.get(self.at) else {
            return Err(self.fail(Reason::CutOff));
        };
        self.at += 1;
        Ok(byte)
    }

    fn take(&mut self, count: u32) -> Result<&'a [u8], Malformed> {
        let Some(taken) = self.bytes[self.at..].get(..count as usize) else {
            return Err(self.fail(Reason::CutOff));
        };
        self.at += count as usize;
        Ok(taken)
    }

    fn size(&mut self) -> Result<u32, Malformed> {
        u32::try_from(self.number()?).map_err(|_| self.fail(Reason::NegativeSize))
    }

    /// Every item is a byte at least, so a count that is larger than what is left need not be believed.
    fn open(&self, shape: Shape, count: u32, flagged: bool) -> Result<Item, Malformed> {
        if count as usize > self.left() {
            return Err(self.fail(Reason::CutOff));
        }
        Ok(Item::Open { shape, count, flagged })
    }

    fn skip(&mut self, count: u32) -> Result<Object, Malformed> {
        self.take(count)?;
        Ok(Object::PLAIN)
    }

    fn bytes(&mut self) -> Result<Object, Malformed> {
        let size = self.size()?;
        self.take(size)?;
        Ok(self.taken(Kind::Bytes, HASHABLE, size))
    }

    fn ascii(&mut self, size: u32) -> Result<Object, Malformed> {
        if !self.take(size)?.is_ascii() {
            return Err(self.fail(Reason::NotAscii));
        }
        Ok(self.taken(Kind::String, HASHABLE | STRING, size))
    }

    fn utf8(&mut self) -> Result<Object, Malformed> {
        let size = self.size()?;
        if !is_utf8_or_surrogates(self.take(size)?) {
            return Err(self.fail(Reason::NotUtf8));
        }
        Ok(self.taken(Kind::String, HASHABLE | STRING, size))
    }

    /// The `size` bytes that were read last, as an object.
    fn taken(&self, kind: Kind, traits: u8, size: u32) -> Object {
        Object { kind, traits, at: offset(self.at) - size, size }
    }

    /// A sign and a number of digits in one count, then the digits in base 2^15, the lowest first.
    fn long(&mut self) -> Result<Object, Malformed> {
        let count = self.number()?;
        if count == i32::MIN {
            return Err(self.fail(Reason::NegativeSize));
        }
        let digits = self.take(count.unsigned_abs() * 2)?;
        if digits.chunks_exact(2).any(|digit| digit[1] & 0x80 != 0) {
            return Err(self.fail(Reason::BadDigit));
        }
        if digits.ends_with(&[0, 0]) {
            return Err(self.fail(Reason::UnnormalizedInt));
        }
        Ok(Object::PLAIN)
    }

    /// A float as text, from marshal versions 0 and 1. Rust's grammar is Python's here: a sign, digits with
    /// a point and an exponent, or `inf`, `infinity`, `nan`; no space, no underscore.
    fn float_text(&mut self) -> Result<Object, Malformed> {
        let size = self.byte()?;
        let text = self.take(u32::from(size))?;
        let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<f64>().ok());
        number.map(|_| Object::PLAIN).ok_or_else(|| self.fail(Reason::BadFloat))
    }
}

/// UTF-8 in which lone surrogates are allowed (`surrogatepass`), three bytes each.
fn is_utf8_or_surrogates(mut text: &[u8]) -> bool {
    loop {
        let Err(error) = std::str::from_utf8(text) else {
            return true;
        };
        match text[error.valid_up_to()..] {
            [0xed, 0xa0..=0xbf, 0x80..=0xbf, ref rest @ ..] => text = rest,
            _ => return false,
        }
    }
}
