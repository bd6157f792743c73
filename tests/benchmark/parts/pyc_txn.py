"""pyc-txn itself: cold, up to date, its memory, and how long recording takes."""

import os
import re
import shutil
import subprocess
import time

from .process import CannotRun, run

RECORDED_FILES = 1000
RECORD_RUNS = 20

# How long a directory must have been left alone to be sealed, and a second.
REST_SECONDS = 4

# `stage 10.1 s`, a line for each phase, is what -v prints.
PHASE = re.compile(r"^(?:pyc-txn: )?([a-z][a-z ]*?):?\s+([0-9.]+) (ms|s)\b")


def program_of(root, given):
    """The binary to measure: the one that was given, else built from this checkout."""
    if given is not None:
        return given
    program = root / "target" / "release" / "pyc-txn"
    if shutil.which("cargo"):
        built = subprocess.run(["cargo", "build", "--release", "--locked"], cwd=root,
                               env={**os.environ, "CARGO_TARGET_DIR": str(root / "target")})
        if built.returncode != 0:
            raise CannotRun("pyc-txn does not build")
    if not program.exists():
        raise CannotRun(f"there is no '{program}', and no cargo to build it")
    return program


class _PycTxn:
    """Calls the program with a state directory on the filesystem of the tree."""

    def __init__(self, bench):
        self.bench = bench
        self.state = bench.work / "state"

    def prepare(self):
        self.program = self.bench.program()

    def call(self, *words, allowed=(0,)):
        done = run([self.program, "--state-dir", self.state, *words],
                   self.bench.log("pyc-txn"))
        if done.status not in allowed:
            raise CannotRun(f"pyc-txn {' '.join(map(str, words))}: exit {done.status}: "
                            f"{done.last_words()}")
        return done


class Commit(_PycTxn):
    """`pyc-txn commit` of the cold tree, with its syncs; then of what is current."""

    name = "pyc-txn"

    def round(self):
        tree, results = self.bench.tree, self.bench.results
        shutil.rmtree(self.state, ignore_errors=True)
        os.sync()
        cold = self._commit(tree)
        self.bench.check(self.name, cold, tree.count_bytecode())
        results.add(self.name, cold.seconds, cold.cpu)
        results.driver_bytes.append(cold.peak_bytes)
        results.phases = phases_in(cold.stderr)
        # As at the end of the next dpkg run: what has not changed since is sealed.
        time.sleep(REST_SECONDS)
        self._commit(tree)
        os.sync()
        again = self._commit(tree)
        results.add("pyc-txn, up to date", again.seconds, again.cpu)

    def _commit(self, tree):
        # 1 is: done, but some sources could not be compiled. The number of
        # files is checked, and -v costs a few lines.
        return self.call("-v", "commit", "--python", self.bench.python, tree.path,
                         allowed=(0, 1))


class Record(_PycTxn):
    """`pyc-txn record` of a package of 1,000 files: what a maintainer script waits for.

    Always the first record into an open transaction; the call before the
    measured ones asks the interpreter what it is, which happens once.
    """

    name = "record"

    def prepare(self):
        super().prepare()
        self.package = self.bench.work / "package"
        self.package.mkdir(exist_ok=True)
        for number in range(RECORDED_FILES):
            source = self.package / f"module_{number:04}.py"
            source.write_text(f"def answer():\n    return {number}\n", encoding="ascii")

    def round(self):
        if self.bench.results.seconds.get(self.name):
            return  # twenty runs are enough, in whichever round
        shutil.rmtree(self.state, ignore_errors=True)
        os.sync()
        self._record()
        for _ in range(RECORD_RUNS):
            self.call("rollback")
            done = self._record()
            self.bench.results.add(self.name, done.seconds, done.cpu)

    def _record(self):
        return self.call("record", "--python", self.bench.python, self.package)


def phases_in(stderr):
    """(phase, seconds) for every line of -v that gives a time."""
    found = (PHASE.match(line.strip()) for line in stderr.splitlines())
    return [(match[1], float(match[2]) / (1000 if match[3] == "ms" else 1))
            for match in found if match]
