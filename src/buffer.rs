//! Memory for one file at a time.
//!
//! Small ones are malloc's business. Most others fit into buffers that each thread keeps and uses again: to give
//! 200 kB back to the kernel and take them again for every file costs more than to hash them. The few that are
//! larger come from the kernel and go back there, so that the largest source and its bytecode do not stay for ever.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// The longest that malloc takes from its own heap in any case, in bytes (`M_MMAP_THRESHOLD` begins above it).
const SMALL: usize = 64 << 10;

/// The length of the buffers that are kept, in bytes; of 20,000 sources and their bytecode some twenty are larger.
const KEPT: usize = 1 << 20;

/// How many a thread keeps: for a source that is read ahead, and the three parts of an answer.
const MOST: usize = 4;

/// More than glibc's malloc ever keeps for itself: below, it learns from what is freed to keep more the next time
/// (`M_MMAP_THRESHOLD` grows to 32 MiB).
const ALWAYS_RETURNED: usize = (32 << 20) + 4096;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// So many bytes, to be written to and then read.
#[derive(Debug, Default)]
pub struct Buffer {
    /// Longer than `length` where they are used again.
    bytes: Vec<u8>,
    length: usize,
}

impl Buffer {
    /// A buffer of `length` bytes; what is in them is left over from another use. Memory is taken from the kernel
    /// as the bytes are written to.
    #[must_use]
    pub fn new(length: usize) -> Self {
        if length <= SMALL {
            return Self { bytes: vec![0; length], length };
        }
        let spare = SPARE.with_borrow_mut(|spare| if length <= KEPT { spare.pop() } else { None });
        let needed = if length <= KEPT { KEPT } else { length.max(ALWAYS_RETURNED) };
        Self { bytes: spare.unwrap_or_else(|| vec![0; needed]), length }
    }

    /// Makes it `length` bytes long; those that it had stay.
    pub fn resize(&mut self, length: usize) {
        if length > self.bytes.len() {
            let mut longer = Self::new(length);
            longer[..self.length].copy_from_slice(self);
            std::mem::swap(self, &mut longer);
        }
        self.length = length;
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.bytes.len() == KEPT {
            let bytes = std::mem::take(&mut self.bytes);
            // A thread that is ending keeps nothing.
            let _ = SPARE.try_with(|spare| {
                let mut spare = spare.borrow_mut();
                if spare.len() < MOST {
                    spare.push(bytes);
                }
            });
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_keeps_its_bytes_when_it_grows() {
        let mut buffer = Buffer::new(3);
        buffer.copy_from_slice(b"abc");
        for length in [KEPT, KEPT + 1, ALWAYS_RETURNED + 1] {
            buffer.resize(length);
            assert_eq!((&buffer[..3], buffer.len()), (&b"abc"[..], length));
        }
    }

    #[test]
    fn a_thread_uses_its_buffers_again() {
        let first = Buffer::new(SMALL + 1).bytes.as_ptr();
        assert_eq!(Buffer::new(KEPT).bytes.as_ptr(), first);
    }
}
