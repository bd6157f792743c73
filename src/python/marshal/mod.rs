//! Marshalled code: is it whole?
//!
//! The bytes that a worker returned, or that stand behind the header of a `.pyc`, are data from somewhere
//! else. [`check`] walks them once and answers whether the interpreter they are meant for would load them
//! as a code object, with nothing behind it. It owns what `CPython`'s `marshal.c` and the constructor of code
//! objects demand, per version; it executes nothing, builds no objects, and allocates no more than a few
//! bytes for each object that says it will be referred to.
//!
//! It does not know what a `.pyc` header, a worker, or a file is, and it does not judge the instructions
//! themselves: whole code can still be wrong code.
//!
//! It is never more lenient than `marshal.loads`, and stricter where no compiler goes:
//!
//! | refused here, loaded there | why |
//! |---|---|
//! | bytes behind the object | a second writer, or two files in one |
//! | an "ascii" string with other bytes in it | it loads as latin-1, so a flipped bit would go unseen |
//! | a dict whose last key has no value | the loader drops the key in silence |
//! | a reference to what is still being read | hashing such a tuple crashes the interpreter |
//! | a reference flag on `None`, a reference, a null | the loaders disagree about whether it counts |
//! | counts that are negative or contradict each other | the interpreter reads behind its arrays |
//! | instructions of a running interpreter, or without an end | 3.11 to 3.13 crash on them |
//! | a NUL in a file name | no path has one, no compiler takes one |
//! | text behind a NUL in a float | the loader ignores it |
//!
//! One thing the loader does is not done here: it compares the members of a set whose hashes are the same, and
//! gives up (`RecursionError`, to 3.11) if they are equal tuples, a thousand deep. No compiler writes that.
//!
//! The layers: `reader` turns bytes into items, one at a time; `object` is what is remembered of them; `format`
//! is the table of what a code object consists of; `code` is what must be true of one; `walk` keeps the stack
//! and the references.

mod code;
mod error;
mod format;
mod object;
mod reader;
#[cfg(test)]
mod tests;
mod walk;

use std::borrow::Cow;

pub use error::{Malformed, Reason};
pub use format::Format;

/// A whole code object: the evidence that [`check`] was satisfied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code<'a> {
    bytes: &'a [u8],
    filename: &'a [u8],
}

impl<'a> Code<'a> {
    /// Everything that was checked: the marshalled object, without a header, without anything behind it.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// `co_filename` of the outermost code object, as the bytes of a path (what `os.fsencode` gives under a
    /// UTF-8 locale): UTF-8, where bytes that were not UTF-8 in the path, which Python keeps as lone
    /// surrogates, are themselves again.
    #[must_use]
    pub fn filename(&self) -> Cow<'a, [u8]> {
        if self.filename.contains(&0xed) {
            Cow::Owned(unescape(self.filename))
        } else {
            Cow::Borrowed(self.filename)
        }
    }
}

/// Are these bytes one whole code object of this format, and nothing else?
///
/// # Errors
///
/// The first thing that is wrong, and where. The bytes after that have not been looked at.
pub fn check(bytes: &[u8], format: Format) -> Result<Code<'_>, Malformed> {
    let filename = walk::Walk::new(bytes, format)?.run()?;
    Ok(Code { bytes, filename })
}

/// Undo `surrogateescape`: U+DC80 to U+DCFF, marshalled as three bytes, stand for one byte of the path.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        if let [0xed, high @ 0xb2..=0xb3, low, ..] = *rest {
            path.push((high << 6) | (low & 0x3f));
            rest = &rest[3..];
        } else {
            path.push(first);
            rest = tail;
        }
    }
    path
}
