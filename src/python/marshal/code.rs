//! What must be true of one code object: the types of its parts, and that its counts fit each other. It owns
//! what the interpreter's constructor checks; it does not know how the parts were read.

use super::error::Reason;
use super::format::{Field, Format, Opcodes};
use super::object::{Kind, Object, STRINGS, Shape};

/// Functions have both, modules and the bodies of classes neither.
const OPTIMIZED: i32 = 0x01;
const NEWLOCALS: i32 = 0x02;

/// `*args` and `**kwargs` take a local each; these flags say that they are there.
const VARARGS: i32 = 0x04;
const VARKEYWORDS: i32 = 0x08;

/// Among the kinds of 3.11: the local is a variable of this function, not only a cell or a free one.
const KIND_LOCAL: u8 = 0x20;

/// The parts of a code object that has not been read to its end.
pub(super) struct Parts {
    /// Where the code object begins.
    pub at: usize,
    /// The fields that have not been read yet.
    pub rest: &'static [Field],
    pub filename: Option<Object>,
    qualname: Option<Object>,
    code: Option<Object>,
    argcount: i32,
    posonlyargcount: i32,
    kwonlyargcount: i32,
    flags: i32,
    /// `co_nlocals`, where that is written.
    locals: Option<i32>,
    /// How many names of locals there are, in whichever field they are.
    names: u32,
    kinds: Option<Object>,
    opcodes: Option<Opcodes>,
}

impl Parts {
    pub(super) fn new(at: usize, format: Format) -> Self {
        Self {
            at,
            rest: format.fields,
            opcodes: format.opcodes,
            filename: None,
            qualname: None,
            code: None,
            argcount: 0,
            posonlyargcount: 0,
            kwonlyargcount: 0,
            flags: 0,
            locals: None,
            names: 0,
            kinds: None,
        }
    }

    pub(super) fn number(&mut self, field: Field, number: i32) -> Result<(), Reason> {
        match field {
            // Whatever it is, nothing is read by it.
            Field::FirstLine => return Ok(()),
            Field::ArgCount => self.argcount = number,
            Field::PosOnlyArgCount => self.posonlyargcount = number,
            Field::KwOnlyArgCount => self.kwonlyargcount = number,
            Field::Flags => self.flags = number,
            Field::Locals => self.locals = Some(number),
            _ => {}
        }
        if number < 0 { Err(Reason::Negative(field.name())) } else { Ok(()) }
    }

    pub(super) fn object(&mut self, field: Field, object: Object) -> Result<(), Reason> {
        if !suits(field, object) {
            return Err(Reason::WrongType { part: field.name(), wanted: field.wanted() });
        }
        match field {
            Field::Code => self.code = Some(object),
            Field::VarNames | Field::LocalsPlusNames => self.names = object.size,
            Field::LocalsPlusKinds => self.kinds = Some(object),
            Field::FileName => self.filename = Some(object),
            Field::QualName => self.qualname = Some(object),
            _ => {}
        }
        Ok(())
    }

    /// The last part has come. Do all of them go together? `content` finds the content of an object.
    pub(super) fn finish<'a>(&self, content: impl Fn(Object) -> &'a [u8]) -> Result<(), Reason> {
        if self.filename.is_some_and(|name| content(name).contains(&0)) {
            return Err(Reason::NulInPath);
        }
        self.code.map_or(Ok(()), |code| self.instructions(content(code)))?;
        let locals = self.count_locals(self.kinds.map(content)).ok_or(Reason::LocalsDisagree)?;
        if self.posonlyargcount > self.argcount || self.arguments() > locals {
            return Err(Reason::TooManyArguments);
        }
        Ok(())
    }

    /// `co_qualname`, if this is the body of a class (or a module), and the name such that it would not be interned as
    /// a constant: 3.6 to 3.15 intern those of ASCII letters, digits and underscores.
    pub(super) fn class_name<'a>(&self, content: impl Fn(Object) -> &'a [u8]) -> Option<Object> {
        let is_body = self.flags & (OPTIMIZED | NEWLOCALS) == 0;
        let is_name = |name| content(name).iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        self.qualname.filter(|&name| is_body && !is_name(name))
    }

    /// Two bytes each, opcode first. The bytes of an inline cache come as zeros from a compiler.
    fn instructions(&self, code: &[u8]) -> Result<(), Reason> {
        if !code.len().is_multiple_of(2) {
            return Err(Reason::OddCode);
        }
        let Some(opcodes) = self.opcodes else {
            return Ok(());
        };
        let (units, _) = code.as_chunks::<2>();
        if !units.last().is_some_and(|[opcode, _]| opcodes.last.contains(opcode)) {
            return Err(Reason::OpenEnd);
        }
        // The highest, not the first that is too high: this is most of the bytes, and vectorised.
        match units.iter().map(|[opcode, _]| *opcode).max() {
            Some(highest) if highest >= opcodes.running => Err(Reason::Instrumented),
            _ => Ok(()),
        }
    }

    fn arguments(&self) -> i64 {
        i64::from(self.argcount)
            + i64::from(self.kwonlyargcount)
            + i64::from(self.flags & VARARGS != 0)
            + i64::from(self.flags & VARKEYWORDS != 0)
    }

    /// The number of locals, if everything that says something about it says the same.
    fn count_locals(&self, kinds: Option<&[u8]>) -> Option<i64> {
        let names = self.names as usize;
        let (total, locals) = match kinds {
            Some(kinds) => (kinds.len(), kinds.iter().filter(|&&kind| kind & KIND_LOCAL != 0).count()),
            None => (usize::try_from(self.locals?).ok()?, names),
        };
        if total == names { i64::try_from(locals).ok() } else { None }
    }
}

/// Has this object the type that the field demands?
fn suits(field: Field, object: Object) -> bool {
    match field {
        Field::Code | Field::LocalsPlusKinds | Field::LineTable | Field::ExceptionTable => {
            object.kind == Kind::Bytes
        }
        Field::Consts => object.kind == Kind::Container(Shape::Tuple),
        Field::FileName | Field::Name | Field::QualName => object.kind == Kind::String,
        _ => object.traits & STRINGS != 0,
    }
}
