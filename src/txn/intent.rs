//! The nouns of a transaction: what is to be done, and what became of it. Plain data.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use crate::disk::Identity;
use crate::python::header::Invalidation;
use crate::python::pycache::{Level, Remnant, Target};
use crate::root::Root;

/// The number of a transaction; numbers grow and are never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxnId(pub i64);

/// The number of an intent; a staged file that is alone has it as its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IntentId(pub i64);

/// The number of an interpreter in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterpreterId(pub i32);

/// A BLAKE3 hash.
pub type Hash = [u8; 32];

/// One source to one target, for one interpreter, level and mode.
#[derive(Debug, Clone)]
pub struct Compile {
    /// The name its bytecode should have, and with it the source's.
    pub target: Target,
    /// Who compiles it.
    pub interpreter: InterpreterId,
    /// The optimization level.
    pub level: Level,
    /// The invalidation mode.
    pub mode: Invalidation,
    /// Whether it is compiled even where valid bytecode exists.
    pub force: bool,
    /// The source as it was when it was recorded.
    pub seen: Stamp,
}

impl Compile {
    /// The source's file name.
    #[must_use]
    pub fn source(&self) -> OsString {
        self.target.source()
    }
}

/// What is remembered of a source until it is compiled: as much as the header of its bytecode says, so that what
/// cannot be right need not be read. All zero: the source was out of reach when it was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp {
    /// Length in bytes.
    pub size: u64,
    /// Last change of the content, nanoseconds since 1970 (UTC).
    pub mtime: i64,
}

impl From<Identity> for Stamp {
    fn from(identity: Identity) -> Self {
        Self { size: identity.size, mtime: identity.mtime }
    }
}

/// What is to be done in a directory.
#[derive(Debug, Clone)]
pub enum Action {
    /// Make a target from its source.
    Compile(Compile),
    /// Remove a file from `__pycache__`.
    Remove(Remnant),
}

impl Action {
    /// The name in `__pycache__` that it is about.
    #[must_use]
    pub fn target(&self) -> &OsStr {
        match self {
            Self::Compile(compile) => compile.target.name(),
            Self::Remove(remnant) => remnant.name(),
        }
    }

    /// Whether it was planned without a look at the directory, which was out of reach.
    #[must_use]
    pub fn is_unseen(&self) -> bool {
        matches!(self, Self::Compile(compile) if compile.seen == Stamp::default())
    }
}

/// What a plan wants done in one directory.
#[derive(Debug)]
pub struct Group {
    /// The directory of the sources, without the root's prefix.
    pub directory: PathBuf,
    /// The package that asked.
    pub owner: Option<String>,
    /// What to do there.
    pub actions: Vec<Action>,
}

/// An intent as the journal has it.
#[derive(Debug, Clone)]
pub struct Intent {
    /// Its number.
    pub id: IntentId,
    /// An index into [`Batch::directories`].
    pub directory: usize,
    /// What is to be done.
    pub action: Action,
    /// What was made of it, once it is staged.
    pub made: Option<Made>,
    /// Whether the file that it removes is kept, to be used again.
    pub retire: bool,
}

/// What publishing needs to know of what was compiled or adopted.
#[derive(Debug, Clone)]
pub struct Made {
    /// The source that it was made from.
    pub source: Identity,
    /// The number of the staging directory that holds its file; of what was adopted, none.
    pub staged_in: Option<usize>,
}

impl Intent {
    /// The length of its source when it was recorded, in bytes; of a removal, 0.
    #[must_use]
    pub fn size(&self) -> u64 {
        match &self.action {
            Action::Compile(compile) => compile.seen.size,
            Action::Remove(_) => 0,
        }
    }
}

/// A directory of sources.
#[derive(Debug, Clone)]
pub struct Directory {
    /// Its number in the journal, above 0.
    pub number: i64,
    /// Its path, without the root's prefix.
    pub path: PathBuf,
    /// The mount point of its filesystem, without the root's prefix; `None`: that is the root's own, or not known.
    pub mount: Option<PathBuf>,
}

impl Directory {
    /// Whether its filesystem is not mounted.
    #[must_use]
    pub fn is_out_of_reach(&self, root: &Root) -> bool {
        root.is_out_of_reach(self.mount.as_deref())
    }
}

/// What is to be compiled in a directory by one interpreter.
#[derive(Debug, Clone)]
pub struct Share {
    /// Where.
    pub directory: Directory,
    /// Who compiles.
    pub interpreter: InterpreterId,
    /// How many sources.
    pub sources: u64,
    /// Their bytes together.
    pub bytes: u64,
}

/// A portion of the intents of a transaction.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// The directories of the sources, in the order of their numbers.
    pub directories: Vec<Directory>,
    /// The intents, ordered by directory.
    pub intents: Vec<Intent>,
    /// The last directory of the portion before.
    pub after: i64,
}

impl Batch {
    /// The number of the last directory.
    #[must_use]
    pub fn last(&self) -> i64 {
        self.directories.last().map_or(self.after, |directory| directory.number)
    }

    /// Adds an intent of another portion, behind those that are there.
    pub fn push(&mut self, from: &Self, mut intent: Intent) {
        let directory = &from.directories[intent.directory];
        if self.last() != directory.number {
            self.directories.push(directory.clone());
        }
        intent.directory = self.directories.len() - 1;
        self.intents.push(intent);
    }

    /// The intents of one directory after the other's.
    pub fn by_directory(&self) -> impl Iterator<Item = &[Intent]> {
        self.intents.chunk_by(|one, other| one.directory == other.directory)
    }

    /// What of it is to be compiled, an intent each.
    #[must_use]
    pub fn shares(&self) -> Vec<Share> {
        let share = |intent: &Intent| {
            let Action::Compile(compile) = &intent.action else { return None };
            let directory = self.directories[intent.directory].clone();
            let interpreter = compile.interpreter;
            Some(Share { directory, interpreter, sources: 1, bytes: compile.seen.size })
        };
        self.intents.iter().filter_map(share).collect()
    }

    /// The path of an intent's source, or of the file it removes, without the root's prefix.
    #[must_use]
    pub fn path(&self, intent: &Intent) -> PathBuf {
        let directory = &self.directories[intent.directory].path;
        match &intent.action {
            Action::Compile(compile) => directory.join(compile.source()),
            Action::Remove(remnant) => directory.join(crate::python::pycache::DIRECTORY).join(remnant.name()),
        }
    }
}

/// What the ledger will say of a target.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The source that was compiled.
    pub source: Identity,
    /// The hash of its bytes.
    pub source_hash: Hash,
    /// The hash of the marshalled code, without the header.
    pub code_hash: Hash,
    /// The interpreter that compiled it; of adopted code, one that loads it.
    pub compiler: InterpreterId,
    /// Whether pyc-txn wrote it, and so knows its compiler and that it is in its canonical form.
    pub canonical: bool,
    /// The pyc itself; a rename does not change its inode, size or mtime.
    pub pyc: Identity,
    /// The compiler's SyntaxWarnings, `LINE\tMESSAGE` a line each.
    pub warnings: String,
    /// Whether the code is that of earlier bytecode, and no compiler ran.
    pub reused: bool,
}

/// Why a source has no new bytecode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The compiler refuses it. It will do so again, so it is not asked again while the source stays as it is.
    Refused,
    /// The worker was lost over it: crashed, hung, answered garbage; or had too little memory; or the interpreter cannot
    /// be used. Tried again with the next commit.
    Lost,
    /// It, or the place of its target, cannot be used. Tried again with the next commit.
    Unreadable,
}

/// A failure of one source.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The kind of failure.
    pub fault: Fault,
    /// `LINE: MESSAGE`, or `MESSAGE`.
    pub message: String,
    /// The source as it was then; of one that could not be read, nothing.
    pub source: Identity,
    /// The interpreter that tried to compile it, if any did.
    pub compiler: Option<InterpreterId>,
}

/// What became of an intent.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Compiled and staged, in the staging directory of this number.
    Compiled(Box<Facts>, usize),
    /// A valid pyc that stood there was taken over.
    Adopted(Box<Facts>),
    /// The target was right already.
    Current,
    /// The target is to be removed.
    Removed,
    /// The source is gone.
    Vanished,
    /// The filesystem is not mounted: it is pending again.
    OutOfReach,
    /// There is no new bytecode; the others go on.
    Failed(Box<Failure>),
}
