//! Memory for one file at a time.
//!
//! Most files fit into buffers that each thread keeps and uses again: to give 50 kB back and take them again for
//! every file costs more than to hash them, whether the kernel has to be asked or malloc has to search. The few that
//! are larger come from the kernel and go back there, so that the largest source and its bytecode do not stay for
//! ever.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// The lengths of the buffers that are kept, in bytes, and how many of each: for the sources and the bytecode of
/// a batch of small ones, and for a source that is read ahead and the parts of an answer. Of 20,000 sources and
/// their bytecode some twenty are larger.
const KEPT: [(usize, usize); 2] = [(32 << 10, 128), (1 << 20, 4)];

/// More than glibc's malloc ever keeps for itself: below, it learns from what is freed to keep more the next time
/// (`M_MMAP_THRESHOLD` grows to 32 MiB).
const ALWAYS_RETURNED: usize = (32 << 20) + 4096;

thread_local! {
    static SPARE: RefCell<[Vec<Vec<u8>>; KEPT.len()]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// So many bytes, to be written to and then read.
#[derive(Debug, Default)]
pub struct Buffer {
    /// Longer than `length` where it is used again.
    bytes: Vec<u8>,
    length: usize,
}

impl Buffer {
    /// A buffer of `length` bytes; what is in them is left over from another use. Memory is taken from the kernel
    /// as the bytes are written to.
    #[must_use]
    pub fn new(length: usize) -> Self {
        let Some(class) = KEPT.iter().position(|(kept, _)| length <= *kept) else {
            return Self { bytes: vec![0; length.max(ALWAYS_RETURNED)], length };
        };
        let spare = SPARE.with_borrow_mut(|spare| spare[class].pop());
        Self { bytes: spare.unwrap_or_else(|| vec![0; KEPT[class].0]), length }
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
        if let Some(class) = KEPT.iter().position(|(kept, _)| self.bytes.len() == *kept) {
            let bytes = std::mem::take(&mut self.bytes);
            // A thread that is ending keeps nothing.
            let _ = SPARE.try_with(|spare| {
                let spare = &mut spare.borrow_mut()[class];
                if spare.len() < KEPT[class].1 {
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
        for length in [KEPT[0].0, KEPT[1].0, KEPT[1].0 + 1, ALWAYS_RETURNED + 1] {
            buffer.resize(length);
            assert_eq!((&buffer[..3], buffer.len()), (&b"abc"[..], length));
        }
    }

    #[test]
    fn a_thread_uses_its_buffers_again() {
        for (kept, _) in KEPT {
            let first = Buffer::new(kept - 1).bytes.as_ptr();
            assert_eq!(Buffer::new(kept).bytes.as_ptr(), first);
        }
    }
}
