"""An interpreter that looks at what is made of its code.

    judge.py STEP ORDER

Compiles every STEP-th source of the standard library (and of the public modules, where they are this interpreter's),
more of them where there are few, in ORDER (1 or -1), and asks over stdout, answered on stdin, what becomes of the code.
All numbers are 32 bits, little endian.
  question: 0 canonicalize, 1 check, 2 the canonical code of a source, 3 the end; length, bytes (2: name NUL code)
  answer:   1 or 0; for canonicalize, if it was taken, length and bytes
Ends with exit status 0, or says what is wrong. Python 3.6 and later.
"""

import io
import marshal
import os
import random
import struct
import sys
import types

# Of so many sources one is judged in every way.
THOROUGH = 4
# So many sources are judged at least; a few of them do not compile.
FEWEST = 30
step, order = int(sys.argv[1]), int(sys.argv[2])
answers, questions = open(0, "rb"), open(os.dup(1), "wb")
sys.stdout = sys.stderr

# Made anew whenever they are asked for; what is in them is not.
DERIVED = ("co_lnotab", "co_code", "co_varnames", "co_freevars", "co_cellvars")
ATTRIBUTES = [name for name in dir(types.CodeType) if name.startswith("co_")
              and not callable(getattr(types.CodeType, name))]
ONCE = (str, bytes, tuple, frozenset, int, float, complex)


def ask(kind, payload=b""):
    questions.write(struct.pack("<II", kind, len(payload)) + payload)
    questions.flush()


def answer():
    return answers.read(1) == b"\1"


def canonical(code):
    ask(0, code)
    assert answer(), "refused: %r" % code[:80]
    length, = struct.unpack("<I", answers.read(4))
    return answers.read(length)


def check(code):
    ask(1, code)
    return answer()


def key(value):
    """What is equal only for the same type and value."""
    kind = type(value)
    if kind is tuple:
        return kind, tuple(map(key, value))
    if kind is frozenset:
        return kind, frozenset(map(key, value))
    if kind in (float, complex):
        return kind, repr(value)
    return kind, value


class Comparison:
    """Of two objects, and of what in them is the same object."""

    def __init__(self):
        self.pairs = {}  # the other's objects, by the identity of the one's
        self.back = {}
        self.kept = []

    def identity(self, one, other, name):
        self.kept.append((one, other))
        assert self.pairs.setdefault(id(one), other) is other, "%s: what was one is two: %r" % (name, one)
        was = self.back.setdefault(id(other), one)
        # What may be one, and was two, is one.
        may = type(one) is frozenset or type(one) is str and sys.version_info >= (3, 13)
        assert was is one or may, "%s: what was two is one: %r" % (name, one)

    def compare(self, one, other, name="code", derived=False):
        assert type(one) is type(other), name
        if type(one) in ONCE and not derived:
            self.identity(one, other, name)
        if type(one) is types.CodeType:
            for attribute in ATTRIBUTES:
                self.compare(getattr(one, attribute), getattr(other, attribute), attribute, attribute in DERIVED)
        elif type(one) is tuple:
            assert len(one) == len(other), name
            for item in zip(one, other):
                self.compare(item[0], item[1], name)
        elif type(one) is frozenset:
            items = {key(item): item for item in other}
            assert len(one) == len(items), name
            for item in one:
                self.compare(item, items[key(item)], name)
        else:
            assert key(one) == key(other), "%s: %r, not %r" % (name, other, one)


def everything(value, found):
    """All that is in a code object: while somebody holds it, all of it is flagged."""
    found.append(value)
    if type(value) is types.CodeType:
        for name in ATTRIBUTES:
            if name != "co_lnotab":  # slow, and warns
                everything(getattr(value, name), found)
    elif type(value) in (tuple, frozenset):
        for item in value:
            everything(item, found)
    return found


def interned(found):
    """Other strings, interned, that are equal to these."""
    return [sys.intern((value + "!")[:-1]) for value in found if type(value) is str]


def judge(name, source, thoroughly):
    """The code of one source; if thoroughly, compiled and marshalled in every way that there is."""
    def compiled():
        return compile(source, name, "exec", dont_inherit=True)
    code = marshal.dumps(compiled())
    form = canonical(code)
    assert len(form) <= len(code) and canonical(form) == form
    one, other = marshal.loads(code), marshal.loads(form)
    # With a constant that is not a number nothing is equal.
    assert one == other or one != marshal.loads(code)
    Comparison().compare(one, other)
    ask(2, os.fsencode(name) + b"\0" + form)
    if not thoroughly:
        return code
    again = compiled()
    held = everything(again, [])
    assert canonical(marshal.dumps(again)) == form, "flagged otherwise: %s" % name
    held = interned(held)
    assert canonical(marshal.dumps(compiled())) == form, "interned otherwise: %s" % name
    del held
    return code


def damage(code):
    """Every cut and every byte: nothing is accepted that the interpreter refuses."""
    for length in range(len(code)):
        assert not check(code[:length]), "cut at %d" % length
    damaged = bytearray(code)
    for at, was in enumerate(code):
        for byte in {was ^ 0x80, was ^ 1, was ^ 4, random.randrange(256), 0, 0xff} - {was}:
            damaged[at] = byte
            if check(bytes(damaged)):
                stream = io.BytesIO(damaged)
                loaded = marshal.load(stream)
                assert type(loaded) is types.CodeType and not stream.read(), "%d is %d" % (at, byte)
                canonical(bytes(damaged))
        damaged[at] = was


def sources():
    library = os.path.dirname(os.__file__)
    for top in (library, "/usr/lib/python3/dist-packages"):
        if top != library and not sys.executable.startswith("/usr/bin/"):
            continue
        for folder, below, names in os.walk(top):
            below[:] = sorted(name for name in below if not name.endswith("-packages"))
            for name in sorted(names):
                if name.endswith(".py"):
                    yield os.path.join(folder, name)


def main():
    random.seed(1)
    judged = 0
    small = []
    paths = list(sources())
    taken = step
    while taken > 1 and len(paths) // taken < FEWEST:
        taken //= 2  # so that a smaller sample is still a part of a larger one
    for path in paths[::taken][::order]:
        with open(path, "rb") as file:
            source = file.read()
        try:
            code = judge(path, source, judged % THOROUGH == 0)
        except (SyntaxError, ValueError):
            continue
        judged += 1
        if order == 1 and 1000 < len(code) < 4000 and len(small) < (8 if step == 1 else 1):
            small.append(code)
    for code in small:
        damage(code)
    assert judged > 20, judged
    ask(3)


import warnings
warnings.simplefilter("ignore")
main()
