"""Judges whether two sets of bytecode of one tree are the same.

    compare.py TREE

Every directory of TREE has the one set in COMMITTED, put aside, and the other in __pycache__. Prints a JSON
object: how many sources and pycs there are, which sources lack bytecode in __pycache__ ("without", a list of
[path, level]), and what differs ("differences", a line each; the first MANY).

Code objects are compared attribute by attribute and constant by constant, and strictly: 1 is neither True nor 1.0,
0.0 is not -0.0. marshal's own freedom (which object is a reference to which) is no difference.
"""

import gc
import json
import marshal
import multiprocessing
import os
import struct
import sys
import types

COMMITTED = b".committed"
CACHE = b"__pycache__"
TAG = sys.implementation.cache_tag.encode()
LEVELS = {0: b"", 1: b".opt-1", 2: b".opt-2"}
MANY = 100

# co_lnotab is co_linetable in an older form, and slow to make.
ATTRIBUTES = [name for name in dir(types.CodeType)
              if name.startswith("co_") and name != "co_lnotab"
              and not callable(getattr(types.CodeType, name))]


def key(constant):
    """What a constant is, as something that is equal only for the same type and value."""
    kind = type(constant)
    if kind is float:
        return kind, struct.pack("<d", constant)
    if kind is complex:
        return kind, struct.pack("<dd", constant.real, constant.imag)
    if kind is tuple:
        return kind, tuple(map(key, constant))
    if kind is frozenset:
        return kind, frozenset(map(key, constant))
    if kind in (int, bool, str, bytes, type(None), type(...)):
        return kind, constant
    raise TypeError(f"a constant of {kind}")


def difference(ours, theirs, where="module"):
    """The first difference of two objects from a pyc in words, or None."""
    if type(ours) is not type(theirs):
        return f"{where}: {ours!r:.80} instead of {theirs!r:.80}"
    if type(ours) is types.CodeType:
        for name in ATTRIBUTES:
            found = difference(getattr(ours, name), getattr(theirs, name),
                               f"{where}.{theirs.co_name}.{name}" if name != "co_name" else where)
            if found:
                return found
        return None
    if type(ours) is tuple:
        if len(ours) != len(theirs):
            return f"{where}: {len(ours)} items instead of {len(theirs)}"
        for index, pair in enumerate(zip(ours, theirs)):
            found = difference(*pair, f"{where}[{index}]")
            if found:
                return found
        return None
    if key(ours) != key(theirs):
        return f"{where}: {ours!r:.80} instead of {theirs!r:.80}"
    return None


def read(path):
    """The contents of a pyc, None if there is none."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def compare(ours, theirs):
    """The difference of two pycs in words, or None."""
    if ours is None or theirs is None:
        if ours is theirs:
            return None
        return "is missing" if ours is None else "should not be there"
    if ours[:16] != theirs[:16]:
        return f"header {ours[:16].hex()} instead of {theirs[:16].hex()}"
    return difference(marshal.loads(ours[16:]), marshal.loads(theirs[16:]))


def pycs_of(directory, names):
    """The paths below a directory that there are, or could be, in both sets, with the source and level of each."""
    expected = {}
    for name in names:
        for level, suffix in LEVELS.items():
            expected[b"%s.%s%s.pyc" % (name[:-3], TAG, suffix)] = (name, level)
    for place in (COMMITTED, CACHE):
        path = os.path.join(directory, place)
        for name in os.listdir(path) if os.path.isdir(path) else ():
            expected.setdefault(name, None)
    return expected


def judge(directory, names):
    """The pycs of one directory: how many, how many of the same bytes, what is missing, what differs."""
    pycs, identical, without, differences = 0, 0, [], []
    for pyc, origin in sorted(pycs_of(directory, names).items()):
        paths = [os.path.join(directory, place, pyc) for place in (COMMITTED, CACHE)]
        try:
            ours, theirs = map(read, paths)
            pycs += theirs is not None
            identical += theirs is not None and ours == theirs
            found = compare(ours, theirs)
        except Exception as error:
            found = repr(error)
        if origin is None:
            found = "is bytecode of no source"
        elif not os.path.exists(paths[1]):
            without.append((shown(os.path.join(directory, origin[0])), origin[1]))
        if found:
            differences.append(f"{shown(paths[0])}: {found}")
    return pycs, identical, without, differences


def shown(path):
    """A path as the program writes it in JSON."""
    return path.decode("utf-8", "replace")


def directories(tree):
    for directory, below, names in os.walk(tree):
        below[:] = [name for name in below if name not in (COMMITTED, CACHE)]
        yield directory, [name for name in names if name.endswith(b".py")
                          and os.path.isfile(os.path.join(directory, name))]


def main():
    # The largest first, so that no process is left alone with them at the end.
    work = sorted(directories(os.fsencode(sys.argv[1])),
                  key=lambda each: -sum(os.path.getsize(os.path.join(each[0], name)) for name in each[1]))
    verdict = {"sources": sum(len(names) for _, names in work),
               "pycs": 0, "identical": 0, "without": [], "differences": []}
    # Code has no cycles; looking for them would take most of the time.
    with multiprocessing.Pool(initializer=gc.disable) as pool:
        for pycs, identical, without, differences in pool.starmap(judge, work, chunksize=1):
            verdict["pycs"] += pycs
            verdict["identical"] += identical
            verdict["without"] += without
            verdict["differences"] += differences
    verdict["different"] = len(verdict["differences"])
    del verdict["differences"][MANY:]
    json.dump(verdict, sys.stdout)


if __name__ == "__main__":
    main()
