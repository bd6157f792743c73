"""Chroots that differ only in who byte-compiles: the original, pyc-txn, nobody. And what was measured in them.

What byte-compilation costs is what a run takes longer than the same run with nobody.
"""

import os
import statistics
import time

from system import Held, Suite, locked, run, wanted_packages

# The system to begin with, and what is done to it first.
NONE = ("for name in py3compile py3clean; do"
        " dpkg-divert --quiet --local --rename --add /usr/bin/$name && ln -s /bin/true /usr/bin/$name; done")
CONTENDERS = {"original": ("python", "true"), "pyc-txn": ("pyc-txn", "true"), "none": ("python", NONE)}


class Twins:
    """The chroots' systems, and the seconds that things took in them."""

    def __init__(self, suite):
        self.suite = Suite(suite)
        with locked(self.suite):
            self.systems = {who: self.suite.system(kind) for who, (kind, _) in CONTENDERS.items()}
        self.seconds = {}

    def hold(self, who):
        """A chroot of its own."""
        held = Held(self.systems[who], self.suite.archives)
        held.run("sh", "-ec", CONTENDERS[who][1])
        return held

    @staticmethod
    def turn(number):
        """Who comes after whom in a round: each round begins with another one."""
        names = list(CONTENDERS)
        turn = number % len(names)
        return names[turn:] + names[:turn]

    @staticmethod
    def listed(held):
        """The packages of tests/chroot/packages that this release has."""
        known = set(held.run("apt-cache", "pkgnames").split())
        return [name for name in wanted_packages() if name in known]

    def time(self, what, who, command):
        """Runs a command to its end, with nothing waiting to be written before."""
        os.sync()
        began = time.perf_counter()
        output = run(command)
        self.seconds.setdefault((what, who), []).append(time.perf_counter() - began)
        return output

    def median(self, what, who):
        return statistics.median(self.seconds[what, who])

    def added(self, what, who):
        """What byte-compilation adds, in seconds."""
        return self.median(what, who) - self.median(what, "none")

    def print(self, labels):
        """All samples as a table; `labels` has the words for what was timed."""
        print(f"\n{'seconds':42}{'min':>9}{'median':>9}{'max':>9}{'added':>9}{'runs':>6}")
        for what, label in labels.items():
            for who in CONTENDERS:
                samples = self.seconds.get((what, who))
                if samples:
                    print(f"{f'{label}: {who}':42}{min(samples):9.3f}{statistics.median(samples):9.3f}"
                          f"{max(samples):9.3f}{self.added(what, who):9.3f}{len(samples):6}")

    def samples(self):
        """The samples as plain data."""
        return {f"{what}: {who}": seconds for (what, who), seconds in self.seconds.items()}


def print_targets(results):
    """Prints (what, value, the most it should be) as a table; whether all are met."""
    print(f"\n{'by median':64}{'measured':>10}{'target':>10}")
    for what, value, target in results:
        verdict = "met" if value <= target else "MISSED"
        print(f"{what:64}{value:10.3f}{f'<= {target:.3g}':>10}  {verdict}")
    return all(value <= target for _, value, target in results)
