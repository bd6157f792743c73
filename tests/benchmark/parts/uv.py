"""uv, the fastest installer that compiles: got from PyPI, measured by difference."""

import os
import shutil
import subprocess
import sys

from . import wheel
from .process import CannotRun, clean_environment, run
from .tree import count_bytecode


class Uv:
    """`uv pip install --compile-bytecode`, minus the same without compiling.

    uv compiles only what it installs. So the tree is a wheel here, and every
    round installs it twice, each time into an empty directory.
    """

    name = "uv"

    def __init__(self, bench):
        self.bench = bench
        self.target = bench.work / "uv-target"
        self.wheel = bench.work / wheel.NAME

    def prepare(self):
        self.program = self._get()
        version = subprocess.run([self.program, "--version"], check=True,
                                 stdout=subprocess.PIPE, text=True).stdout.strip()
        self.bench.note(f"uv: {version}")
        if not self.wheel.exists():
            wheel.pack(self.bench.tree, self.wheel)
        # The first install unpacks the wheel into uv's cache; not counted.
        self._install()

    def _get(self):
        venv = self.bench.work / "venv"
        program = venv / "bin" / "uv"
        if program.exists():
            return program
        for command in ([sys.executable, "-m", "venv", venv],
                        [venv / "bin" / "python3", "-m", "pip", "install", "-q", "uv"]):
            done = subprocess.run(command, env=clean_environment(), stderr=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True)
            if done.returncode != 0:
                return self._on_path(done.stderr or done.stdout)
        return program

    @staticmethod
    def _on_path(why_not):
        program = shutil.which("uv")
        if program is None:
            raise CannotRun("cannot get uv from PyPI (on Debian, python3-venv is needed): "
                            + why_not.strip()[-300:])
        return program

    def round(self):
        plain = self._install()
        compiled = self._install("--compile-bytecode")
        self.bench.check(self.name, compiled, count_bytecode(self.target))
        self.bench.tree.put_away(self.target)
        results = self.bench.results
        results.add("uv install, compiled", compiled.seconds, compiled.cpu)
        results.add("uv install, plain", plain.seconds, plain.cpu)
        results.add(self.name, compiled.seconds - plain.seconds, compiled.cpu - plain.cpu)

    def _install(self, *options):
        if os.path.exists(self.target):
            self.bench.tree.put_away(self.target)
        os.sync()
        done = run([self.program, "pip", "install", "--no-deps", "--no-index", "--offline",
                    "--target", self.target, "--python", self.bench.python,
                    *options, self.wheel],
                   self.bench.log("uv"), UV_LINK_MODE="copy", UV_NO_CONFIG="1",
                   UV_CACHE_DIR=str(self.bench.work / "uv-cache"))
        if done.status != 0:
            raise CannotRun(f"uv: exit {done.status}: {done.last_words()}")
        return done
