"""The tree that is compiled: a copy of the corpus, and what makes it cold again."""

import os
import shutil
import subprocess
from pathlib import Path


class Tree:
    """A directory of Python sources that every contender finds in the same state."""

    def __init__(self, path):
        self.path = Path(path)
        self.attic = self.path.with_name(self.path.name + ".used")
        self.used = 0
        self.clear_attic()
        self.sources = []
        self.bytes = 0
        for folder, _, names in os.walk(self.path):
            for name in names:
                source = os.path.join(folder, name)
                if name.endswith(".py") and not os.path.islink(source):
                    self.sources.append(source)
                    self.bytes += os.path.getsize(source)

    def make_cold(self):
        """Moves the bytecode away, and leaves the disk idle and the sources in memory.

        It is moved, not removed: for minutes ext4 steps over each inode that
        was freed before it takes the next, and who comes next would pay for
        that. The sync is here so that nobody pays for what another one wrote;
        the reading, so that nobody waits for the disk where another did not.
        """
        for folder, names, _ in os.walk(self.path):
            if "__pycache__" in names:
                self.put_away(os.path.join(folder, "__pycache__"))
                names.remove("__pycache__")
        os.sync()
        for source in self.sources:
            with open(source, "rb", buffering=0) as opened:
                while opened.read(1 << 20):
                    pass

    def put_away(self, path):
        """Moves something beside the tree, where it stays until the end."""
        self.attic.mkdir(exist_ok=True)
        os.rename(path, self.attic / str(self.used))
        self.used += 1

    def clear_attic(self):
        shutil.rmtree(self.attic, ignore_errors=True)

    def count_bytecode(self):
        return count_bytecode(self.path)


def count_bytecode(directory):
    """How many .pyc files lie in the __pycache__ directories of a tree."""
    return sum(1 for folder, _, names in os.walk(directory)
               if os.path.basename(folder) == "__pycache__"
               for name in names if name.endswith(".pyc"))


def copy_of_corpus(corpus, work):
    """The tree in WORK, copied anew if the corpus is not what it was copied from.

    A copy, because tests use the corpus as well and want it without bytecode;
    and not hard links, because making one changes the ctime of a source.
    """
    stamp = (corpus / "complete.json").read_text(encoding="utf-8")
    copied = work / "tree.json"
    if not copied.exists() or copied.read_text(encoding="utf-8") != stamp:
        copied.unlink(missing_ok=True)
        for old in work.glob("*.whl"):
            old.unlink()
        shutil.rmtree(work / "tree", ignore_errors=True)
        subprocess.run(["cp", "-a", corpus / "tree", work / "tree"], check=True)
        copied.write_text(stamp, encoding="utf-8")
    return Tree(work / "tree")
