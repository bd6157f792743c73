"""Running one command: its wall time and CPU time, exit status, own peak memory."""

import os
import resource
import subprocess
import threading
import time
from dataclasses import dataclass

# VmHWM only grows, so the last reading before the exit misses at most what the
# process grew in its last 20 ms.
POLL_SECONDS = 0.02


class CannotRun(Exception):
    """A contender that is not here, or did not do its work; the reason in words."""


@dataclass(frozen=True)
class Run:
    """What one command did."""
    seconds: float
    cpu: float  # seconds, user and system, with all children
    others: float  # CPU seconds that went to other programs meanwhile
    status: int
    peak_bytes: int  # of the process itself, without its children
    stderr: str

    def last_words(self):
        return "\n".join(self.stderr.strip().splitlines()[-3:])


def clean_environment(**more):
    """The environment without what would change how Python compiles.

    PYTHONPYCACHEPREFIX alone would send every file elsewhere.
    """
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(("PYTHON", "DEBPYTHON", "UV_"))
            and name not in ("SOURCE_DATE_EPOCH", "VIRTUAL_ENV")}
    return {**kept, **more}


def run(command, log, **environment):
    """Runs a command to its end and measures it.

    The output goes to a file, since a pipe would have to be read while the
    clock runs. Every contender is polled for memory, so all pay the same.
    """
    with open(log, "w+b") as output:
        cpu, busy = _cpu_of_children(), _cpu_of_machine()
        start = time.perf_counter()
        process = subprocess.Popen([str(word) for word in command],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=output, env=clean_environment(**environment))
        memory = _PeakMemory(process.pid)
        status = process.wait()
        seconds = time.perf_counter() - start
        peak = memory.stop()
        output.seek(0)
        cpu = _cpu_of_children() - cpu
        others = max(0.0, _cpu_of_machine() - busy - cpu)
        return Run(seconds, cpu, others, status, peak,
                   output.read().decode("utf-8", "replace"))


def _cpu_of_children():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _cpu_of_machine():
    """CPU seconds since the start that were neither idle, nor waiting, nor stolen."""
    with open("/proc/stat", encoding="ascii") as stat:
        user, nice, system, _, _, irq, softirq = map(int, stat.readline().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


class _PeakMemory:
    """Polls VmHWM of one process.

    wait4's ru_maxrss does not do: it covers the children that were waited for,
    and here the workers are the large ones.
    """

    def __init__(self, pid):
        self._path = f"/proc/{pid}/status"
        self._peak = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)
        self._thread.start()

    def _poll(self):
        while True:
            self._peak = self._read() or self._peak
            if self._ended.wait(POLL_SECONDS):
                return

    def _read(self):
        try:
            with open(self._path, encoding="ascii", errors="replace") as status:
                for line in status:
                    if line.startswith("VmHWM:"):
                        return int(line.split()[1]) * 1024
        except OSError:
            pass
        return None  # gone, or a zombie, which has no memory left

    def stop(self):
        self._ended.set()
        self._thread.join()
        return self._peak
