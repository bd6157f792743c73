//! Memory for one file at a time.

/// From this size on, in bytes, the allocator takes memory from the kernel, as long as nothing teaches it better.
const LARGE: usize = 128 << 10;

/// More than glibc's malloc will ever keep for itself (`M_MMAP_THRESHOLD` grows to 32 MiB with what is freed).
const ALWAYS_RETURNED: usize = (32 << 20) + 4096;

/// A zeroed buffer of `length` bytes that costs memory only as it is written to, and none once it is dropped: a
/// large one is larger than it needs to be, in addresses, so that the allocator hands it back to the kernel. Else
/// the largest source and its bytecode, each freed before the other is needed, would both stay for ever.
#[must_use]
pub(crate) fn zeroed(length: usize) -> Vec<u8> {
    let reserved = if length < LARGE { length } else { length.max(ALWAYS_RETURNED) };
    let mut buffer = vec![0; reserved];
    buffer.truncate(length);
    buffer
}
