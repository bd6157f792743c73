//! Memory for one file at a time.
//!
//! Most files fit into buffers that each thread keeps and uses again: to give 50 kB back and take them again for
//! every file costs more than to hash them, whether the kernel has to be asked or malloc has to search. The few that
//! are larger come from the kernel and go back there, so that the largest source and its bytecode do not stay for
//! ever.

use std::cell::RefCell;
use std::io;
use std::ops::{Deref, DerefMut};

use rustix::io::Errno;

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
    /// A buffer of `length` bytes; what is in them is left over from another use.
    ///
    /// # Errors
    /// `ENOMEM`: there is not so much memory.
    pub fn new(length: usize) -> io::Result<Self> {
        let mut buffer = Self::with_capacity(length)?;
        buffer.resize(length)?;
        Ok(buffer)
    }

    /// An empty buffer that can grow to `capacity` bytes without being copied. Of more than what is kept this takes
    /// addresses; memory is taken as it grows.
    ///
    /// # Errors
    /// As [`Buffer::new`].
    pub fn with_capacity(capacity: usize) -> io::Result<Self> {
        let Some(class) = KEPT.iter().position(|(kept, _)| capacity <= *kept) else {
            return Ok(Self { bytes: reserved(capacity.max(ALWAYS_RETURNED))?, length: 0 });
        };
        let spare = SPARE.with_borrow_mut(|spare| spare[class].pop());
        let bytes = spare.map_or_else(|| reserved(KEPT[class].0), Ok)?;
        Ok(Self { bytes, length: 0 })
    }

    /// Makes it `length` bytes long; those that it had stay.
    ///
    /// # Errors
    /// As [`Buffer::new`].
    pub fn resize(&mut self, length: usize) -> io::Result<()> {
        if length > self.bytes.capacity() {
            let mut longer = Self::new(length)?;
            longer[..self.length].copy_from_slice(self);
            std::mem::swap(self, &mut longer);
        } else if length > self.bytes.len() {
            self.bytes.resize(length, 0);
        }
        self.length = length;
        Ok(())
    }

    /// Drops the bytes behind the first `length`.
    pub fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
    }
}

/// A vector with room for `capacity` bytes. A process that cannot have them goes on without.
fn reserved(capacity: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(capacity).map_err(|_| io::Error::from(Errno::NOMEM))?;
    Ok(bytes)
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(class) = KEPT.iter().position(|(kept, _)| self.bytes.capacity() == *kept) {
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
        let mut buffer = Buffer::new(3).unwrap();
        buffer.copy_from_slice(b"abc");
        for length in [KEPT[0].0, KEPT[1].0, KEPT[1].0 + 1, ALWAYS_RETURNED + 1] {
            buffer.resize(length).unwrap();
            assert_eq!((&buffer[..3], buffer.len()), (&b"abc"[..], length));
        }
    }

    #[test]
    fn memory_that_is_not_there_is_an_error() {
        let refused = Buffer::new(usize::MAX / 4).unwrap_err();
        assert_eq!(Errno::from_io_error(&refused), Some(Errno::NOMEM));
        let mut buffer = Buffer::new(1).unwrap();
        assert!(buffer.resize(usize::MAX).is_err());
        assert_eq!(buffer.len(), 1);
    }

    #[test]
    fn a_thread_uses_its_buffers_again() {
        for (kept, _) in KEPT {
            let first = Buffer::new(kept - 1).unwrap().bytes.as_ptr();
            assert_eq!(Buffer::new(kept).unwrap().bytes.as_ptr(), first);
        }
    }
}
