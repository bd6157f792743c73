//! A world whose sources change from round to round: what the commit of one round made is the old bytecode of the
//! next. So each round has sources that are new, changed, the same and gone, and ones that do not compile; and it
//! is known of each target what it held before and what it is to hold after.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::contents::Contents;
use crate::support::{Outcome, World, write_leftover};
use crate::trace::{self, Step};
use crate::witness::Witness;

/// A run with its steps.
pub struct Run {
    pub outcome: Outcome,
    pub steps: Vec<Step>,
}

pub struct Rounds {
    pub world: World,
    pub old: Contents,
    pub new: Contents,
    pub(super) witness: Witness,
    number: usize,
    /// The youngest transaction when the round began.
    pub(super) before: i64,
    /// How many intents a round has; every round has as many.
    pub(super) intents: i64,
    /// The shared bytecode cache of all runs, if they have one.
    pub cache: Option<PathBuf>,
}

/// Where the files of a test are quick to make durable: thousands of `syncfs` of a busy disk take minutes.
pub fn memory() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { memory } else { std::env::temp_dir() }
}

impl Rounds {
    /// A world after its first rounds: from here on each is like the one before.
    pub fn new() -> Self {
        Self::in_world(World::new_in(&memory()))
    }

    pub fn in_world(world: World) -> Self {
        Self::before_the_first(world).after_the_first()
    }

    /// After its first rounds.
    pub fn after_the_first(mut self) -> Self {
        for _ in 0..3 {
            self.next();
            self.commit();
        }
        self
    }

    /// A world in which the program has never been run.
    pub fn before_the_first(world: World) -> Self {
        Self {
            world,
            old: Contents::default(),
            new: Contents::default(),
            witness: Witness::new(),
            number: 0,
            before: 0,
            intents: 0,
            cache: None,
        }
    }

    /// Changes the sources for the next round.
    pub fn next(&mut self) {
        self.number += 1;
        let (now, then) = (self.number, self.number - 1);
        let world = &self.world;
        let version = format!("VERSION = {now}\n");
        let broken = format!("VERSION = {now}\ndef (\n");
        for name in ["pkg/__init__.py", "pkg/same.py"] {
            if now == 1 {
                world.write(name, "VERSION = 0\n");
            }
        }
        for name in ["pkg/changed.py", "pkg/deep/changed_too.py"] {
            world.write(name, &version);
        }
        // Another file of the same content.
        let _ = fs::remove_file(world.tree().join("pkg/touched.py"));
        let touched = world.write("pkg/touched.py", "VERSION = 0\n");
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + now as u64);
        fs::File::options().write(true).open(touched).unwrap().set_modified(time).unwrap();
        for name in ["pkg/fresh", "emptied", "deleted"] {
            world.write(source_of_round(name, now), &version);
        }
        if then > 0 {
            fs::remove_file(world.tree().join(source_of_round("pkg/fresh", then))).unwrap();
            fs::remove_file(world.tree().join(source_of_round("emptied", then))).unwrap();
            fs::remove_dir_all(world.tree().join(format!("deleted/{then}"))).unwrap();
            let _ = fs::remove_dir(world.tree().join(format!("emptied/{}", then - 1)));
        }
        // One does not compile, one does again; the third never did.
        let (good, bad) = [("odd.py", "even.py"), ("even.py", "odd.py")][now % 2];
        world.write(good, &version);
        world.write(bad, &broken);
        world.write("never.py", &broken);
        // What a py_compile that was killed leaves.
        let mut leftover = world.pyc("pkg/changed.py").into_os_string();
        leftover.push(".140234");
        if world.pyc("pkg/changed.py").exists() {
            write_leftover(Path::new(&leftover));
        }
        self.intents = self.count("SELECT count(*) FROM intents WHERE txn = (SELECT max(txn) FROM ledger)");
        self.old = self.contents("before the round");
        self.new = self.expected(&[bad, "never.py"]);
        self.before = self.youngest();
    }

    /// Changes a source of this round once more: not what it says, but its bytes.
    pub fn change_again(&mut self) {
        self.world.write("pkg/changed.py", format!("VERSION = {}\n# once more\n", self.number));
        self.old = self.contents("before the commit");
    }

    /// Makes a round of the removal of all bytecode.
    pub fn next_is_clean(&mut self) {
        self.old = self.contents("before the clean");
        let sources = self.old.files.iter().filter(|name| !is_cached(name));
        self.new = Contents { files: sources.cloned().collect(), bytecode: BTreeMap::new() };
        self.before = self.youngest();
    }

    /// What the tree is to hold after a commit.
    fn expected(&self, broken: &[&str]) -> Contents {
        let is_cache = |name: &String| name.contains("__pycache__");
        let mut files: BTreeSet<String> =
            self.old.files.iter().filter(|name| !is_cache(name)).cloned().collect();
        let mut bytecode = BTreeMap::new();
        for source in files.iter().filter(|name| name.ends_with(".py")) {
            let path = self.world.pyc(source);
            let target = path.strip_prefix(self.world.tree()).unwrap().to_str().unwrap().to_owned();
            let unchanged = ["pkg/__init__.py", "pkg/same.py", "pkg/touched.py"].contains(&source.as_str());
            let what = if broken.contains(&source.as_str()) {
                self.old.bytecode.get(&target).cloned()
            } else {
                Some(if unchanged { 0 } else { self.number }.to_string())
            };
            bytecode.extend(what.map(|what| (target, what)));
        }
        for target in bytecode.keys() {
            files.insert(target.clone());
            files.insert(target.rsplit_once('/').unwrap().0.to_owned());
        }
        Contents { files, bytecode }
    }

    /// The steps of a run of `arguments` that is stopped before none, after which this round is over.
    pub fn rehearse(&mut self, arguments: &[&str]) -> Vec<Step> {
        self.next();
        let run = self.run(arguments, None);
        self.commit();
        run.steps
    }

    /// Runs the program until `step`, and stops it there.
    #[track_caller]
    pub fn stop_before(&self, arguments: &[&str], step: &Step) -> Outcome {
        let run = self.run(arguments, Some(&format!("abort@{}", step.number)));
        let last = run.steps.last().map(|last| &last.name);
        let was_stopped = run.outcome.signal.is_some() && last == Some(&step.name);
        assert!(was_stopped, "is not stopped before {step:?}\n{}", run.outcome.context());
        run.outcome
    }

    /// Runs the program; `fault` is what PYC_TXN_FAULT is to be. Commands that take a tree get it.
    pub fn run(&self, arguments: &[&str], fault: Option<&str>) -> Run {
        let mut arguments = arguments.to_vec();
        if ["commit", "stage"].contains(&arguments[0]) {
            arguments.extend(["-j", "1"]);
        }
        let mut command = self.world.command(&arguments);
        if ["commit", "record", "clean"].contains(&arguments[0]) {
            command.arg(self.world.tree());
        }
        let trace = self.world.beside("trace");
        let _ = fs::remove_file(&trace);
        command.env("PYC_TXN_TRACE", &trace);
        if let Some(cache) = &self.cache {
            command.env("PYC_TXN_CACHE", cache);
        }
        if let Some(fault) = fault {
            command.env("PYC_TXN_FAULT", fault);
        }
        let outcome = self.world.outcome(command);
        Run { outcome, steps: trace::read(&trace) }
    }

    /// Completes the round: a commit that nothing disturbs, after which all is new and nothing is left over.
    #[track_caller]
    pub fn commit(&mut self) -> Run {
        let run = self.run(&["commit"], None);
        self.is_complete(&run.outcome);
        run
    }

    /// How many intents a round has.
    pub fn intents(&self) -> i64 {
        self.intents
    }

    /// How many transactions have begun in this round.
    pub fn begun(&self) -> i64 {
        self.count(&format!("SELECT count(*) FROM transactions WHERE id > {}", self.before))
    }

    /// The transactions that have not ended, with the numbers of their intents.
    pub fn unfinished(&self) -> Vec<(i64, i64)> {
        let journal = self.world.journal_as_it_is().unwrap();
        let mut statement = journal
            .prepare(
                "SELECT t.id, count(intents.id) FROM transactions t LEFT JOIN intents ON txn = t.id
                      WHERE ended IS NULL GROUP BY t.id ORDER BY t.id",
            )
            .unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    }

    /// Goes on without bytecode, and without a journal.
    pub fn start_over(&mut self) {
        let names = self.world.tree_files();
        for name in names.iter().filter(|name| name.ends_with("__pycache__")) {
            fs::remove_dir_all(self.world.tree().join(name)).unwrap();
        }
        fs::remove_dir_all(self.world.state()).unwrap();
        self.next();
        self.commit();
    }

    pub(super) fn youngest(&self) -> i64 {
        self.count("SELECT coalesce(max(id), 0) FROM transactions")
    }

    /// A number from the journal; 0 where there is no journal, or none with tables.
    pub fn count(&self, query: &str) -> i64 {
        let journal = self.world.journal_as_it_is();
        journal.and_then(|journal| journal.query_row(query, [], |row| row.get(0))).unwrap_or_default()
    }

    #[track_caller]
    pub(super) fn contents(&mut self, context: &str) -> Contents {
        let bytecode = self.witness.look(&self.world.tree(), context);
        let files = self.world.tree_files().into_iter();
        // Staging directories in the tree are no business of a reader; `nothing_is_left` demands their end.
        let files = files.filter(|name| !is_staging(name)).collect();
        Contents { files, bytecode }
    }
}

/// A source that a round makes and the next one takes away.
fn source_of_round(name: &str, round: usize) -> String {
    if Path::new(name).parent() == Some(Path::new("")) {
        format!("{name}/{round}/only.py")
    } else {
        format!("{name}_{round}.py")
    }
}

pub(super) fn is_cached(name: &str) -> bool {
    name.contains("__pycache__")
}

pub(super) fn is_staging(name: &str) -> bool {
    name.starts_with(".pyc-txn-") || name.contains("/.pyc-txn-")
}
