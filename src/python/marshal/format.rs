//! The format of marshalled code, per interpreter version: which types there are, and which parts a code
//! object has, in which order. Tables only; it does not read.
//!
//! The marshal version number is in no file, so the interpreter's version is all there is to go by. An
//! interpreter that is not listed here is not guessed at.

/// How one interpreter marshals code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// The parts of a code object, in the order in which they are written.
    pub(super) fields: &'static [Field],
    /// `slice` objects, since marshal version 5 (3.14).
    pub(super) slices: bool,
    /// `frozendict` objects, since marshal version 6 (3.15).
    pub(super) frozendicts: bool,
    /// Since 3.11, which prepares the instructions when it loads them.
    pub(super) opcodes: Option<Opcodes>,
    pub(super) sharing: Sharing,
}

impl Format {
    /// How many objects stand before this one in a code object; `None` if it has no such part.
    pub(super) fn place(self, field: Field) -> Option<usize> {
        self.fields.iter().filter(|field| !field.is_number()).position(|&other| other == field)
    }
}

/// What one process of an interpreter has as one object, and another as two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sharing {
    /// Nothing that is known.
    Sure,
    /// Strings of one Latin-1 character at most exist once; whether they are interned is a matter of chance, as is
    /// whether equal frozensets are one.
    Singles,
    /// As before; and `co_qualname` is interned (3.13), so it is a matter of chance whether it is still what the
    /// body of the class has among its constants.
    QualNames,
}

impl Format {
    /// The format of `CPython` MAJOR.MINOR. `None`: not known here, so nothing can be said about its code.
    #[must_use]
    pub fn of(major: u8, minor: u8) -> Option<Self> {
        let fields = match (major, minor) {
            (3, 6..=7) => FIELDS_3_6,
            (3, 8..=10) => FIELDS_3_8,
            (3, 11..=15) => FIELDS_3_11,
            _ => return None,
        };
        let opcodes = match minor {
            11 => Some(Opcodes { running: 255, last: &[0, 83, 119, 130, 134, 140] }),
            12 => Some(Opcodes { running: 237, last: &[0, 83, 119, 121, 130, 134, 140] }),
            13 => Some(Opcodes { running: 236, last: &[0, 36, 77, 78, 101, 102, 103] }),
            14 => Some(Opcodes { running: 234, last: &[0, 35, 75, 76, 104, 105] }),
            15 => Some(Opcodes { running: 233, last: &[0, 33, 74, 75, 103, 104] }),
            _ => None,
        };
        let sharing = if minor >= 13 { Sharing::QualNames } else { Sharing::Singles };
        Some(Self { fields, slices: minor >= 14, frozendicts: minor >= 15, opcodes, sharing })
    }

    /// The format of `PyPy` for Python MAJOR.MINOR, where it was seen at work; `None` as in [`Format::of`].
    #[must_use]
    pub fn of_pypy(major: u8, minor: u8) -> Option<Self> {
        let fields = match (major, minor) {
            (3, 9) => FIELDS_3_8,
            (3, 11) => FIELDS_PYPY_3_11,
            _ => return None,
        };
        Some(Self { fields, slices: false, frozendicts: false, opcodes: None, sharing: Sharing::Sure })
    }
}

/// What the loader relies on in instructions without looking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opcodes {
    /// The lowest opcode of those that exist only in a running interpreter, for tools that trace it, and
    /// are never marshalled. 3.12 and 3.13 crash when they load one.
    pub running: u8,
    /// Those after which nothing needs to follow: a return, a raise, a jump back, or what fills the inline
    /// cache of that. Behind any other, 3.11 to 3.13 may write one cache entry past the end.
    pub last: &'static [u8],
}

/// A part of a code object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    ArgCount,
    PosOnlyArgCount,
    KwOnlyArgCount,
    Locals,
    StackSize,
    Flags,
    Code,
    Consts,
    Names,
    VarNames,
    FreeVars,
    CellVars,
    LocalsPlusNames,
    LocalsPlusKinds,
    FileName,
    Name,
    QualName,
    FirstLine,
    LineTable,
    ExceptionTable,
}

impl Field {
    /// A bare 32-bit number, not an object with a type byte.
    pub(super) fn is_number(self) -> bool {
        use Field::{ArgCount, FirstLine, Flags, KwOnlyArgCount, Locals, PosOnlyArgCount, StackSize};
        matches!(self, ArgCount | PosOnlyArgCount | KwOnlyArgCount | Locals | StackSize | Flags | FirstLine)
    }

    /// What Python calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ArgCount => "co_argcount",
            Self::PosOnlyArgCount => "co_posonlyargcount",
            Self::KwOnlyArgCount => "co_kwonlyargcount",
            Self::Locals => "co_nlocals",
            Self::StackSize => "co_stacksize",
            Self::Flags => "co_flags",
            Self::Code => "co_code",
            Self::Consts => "co_consts",
            Self::Names => "co_names",
            Self::VarNames => "co_varnames",
            Self::FreeVars => "co_freevars",
            Self::CellVars => "co_cellvars",
            Self::LocalsPlusNames => "co_localsplusnames",
            Self::LocalsPlusKinds => "co_localspluskinds",
            Self::FileName => "co_filename",
            Self::Name => "co_name",
            Self::QualName => "co_qualname",
            Self::FirstLine => "co_firstlineno",
            Self::LineTable => "co_linetable",
            Self::ExceptionTable => "co_exceptiontable",
        }
    }

    /// What it has to be, for a message.
    pub(super) fn wanted(self) -> &'static str {
        match self {
            Self::Consts => "a tuple",
            Self::Names | Self::VarNames | Self::FreeVars | Self::CellVars | Self::LocalsPlusNames => {
                "a tuple of strings"
            }
            Self::FileName | Self::Name | Self::QualName => "a string",
            Self::Code | Self::LocalsPlusKinds | Self::LineTable | Self::ExceptionTable => "bytes",
            _ => "a number",
        }
    }
}

/// 3.6 and 3.7.
const FIELDS_3_6: &[Field] = &[
    Field::ArgCount,
    Field::KwOnlyArgCount,
    Field::Locals,
    Field::StackSize,
    Field::Flags,
    Field::Code,
    Field::Consts,
    Field::Names,
    Field::VarNames,
    Field::FreeVars,
    Field::CellVars,
    Field::FileName,
    Field::Name,
    Field::FirstLine,
    Field::LineTable,
];

/// 3.8 to 3.10: positional-only arguments (PEP 570) are counted.
const FIELDS_3_8: &[Field] = &[
    Field::ArgCount,
    Field::PosOnlyArgCount,
    Field::KwOnlyArgCount,
    Field::Locals,
    Field::StackSize,
    Field::Flags,
    Field::Code,
    Field::Consts,
    Field::Names,
    Field::VarNames,
    Field::FreeVars,
    Field::CellVars,
    Field::FileName,
    Field::Name,
    Field::FirstLine,
    Field::LineTable,
];

/// 3.11 and later: all locals in one tuple, with a byte each that says which kind it is.
const FIELDS_3_11: &[Field] = &[
    Field::ArgCount,
    Field::PosOnlyArgCount,
    Field::KwOnlyArgCount,
    Field::StackSize,
    Field::Flags,
    Field::Code,
    Field::Consts,
    Field::Names,
    Field::LocalsPlusNames,
    Field::LocalsPlusKinds,
    Field::FileName,
    Field::Name,
    Field::QualName,
    Field::FirstLine,
    Field::LineTable,
    Field::ExceptionTable,
];

/// `PyPy` for 3.11: the locals as before, the tables at the end as in 3.11.
const FIELDS_PYPY_3_11: &[Field] = &[
    Field::ArgCount,
    Field::PosOnlyArgCount,
    Field::KwOnlyArgCount,
    Field::Locals,
    Field::StackSize,
    Field::Flags,
    Field::Code,
    Field::Consts,
    Field::Names,
    Field::VarNames,
    Field::FreeVars,
    Field::CellVars,
    Field::FileName,
    Field::Name,
    Field::QualName,
    Field::FirstLine,
    Field::LineTable,
    Field::ExceptionTable,
];
