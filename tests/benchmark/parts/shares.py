"""Work for one process a core: files in shares of about as many bytes, and the processes that take them."""

import os
import subprocess
import tempfile

from .process import CannotRun, clean_environment


def shares_of(files, count):
    """The files, as (bytes, name), in `count` lists of names."""
    shares = [[0, []] for _ in range(count)]
    for size, name in sorted(files, reverse=True):
        share = min(shares, key=lambda share: share[0])
        share[0] += size
        share[1].append(name)
    return [names for _, names in shares]


def run_at_once(command, shares):
    """Runs a command for each share, all at once; what each printed.

    The names are its stdin, NUL between them: a file, because nobody is there to feed pipes.
    """
    processes = []
    for names in shares:
        with tempfile.TemporaryFile() as names_file:
            names_file.write(b"\0".join(map(os.fsencode, names)))
            names_file.seek(0)
            processes.append(subprocess.Popen([str(word) for word in command], stdin=names_file,
                                              stdout=subprocess.PIPE, env=clean_environment()))
    outputs = [process.communicate()[0] for process in processes]
    for process in processes:
        if process.returncode != 0:
            raise CannotRun(f"{command[0]}: exit {process.returncode}")
    return outputs
