//! Marshalled code: is it whole, and the same bytes for the same source?
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
//! # The canonical form
//!
//! What a compiler returns for one source, marshalled, is not always the same bytes. [`canonicalize`] makes it so. All
//! that differs between runs, as far as that is known, and what the form has instead:
//!
//! | what differs | by what | canonical |
//! |---|---|---|
//! | reference flags, and so all indices | who else holds the object | a flag where something refers to it, nowhere else |
//! | the order in a set | hash seed, addresses (`None` before 3.12), which items were flagged | by a digest of the items |
//! | whether a string of one Latin-1 character, or none, is interned | what was compiled before | it is |
//! | whether equal frozensets are one object | whether their strings were interned already | one |
//! | whether a class body's constant that equals its `co_qualname` is that (3.13) | as above | it is, and interned |
//!
//! Apart from these two, what was one object is one, and what was two is two. Nothing else changes, so it loads to
//! an equal code object; it is never longer; the canonical form of the canonical form is itself. Two exceptions, which
//! no compiler writes: sets stay as they are if what they share would be nested too deeply in the new order, and
//! objects that are equal but not the same keep their order in a set. For `PyPy` only flags, indices and the order in
//! sets are changed.
//!
//! # How
//!
//! The layers: `reader` turns bytes into items, one at a time; `object` is what is remembered of them; `format`
//! is the table of what a code object consists of; `code` is what must be true of one; `walk` keeps the stack
//! and the references, and takes a witness along; `canonical` sets flags and numbers, in place; `order` writes anew
//! what has to stand elsewhere.

mod canonical;
mod code;
mod error;
mod format;
mod object;
mod order;
mod reader;
#[cfg(test)]
mod tests;
mod walk;

use std::borrow::Cow;

pub use error::{Malformed, Reason};
pub use format::Format;

use canonical::Marks;
use object::Object;
use walk::Walk;

/// A whole code object: the evidence that [`check`] was satisfied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code<'a> {
    bytes: &'a [u8],
    filename: &'a [u8],
}

impl<'a> Code<'a> {
    fn of(bytes: &'a [u8], filename: Object) -> Self {
        Self { bytes, filename: &bytes[filename.at as usize..][..filename.size as usize] }
    }

    /// Everything that was checked: the marshalled object, without a header, without anything behind it.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// `co_filename` of the outermost code object, as the bytes of a path (what `os.fsencode` gives under a
    /// UTF-8 locale): UTF-8, where bytes that were not UTF-8 in the path, which Python keeps as lone
    /// surrogates, are themselves again.
    ///
    /// A name that is longer than any path has only its beginning.
    #[must_use]
    pub fn filename(&self) -> Cow<'a, [u8]> {
        let filename = &self.filename[..self.filename.len().min(LONGEST_PATH)];
        if filename.contains(&0xed) { Cow::Owned(unescape(filename)) } else { Cow::Borrowed(filename) }
    }
}

/// More than the bytes of any path (`PATH_MAX`), each of which can have become three.
const LONGEST_PATH: usize = 4 * 4096;

/// Whether there is `times` as much memory as the bytes of some code take. The lists of what is in it grow with it, and
/// lists that cannot grow end the process; so a large one is begun only where that is not to be expected.
///
/// # Errors
/// [`Reason::NoMemory`].
fn ask_for_memory(length: usize, times: usize) -> Result<(), Malformed> {
    const LARGE: usize = 1 << 20;
    if length < LARGE {
        return Ok(());
    }
    let asked = Vec::<u8>::new().try_reserve_exact(length.saturating_mul(times));
    asked.map_err(|_| Malformed { offset: 0, reason: Reason::NoMemory })
}

/// Are these bytes one whole code object of this format, and nothing else?
///
/// # Errors
///
/// The first thing that is wrong, and where. The bytes after that have not been looked at.
pub fn check(bytes: &[u8], format: Format) -> Result<Code<'_>, Malformed> {
    ask_for_memory(bytes.len(), 2)?;
    let (filename, ()) = Walk::new(bytes, format, ())?.run()?;
    Ok(Code::of(bytes, filename))
}

/// Bring one whole code object into its canonical form, in place. The answer has the first of the bytes, or all:
/// what is behind these is of no use any more.
///
/// # Errors
///
/// Those of [`check`], for the same bytes; then they are unchanged.
pub fn canonicalize(bytes: &mut [u8], format: Format) -> Result<Code<'_>, Malformed> {
    ask_for_memory(bytes.len(), 3)?;
    let (mut filename, mut marks) = Marks::of(bytes, format)?;
    let mut length = bytes.len();
    if marks.needs_order {
        ask_for_memory(length, 8)?;
    }
    if marks.needs_order
        && let Some(ordered) = order::in_order(bytes, format)
        && let Some(place) = bytes.get_mut(..ordered.len())
        // What is written out elsewhere now may be too deep there. Then it stays as it was.
        && let Ok(found) = Marks::of(&ordered, format)
    {
        place.copy_from_slice(&ordered);
        length = ordered.len();
        (filename, marks) = found;
    }
    let code = &mut bytes[..length];
    marks.apply(code, format);
    Ok(Code::of(code, filename))
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
