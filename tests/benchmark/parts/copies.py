"""Trees of any number of sources: copies of one thousand of the corpus, none with the same content.

All trees are alike but for their size: the same sources a directory, the same bytes
a source, and so the same time that the compiler needs for one.
"""

import os
import random

UNIT = 1000

# A few sources of the corpus are so large that one would be a tenth of the unit.
LARGEST_BYTES = 128 << 10

# So many choices of directories are tried for one that is like the whole.
CHOICES = 200


class Unit:
    """One thousand sources of the corpus, in whole directories, that are as long as its sources are on average."""

    def __init__(self, corpus, size=UNIT):
        directories = _directories(corpus)
        sizes = [length for sources in directories.values() for _, length in sources]
        mean = sum(sizes) / len(sizes)
        choices = [_choose(directories, size, number) for number in range(CHOICES)]
        best = min(choices, key=lambda sources: abs(_mean(sources) - mean))
        self.bytes = sum(length for _, length in best)
        self.sources = []
        for name, _ in best:
            with open(os.path.join(corpus, name), "rb") as opened:
                self.sources.append((name, opened.read()))

    def copy_to(self, directory, count, first):
        """Makes a tree of `count` copies; `first` is the number of the first of them.

        The number is in every source: so none has the content of another.
        """
        for number in range(first, first + count):
            top = os.path.join(directory, f"copy{number:04}")
            for folder in {os.path.dirname(name) for name, _ in self.sources}:
                os.makedirs(os.path.join(top, folder), exist_ok=True)
            behind = b"\n# copy %d\n" % number
            for name, content in self.sources:
                with open(os.path.join(top, name), "wb") as opened:
                    opened.write(content + behind)


def _directories(corpus):
    """The sources with their lengths, by directory."""
    found = {}
    for folder, names, files in os.walk(corpus):
        names.sort()
        for name in sorted(files):
            path = os.path.join(folder, name)
            if name.endswith(".py") and not os.path.islink(path):
                length = os.path.getsize(path)
                if length <= LARGEST_BYTES:
                    relative = os.path.relpath(folder, corpus)
                    found.setdefault(relative, []).append((os.path.join(relative, name), length))
    return found


def _choose(directories, size, seed):
    """Whole directories with so many sources together; of the last one it may be a part."""
    order = list(directories)
    random.Random(seed).shuffle(order)
    chosen = []
    for folder in order:
        chosen += directories[folder][:size - len(chosen)]
        if len(chosen) == size:
            break
    return chosen


def _mean(sources):
    return sum(length for _, length in sources) / len(sources)
