"""What is measured beside pyc-txn: py3compile, compileall, and the floor below all."""

import os
import subprocess
from pathlib import Path

from . import floor
from .process import CannotRun, clean_environment, run


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
    """compile() in one process, divided by the cores: no driver can be faster.

    CPU seconds with the other cores idle. Where cores share a clock or an
    execution unit, all of them together are slower, and the floor too low.
    """

    name = "floor"

    def __init__(self, bench):
        self.bench = bench

    def prepare(self):
        pass

    def round(self):
        names = b"\0".join(os.fsencode(source) for source in self.bench.tree.sources)
        done = subprocess.run([self.bench.python, "-I", Path(floor.__file__)], input=names,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env=clean_environment())
        if done.returncode != 0:
            raise CannotRun(f"floor: exit {done.returncode}: {done.stderr.decode()[-300:]}")
        cpu, failed = done.stdout.split()
        if int(failed):
            self.bench.note(f"{int(failed)} sources do not compile with {self.bench.python}")
        self.bench.results.add(self.name, float(cpu) / self.bench.cores, float(cpu))
