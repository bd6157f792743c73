"""What is measured beside pyc-txn: py3compile, compileall, and the floor below all."""

import os

from . import floor
from .process import CannotRun, run
from .shares import run_at_once, shares_of


class Py3compile:
    """Debian's py3compile on the cold tree, and again on what it has compiled."""

    name = "py3compile"

    def __init__(self, bench):
        self.bench = bench

    def prepare(self):
        # The package of pyc-txn diverts it, and puts itself in the place.
        for path in ("/usr/bin/py3compile.distrib", "/usr/bin/py3compile"):
            if os.access(path, os.X_OK):
                self.program = path
                return
        raise CannotRun("there is no py3compile (Debian: package python3-minimal)")

    def round(self):
        tree, results = self.bench.tree, self.bench.results
        cold = self._compile(tree)
        self.bench.check(self.name, cold, tree.count_bytecode())
        results.add(self.name, cold.seconds, cold.cpu)
        os.sync()
        again = self._compile(tree)
        results.add("py3compile, up to date", again.seconds, again.cpu)

    def _compile(self, tree):
        return run([self.program, tree.path], self.bench.log(self.name))


class Compileall:
    """The standard library's own driver, with one worker a core."""

    name = "compileall"

    def __init__(self, bench):
        self.bench = bench

    def prepare(self):
        pass

    def round(self):
        tree = self.bench.tree
        done = run([self.bench.python, "-m", "compileall", "-q", "-j", self.bench.cores,
                    tree.path], self.bench.log(self.name))
        self.bench.check(self.name, done, tree.count_bytecode())
        self.bench.results.add(self.name, done.seconds, done.cpu)


class Floor:
    """compile() alone, in one process a core, all at once: no driver can be faster.

    CPU seconds, as if the work were spread evenly to the last of them. At once,
    because cores that share a clock or an execution unit are slower together.
    """

    name = "floor"

    def __init__(self, bench):
        self.bench = bench

    def prepare(self):
        pass

    def round(self):
        bench = self.bench
        files = [(os.path.getsize(source), source) for source in bench.tree.sources]
        outputs = run_at_once([bench.python, "-I", floor.__file__],
                              shares_of(files, bench.cores))
        cpu, failed = map(sum, zip(*(map(float, output.split()) for output in outputs)))
        if failed:
            bench.note(f"{failed:.0f} sources do not compile with {bench.python}")
        bench.results.add(self.name, cpu / bench.cores, cpu)
