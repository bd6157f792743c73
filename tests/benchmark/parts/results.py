"""What was measured, as a table for people and as JSON. Nothing else is printed."""

import statistics

# In the order of the table.
LABELS = {
    "pyc-txn": "pyc-txn commit, with its syncs",
    "py3compile": "py3compile",
    "compileall": "compileall, one worker a core",
    "uv": "uv, compiling only",
    "uv install, compiled": "    install and compile",
    "uv install, plain": "    install alone",
    "floor": "floor: compile() alone, all cores",
    "pyc-txn, up to date": "pyc-txn commit, up to date",
    "py3compile, up to date": "py3compile, up to date",
    "record": "pyc-txn record, 1,000 files",
}

# What, by what, and the most or the least that it should be.
RATIOS = [
    ("py3compile", "pyc-txn", ">=", 1.9),
    ("compileall", "pyc-txn", ">=", 1.6),
    ("uv", "pyc-txn", ">=", 1.05),
    ("pyc-txn", "floor", "<=", 1.08),
    ("pyc-txn, up to date", "py3compile, up to date", "<=", 0.10),
]
DRIVER_MB = 64
RECORD_MS = 20


class Results:
    """Samples by name, and what was said about them."""

    def __init__(self):
        self.seconds = {}
        self.cpu = {}
        self.driver_bytes = []
        self.phases = []
        self.notes = []

    def add(self, name, seconds, cpu):
        """Takes one sample: wall seconds, and the CPU seconds behind them."""
        self.seconds.setdefault(name, []).append(seconds)
        self.cpu.setdefault(name, []).append(cpu)

    def median(self, name):
        return statistics.median(self.seconds[name])

    def drop(self, name):
        """Forgets a contender that did not do its work: its time means nothing."""
        for known in list(self.seconds):
            if known == name or known.startswith((f"{name},", f"{name} ")):
                del self.seconds[known]

    def targets(self):
        """(what, value, unit, comparison, target, met) for all that can be said."""
        found = []
        for over, under, comparison, target in RATIOS:
            if over in self.seconds and under in self.seconds:
                value = self.median(over) / self.median(under)
                found.append(_target(f"{over} / {under}", value, "", comparison, target))
        if self.driver_bytes:
            found.append(_target("driver's own peak memory", max(self.driver_bytes) / 2**20,
                                 " MB", "<", DRIVER_MB))
        if "record" in self.seconds:
            found.append(_target("record of 1,000 files", self.median("record") * 1000,
                                 " ms", "<", RECORD_MS))
        return found

    def as_data(self):
        return {
            "seconds": {name: {"min": min(samples), "median": self.median(name),
                               "max": max(samples), "samples": samples,
                               "cpu_samples": self.cpu[name]}
                        for name, samples in self.seconds.items()},
            "targets": self.targets(),
            "phases": [{"phase": name, "seconds": seconds} for name, seconds in self.phases],
            "notes": self.notes,
        }

    def print(self):
        self._print_seconds()
        self._print_targets()
        self._print_phases()
        for note in self.notes:
            print(f"note: {note}")

    def _print_seconds(self):
        print(f"\n{'seconds':36}{'min':>9}{'median':>9}{'max':>9}{'CPU':>9}{'runs':>6}")
        for name, label in LABELS.items():
            if name in self.seconds:
                samples = self.seconds[name]
                print(f"{label:36}{min(samples):9.3f}{self.median(name):9.3f}"
                      f"{max(samples):9.3f}{statistics.median(self.cpu[name]):9.3f}"
                      f"{len(samples):6}")

    def _print_targets(self):
        targets = self.targets()
        if targets:
            print(f"\n{'by median':46}{'measured':>12}{'target':>12}")
        for target in targets:
            unit = target["unit"]
            aim = f"{target['comparison']} {target['target']:g}{unit}"
            print(f"{target['what']:46}{target['value']:12.2f}{unit:3}{aim:>9}"
                  f"  {'met' if target['met'] else 'MISSED'}")

    def _print_phases(self):
        if self.phases:
            print("\nwhere the time goes (pyc-txn, last round)")
        for name, seconds in self.phases:
            print(f"    {name:32}{seconds:9.3f} s")
        if self.notes:
            print()


def _target(what, value, unit, comparison, target):
    met = {"<": value < target, "<=": value <= target, ">=": value >= target}[comparison]
    return {"what": what, "value": value, "unit": unit, "comparison": comparison,
            "target": target, "met": met}
