//! What is remembered of an object: enough to say what may refer to it, and 12 bytes. No values; whoever wants
//! one reads it again.

/// What is known about an object once it has been read. Positions fit in 32 bits: the reader refuses what is
/// larger.
#[derive(Clone, Copy, Debug)]
pub(super) struct Object {
    pub kind: Kind,
    /// Any of [`HASHABLE`], [`STRING`], [`STRINGS`].
    pub traits: u8,
    /// Where the content of a string or of bytes begins.
    pub at: u32,
    /// Bytes of content, or items.
    pub size: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A number or a singleton.
    Plain,
    Bytes,
    String,
    Container(Shape),
    /// It has its reference index already, but is still being read.
    Incomplete,
}

/// What has parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Tuple,
    List,
    Set,
    Frozenset,
    Dict,
    Frozendict,
    Slice,
    Code,
}

impl Shape {
    /// Its end is found while reading: a dict's by a null, a code object's by its last field.
    pub(super) fn ends_itself(self) -> bool {
        matches!(self, Self::Dict | Self::Frozendict | Self::Code)
    }

    /// The order of its items means nothing.
    pub(super) fn is_unordered(self) -> bool {
        matches!(self, Self::Set | Self::Frozenset)
    }

    /// It looks things up by their hash.
    pub(super) fn has_keys(self) -> bool {
        matches!(self, Self::Set | Self::Frozenset | Self::Dict | Self::Frozendict)
    }
}

/// It may be in a set or a key of a dict, and so may everything in it.
pub(super) const HASHABLE: u8 = 1;
/// A string.
pub(super) const STRING: u8 = 2;
/// A tuple of strings only.
pub(super) const STRINGS: u8 = 4;

impl Object {
    /// A number or a singleton.
    pub(super) const PLAIN: Self = Self { kind: Kind::Plain, traits: HASHABLE, at: 0, size: 0 };

    /// What an index stands for until its object has been read.
    pub(super) const INCOMPLETE: Self = Self { kind: Kind::Incomplete, traits: 0, at: 0, size: 0 };
}

/// A position, which the reader has made sure to fit.
pub(super) fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
