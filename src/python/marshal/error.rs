//! What can be wrong with marshalled code. It owns the wording; it does not know how the damage was found.

use std::fmt;

/// Bytes that are not one whole code object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Where the object begins that is wrong, counted from the first marshalled byte (a `.pyc` header not
    /// included).
    pub offset: usize,
    /// What is wrong with it.
    pub reason: Reason,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// More than 2 GiB; no length inside could describe it.
    TooLarge,
    /// The bytes end inside an object, or a length points behind them.
    CutOff,
    /// No such type in this format.
    UnknownType(u8),
    /// A null where an object is needed.
    Null,
    /// A reference flag on something that cannot be referred to.
    StrayFlag,
    /// A reference to nothing, or to what is not complete yet.
    BadReference(u32),
    /// A length that is less than nothing.
    NegativeSize,
    /// An integer with a digit that is not in its base.
    BadDigit,
    /// An integer whose highest digit is zero.
    UnnormalizedInt,
    /// A float, written as text, that is not a number.
    BadFloat,
    /// A string that is not UTF-8, lone surrogates allowed.
    NotUtf8,
    /// A string marked as ASCII that is not.
    NotAscii,
    /// Deeper than the loader goes.
    TooDeep,
    /// A list, set or dict inside a set, or as the key of a dict.
    Unhashable,
    /// A part of a code object is not what it has to be.
    WrongType {
        /// What Python calls the part.
        part: &'static str,
        /// What it has to be.
        wanted: &'static str,
    },
    /// This part of a code object is less than nothing.
    Negative(&'static str),
    /// More positional-only arguments than arguments, or more arguments than locals.
    TooManyArguments,
    /// The names of the locals, their kinds and their number do not go together.
    LocalsDisagree,
    /// `co_filename` has a NUL in it.
    NulInPath,
    /// Instructions are two bytes each.
    OddCode,
    /// An instruction that only a running interpreter has.
    Instrumented,
    /// The last instruction is one that goes on to the next.
    OpenEnd,
    /// The outermost object is something else.
    NotCode,
    /// So many bytes stand behind the code object.
    Trailing(usize),
    /// Nothing is known to be wrong: there is not so much memory as it takes to find out.
    NoMemory,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed bytecode at offset {}: {}", self.offset, self.reason)
    }
}

impl std::error::Error for Malformed {}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownType(byte) => write!(f, "unknown type byte 0x{byte:02x}"),
            Self::BadReference(index) => write!(f, "reference to object {index}, which is not there"),
            Self::WrongType { part, wanted } => write!(f, "{part} is not {wanted}"),
            Self::Negative(part) => write!(f, "{part} is negative"),
            Self::Trailing(count) => write!(f, "{count} bytes behind the code object"),
            other => f.write_str(other.text()),
        }
    }
}

impl Reason {
    /// The wording, where it has no numbers or names in it.
    fn text(&self) -> &'static str {
        match self {
            Self::TooLarge => "larger than 2 GiB",
            Self::CutOff => "cut off",
            Self::Null => "null instead of an object",
            Self::StrayFlag => "reference flag on what cannot be referred to",
            Self::NegativeSize => "negative size",
            Self::BadDigit => "integer digit out of range",
            Self::UnnormalizedInt => "integer with a leading zero digit",
            Self::BadFloat => "float that is not a number",
            Self::NotUtf8 => "string that is not utf-8",
            Self::NotAscii => "ascii string that is not ascii",
            Self::TooDeep => "nested too deeply",
            Self::Unhashable => "unhashable object in a set or as a key",
            Self::TooManyArguments => "more arguments than a code object has locals",
            Self::LocalsDisagree => "locals of a code object contradict each other",
            Self::NulInPath => "NUL in a file name",
            Self::OddCode => "instructions of odd length",
            Self::Instrumented => "instruction that only a running interpreter has",
            Self::OpenEnd => "instructions without an end",
            Self::NotCode => "not a code object",
            Self::NoMemory => "not enough memory to check it",
            // With numbers or names.
            Self::UnknownType(_)
            | Self::BadReference(_)
            | Self::WrongType { .. }
            | Self::Negative(_)
            | Self::Trailing(_) => "",
        }
    }
}
