#!/usr/bin/env python3
"""Makes the systems that the tests in chroots begin with, and prints where one is.

    tests/chroot/system.py SUITE KIND

KIND is `bare` (essential packages and apt), `python` (with python3 and mount too), or `pyc-txn` (with the package from
target/package as well; where that was built on a newer Debian, with one that is built in a copy of `bare`). A system
is the directory target/chroot/SUITE/KIND. Each is made from the one before it, and made again when that has changed;
all of them when they are a day old, for the archive moves on. What the tests install, and what debian/control needs,
is downloaded to target/chroot/SUITE/archives at the same time, so that a test needs no network.
"""

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CHROOT = ROOT / "target" / "chroot"
PACKAGE = ROOT / "target" / "package"
PREPARE = ROOT / "tests" / "prepare"
CONTROL = ROOT / "debian" / "control"

MIRROR = "http://deb.debian.org"
SUITES = ["bookworm", "trixie"]
KINDS = ["bare", "python", "pyc-txn"]
DAY_SECONDS = 24 * 3600

# What tests install beside the packages that are listed in `packages`.
OTHERS = ["libpython3-all-dev", "locales", "mount"]

# An older Python runs on a newer Debian. It is a real second interpreter there, from the archive.
SECOND = ["python3.11-minimal", "libpython3.11-minimal"]

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8",
               "DEBIAN_FRONTEND": "noninteractive"}
INSTALL = ["apt-get", "install", "-q", "-y", "--no-install-recommends"]


class ChrootError(Exception):
    """What stands in the way, in words for the person who ran this."""


class Held:
    """A copy of a system in namespaces of its own: see `hold`."""

    def __init__(self, system, archives, *sharing):
        self.top = CHROOT / "mnt"
        self.top.mkdir(parents=True, exist_ok=True)
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private",
             HERE / "hold", self.top, system, archives, *sharing],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if self._holder.stdout.readline() != b"ready\n":
            raise ChrootError(f"cannot make a copy of '{system}'")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._holder.stdin.close()
        self._holder.wait()

    def outside(self, *command):
        """A command that sees the copy as `top`/root."""
        return ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", *command]

    def inside(self, *command):
        """A command within the copy."""
        return ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt",
                f"--pid=/proc/{self._holder.pid}/ns/pid_for_children",
                "chroot", self.top / "root", *command]

    def run(self, *command):
        return run(self.inside(*command))


def run(command, environment=ENVIRONMENT):
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        words = " ".join(str(word) for word in command)
        raise ChrootError(f"{words}: exit {done.returncode}\n{done.stdout.strip()}")
    return done.stdout


class Suite:
    """The systems of one release."""

    def __init__(self, name):
        self.name = name
        self.directory = CHROOT / name
        self.archives = self.directory / "archives"
        (self.archives / "partial").mkdir(parents=True, exist_ok=True)

    def system(self, kind):
        """The directory of a system, made if need be."""
        self._make(kind)
        return self.directory / kind

    def _make(self, kind):
        """Brings a system up to date; what it is made from and when, for the one above it."""
        origin = {"bare": lambda: [int(time.time() // DAY_SECONDS), _hash_of(CONTROL)],
                  "python": lambda: self._make("bare"),
                  "pyc-txn": lambda: [self._make("python"), _hash_of(self._package())]}[kind]()
        stamp = self.directory / f"{kind}.json"
        known = _read(stamp)
        if known and known["origin"] == origin:
            return known
        say(f"making {self.name}/{kind}")
        stamp.unlink(missing_ok=True)
        draft = self.directory / f"{kind}.new"
        for old in (draft, self.directory / kind):
            shutil.rmtree(old, ignore_errors=True)
        {"bare": self._bare, "python": self._python, "pyc-txn": self._pyc_txn}[kind](draft)
        draft.rename(self.directory / kind)
        known = {"origin": origin, "made": time.time_ns()}
        stamp.write_text(json.dumps(known), encoding="utf-8")
        return known

    def _bare(self, draft):
        lines = [f"deb {MIRROR}/debian {self.name} main",
                 f"deb {MIRROR}/debian {self.name}-updates main",
                 f"deb {MIRROR}/debian-security {self.name}-security main"]
        run(["mmdebstrap", "--quiet", "--variant=apt", "--skip=cleanup/apt/lists", self.name, draft, *lines])
        policy = draft / "usr/sbin/policy-rc.d"
        policy.write_text("#!/bin/sh\nexit 101\n", encoding="utf-8")
        policy.chmod(0o755)
        say(f"downloading packages of {self.name}")
        with Held(draft, self.archives, "shared") as held:
            self._download_build_dependencies(held)
        with Held(draft, self.archives, "shared") as held:
            self._download(held)

    def _python(self, draft):
        with Held(self.directory / "bare", self.archives) as held:
            held.run(*INSTALL, "python3", "mount")
            self._keep(held, draft)

    @staticmethod
    def _download_build_dependencies(held):
        """Fetches what tests/prepare installs."""
        for file in (PREPARE, CONTROL):
            there = held.top / "root" / "root" / file.relative_to(ROOT)
            run(held.outside("install", "-D", file, there))
        held.run("sh", "-ec", "echo 'APT::Get::Download-Only \"true\";' >/etc/apt/apt.conf.d/download-only;"
                 " /root/tests/prepare")

    def _download(self, held):
        """Fetches all that tests may want to install, and two versions of what has two."""
        listed = set(held.run("apt-cache", "pkgnames").split())
        wanted = [name for name in wanted_packages() + OTHERS if name in listed]
        fetch = [*INSTALL, "--download-only"]
        held.run(*fetch, *wanted)
        versions = {}
        for line in held.run("apt-cache", "madison", *wanted).splitlines():
            name, version, _ = (field.strip() for field in line.split("|"))
            versions.setdefault(name, []).append(version)
        for name, known in sorted(versions.items()):
            if known[-1] != known[0]:
                held.run(*fetch, f"{name}={known[-1]}")
        if self.name == "trixie":
            self._second_interpreter()

    def _second_interpreter(self):
        older = Suite("bookworm")
        place = self.directory / "second"
        place.mkdir(exist_ok=True)
        with locked(older), Held(older.system("bare"), older.archives, "shared") as held:
            held.run("sh", "-c", f"cd /var/cache/apt/archives && apt-get download -q {' '.join(SECOND)}")
        for deb in older.archives.glob("*python3.11-*.deb"):
            if deb.name.split("_")[0] in SECOND:
                shutil.copy(deb, place)

    def _pyc_txn(self, draft):
        with Held(self.directory / "python", self.archives) as held:
            run(held.outside("cp", self._package(), held.top / "root" / "root" / "pyc-txn.deb"))
            held.run(*INSTALL, "/root/pyc-txn.deb")
            self._keep(held, draft)

    def _package(self):
        """The .deb of pyc-txn for this release: what a newer Debian has built needs a newer C library."""
        built = the_package()
        fields = run(["dpkg-deb", "--field", built, "Pre-Depends", "Depends"])
        wanted = re.findall(r"\blibc6 \(>= ([^)]+)\)", fields)
        admin = f"--admindir={self.directory / 'bare' / 'var/lib/dpkg'}"
        has = run(["dpkg-query", admin, "--show", "--showformat=${Version}", "libc6"])
        if all(subprocess.run(["dpkg", "--compare-versions", has, "ge", least]).returncode == 0 for least in wanted):
            return built
        return self._own_package(_hash_of(built))

    def _own_package(self, origin):
        """The .deb that is built here, with this machine's toolchain; `origin` stands for the project's state."""
        place, stamp = self.directory / "package", self.directory / "package.json"
        if _read(stamp) != origin:
            say(f"building the package in {self.name}")
            stamp.unlink(missing_ok=True)
            place.mkdir(exist_ok=True)
            home = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
            sysroot = run(["rustc", "--print", "sysroot"], os.environ).strip()
            with Held(self.directory / "bare", self.archives) as held:
                root = held.top / "root" / "root"
                copy = 'mkdir "$2" && tar -C "$1" -c --exclude=./target --exclude=./.git . | tar -C "$2" -x'
                run(held.outside("sh", "-ec", copy, "-", ROOT, root / "pyc-txn"))
                for here, there in [(sysroot, root / "rust"), (home, root / ".cargo"),
                                         (place, root / "pyc-txn/target/package")]:
                    run(held.outside("mkdir", "-p", there))
                    run(held.outside("mount", "--bind", here, there))
                held.run("sh", "-ec", "export PATH=/root/rust/bin:$PATH CARGO_NET_OFFLINE=true; cd /root/pyc-txn;"
                         " tests/prepare && tests/package")
            stamp.write_text(json.dumps(origin), encoding="utf-8")
        return the_package(place)

    @staticmethod
    def _keep(held, draft):
        run(held.outside("cp", "-a", "--one-file-system", held.top / "root", draft))
        # A copy has new change times, in the order of its directories. Bytecode was written after its source, and only
        # then is it adopted.
        for pyc in draft.rglob("*.pyc"):
            times = pyc.stat()
            os.utime(pyc, ns=(times.st_atime_ns, times.st_mtime_ns))


def wanted_packages():
    lines = (HERE / "packages").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def the_package(place=PACKAGE):
    """The .deb of pyc-txn."""
    found = sorted(place.glob("pyc-txn_*.deb"))
    if len(found) != 1:
        raise ChrootError(f"{len(found)} packages in '{place}', one is needed; tests/package makes it")
    return found[0]


def _hash_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _read(stamp):
    try:
        return json.loads(stamp.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


@contextlib.contextmanager
def locked(suite):
    """Tests run side by side: the first makes a system, the others wait for it."""
    with open(suite.directory / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def say(message):
    print(f"chroot: {message}", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("suite", choices=SUITES)
    parser.add_argument("kind", choices=KINDS)
    options = parser.parse_args()
    if os.geteuid() != 0:
        raise ChrootError("only root can make a chroot")
    suite = Suite(options.suite)
    with locked(suite):
        print(suite.system(options.kind))


if __name__ == "__main__":
    try:
        main()
    except (ChrootError, OSError) as error:
        sys.exit(f"chroot: {error}")
