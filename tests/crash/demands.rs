//! What is demanded of a world of rounds: at every instant, after a recovery, and when a round is complete.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::contents::assert_same;
use crate::rounds::{Rounds, is_cached, is_staging};
use crate::support::Outcome;
use crate::trace::Step;

/// What the journal says of this round's transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Said {
    /// There is none that is decided.
    Undecided,
    Committing,
    Committed,
}

impl Rounds {
    /// Demands that a commit is complete: some sources do not compile, which it says; all else is new.
    #[track_caller]
    pub fn is_complete(&mut self, outcome: &Outcome) {
        assert_eq!(outcome.status, Some(1), "exit status of a commit\n{}", outcome.context());
        assert!(outcome.stderr.contains("never.py:2: "), "{}", outcome.context());
        self.is_all_new(outcome.context());
        self.nothing_is_left(outcome.context());
        let unfinished = self.count("SELECT count(*) FROM transactions WHERE ended IS NULL");
        assert_eq!(unfinished, 0, "transactions that have not ended\n{}", outcome.context());
    }

    /// Whether a step changes something in the tree, where one place may fail and no other has to.
    pub fn is_in_tree(&self, step: &Step) -> bool {
        let below = Path::new(&step.path).strip_prefix(self.world.tree());
        below.is_ok_and(|below| !is_staging(below.to_str().unwrap())) && step.name != "sync"
    }

    /// Demands that a commit is complete but for one place, which it says; another one makes up for that.
    #[track_caller]
    pub fn is_complete_but_for(&mut self, words: &str, outcome: &Outcome) {
        assert_eq!(outcome.status, Some(1), "exit status of a commit\n{}", outcome.context());
        if outcome.stderr.contains(words) {
            self.is_between(outcome.context());
        } else {
            // There was another way to do it.
            self.is_all_new(outcome.context());
        }
        self.nothing_is_left(outcome.context());
        let unfinished = self.count("SELECT count(*) FROM transactions WHERE ended IS NULL");
        assert_eq!(unfinished, 0, "transactions that have not ended\n{}", outcome.context());
    }

    /// Demands that a clean that could not remove something has said so, and has ended; one that had nothing to remove is
    /// done.
    #[track_caller]
    pub fn remains_told(&mut self, words: &str, outcome: &Outcome) {
        let is_told = outcome.stderr.contains(words);
        assert_eq!(outcome.status, Some(i32::from(is_told)), "exit status\n{}", outcome.context());
        self.is_between(outcome.context());
        let unfinished = self.count("SELECT count(*) FROM transactions WHERE ended IS NULL");
        assert_eq!(unfinished, 0, "transactions that have not ended\n{}", outcome.context());
        let remains = self.count("SELECT count(*) FROM failures WHERE outcome = 'remains'");
        assert_eq!(remains > 0, is_told, "what remains is not remembered\n{}", outcome.context());
    }

    /// Demands of a tree at any instant: every pyc is whole, and it is the old or the new one as far as the journal
    /// says. Says what that is.
    #[track_caller]
    pub fn is_sound(&mut self, context: &str) -> Said {
        let said = self.said();
        match said {
            Said::Undecided => self.is_all_old(context),
            Said::Committing => self.is_between(context),
            Said::Committed => self.is_all_new(context),
        }
        said
    }

    /// Demands of a tree after a recovery: it is all old or all new, as the journal says, and nothing is left over.
    #[track_caller]
    pub fn is_recovered(&mut self, context: &str) -> Said {
        let said = self.is_sound(context);
        assert_ne!(said, Said::Committing, "recovery leaves it decided and not settled\n{context}");
        let staged = self.count("SELECT count(*) FROM transactions WHERE state = 'staged' AND NOT held");
        assert_eq!(staged, 0, "recovery leaves a staged transaction\n{context}");
        self.nothing_is_left(context);
        said
    }

    /// Demands that the intents of this round, once recorded, are pending or settled, and not lost.
    #[track_caller]
    pub fn keeps_its_intents(&self, context: &str) {
        if self.youngest() == self.before {
            return;
        }
        let intents = self.count(&format!(
            "SELECT count(*) FROM intents JOIN transactions t ON t.id = txn
             WHERE t.id > {} AND (t.state <> 'recording' OR outcome IS NULL)",
            self.before
        ));
        assert_eq!(intents, self.intents, "intents\n{context}");
    }

    /// Demands that every pyc loads.
    #[track_caller]
    pub fn every_pyc_loads(&mut self, context: &str) {
        self.witness.look(&self.world.tree(), context);
    }

    /// Demands that all is new but for bytecode whose source is gone: without a journal nobody knows whose it is.
    #[track_caller]
    pub fn holds_all_that_is_new(&mut self, context: &str) {
        let mut now = self.contents(context);
        let is_orphan = |name: &String| self.old.files.contains(name) && is_cached(name);
        now.files.retain(|name| self.new.files.contains(name) || !is_orphan(name));
        now.bytecode.retain(|name, _| now.files.contains(name));
        assert_same(&now, &self.new, "all new", context);
    }

    #[track_caller]
    pub fn is_all_old(&mut self, context: &str) {
        let now = self.contents(context);
        assert_same(&now, &self.old, "all old", context);
    }

    #[track_caller]
    pub fn is_all_new(&mut self, context: &str) {
        let now = self.contents(context);
        assert_same(&now, &self.new, "all new", context);
    }

    /// Demands that each target holds what it held or what it is to hold.
    #[track_caller]
    fn is_between(&mut self, context: &str) {
        let now = self.contents(context);
        let targets: BTreeSet<&String> =
            [&now, &self.old, &self.new].into_iter().flat_map(|contents| contents.bytecode.keys()).collect();
        for target in targets {
            let [found, old, new] =
                [&now, &self.old, &self.new].map(|contents| contents.bytecode.get(target));
            assert!(
                found == old || found == new,
                "{target} holds {found:?}, not {old:?} or {new:?}\n{context}"
            );
        }
        for file in &now.files {
            assert!(
                self.old.files.contains(file) || self.new.files.contains(file),
                "{file} is neither old nor new\n{context}"
            );
        }
    }

    /// Demands that no staging directory is there, and that the journal is whole.
    #[track_caller]
    pub fn nothing_is_left(&self, context: &str) {
        let staging = self.world.state().join("staging");
        let left = fs::read_dir(&staging).map(Iterator::count).unwrap_or_default();
        let held = self.count("SELECT count(*) FROM transactions WHERE state = 'staged' AND held");
        assert_eq!(i64::try_from(left), Ok(held), "staging directories are left\n{context}");
        if held == 0 {
            let in_tree = self.world.tree_files().into_iter().find(|name| is_staging(name));
            assert_eq!(in_tree, None, "a staging directory is left in the tree\n{context}");
        }
        let verdict: String = self.world.query("PRAGMA integrity_check");
        assert_eq!(verdict, "ok", "{context}");
    }

    /// What the journal says of this round's transaction. It is read as it is: a journal that a stopped run left in
    /// the middle of a write is for the program to mend.
    pub fn said(&self) -> Said {
        let youngest = |state: &str| {
            self.count(&format!(
                "SELECT count(*) FROM transactions WHERE id > {} AND state = '{state}'",
                self.before
            ))
        };
        match (youngest("committing"), youngest("committed")) {
            (0, 0) => Said::Undecided,
            (0, _) => Said::Committed,
            _ => Said::Committing,
        }
    }
}
