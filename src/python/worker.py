# The compiler behind pyc-txn: a function from (source bytes, file name, optimization) to marshalled code, served
# over stdin and stdout. It opens no file. Runs on Python 3.6 and later with -S; imports nothing that the
# interpreter has not in itself, but for `warnings`.
#
# All numbers are 32 bits, little endian.
#   hello:    b"pyc-txn worker 1\n", magic number (4 bytes)
#   request:  length of name, length of source, optimization, whether more follow at once; name, source
#   reply:    status, length of payload, length of warnings; payload, warnings
# Status 0: the payload is marshalled code. Status 1: the source is refused; the payload is LINE "\n" MESSAGE
# (UTF-8, line 0 where there is none). Status 2: the compiler lacked something, and may have it the next time; the
# payload is MESSAGE. Warnings are LINE "\t" MESSAGE "\n" each; behind the first MOST of them stands "and N more\n".
# Messages are cut off at LONGEST characters: names of any length are quoted in them.
import _frozen_importlib_external
import gc
import marshal
import warnings

gc.disable()  # what the compiler builds has no cycles to look for
warnings.resetwarnings()
warnings.simplefilter("ignore")
warnings.simplefilter("always", SyntaxWarning)
MOST, LONGEST = 100, 2000
caught = []
surplus = 0


def keep_warning(message, category, filename, lineno, file=None, line=None):
    global surplus
    if len(caught) < MOST:
        caught.append("%d\t%s\n" % (lineno, " ".join(str(message)[:LONGEST].split())))
    else:
        surplus += 1


def remarks():
    global surplus
    lines = caught + (["and %d more\n" % surplus] if surplus else [])
    del caught[:]
    surplus = 0
    return text("".join(lines))


warnings.showwarning = keep_warning
requests = open(0, "rb", 1 << 16)
replies = open(1, "wb", 1 << 16)


def number(value):
    return value.to_bytes(4, "little")


def text(string):
    return string.encode("utf-8", "backslashreplace")


def describe(error):
    message = error.msg if isinstance(error, SyntaxError) and error.msg else str(error)
    message = message[:LONGEST]
    return "%s: %s" % (type(error).__name__, message) if message else type(error).__name__


def refusal(error):
    line = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else None
    return text("%d\n%s" % (line or 0, describe(error)))


def is_lack(error):
    # A MemoryError that gives a reason is the parser's own limit, which is the same in each run.
    return isinstance(error, (OSError, SystemError)) or isinstance(error, MemoryError) and not error.args


def answer(name, source, optimization):
    try:
        code = compile(source, name, "exec", dont_inherit=True, optimize=optimization)
        return 0, marshal.dumps(code)
    except Exception as error:
        return (2, text(describe(error))) if is_lack(error) else (1, refusal(error))


def serve():
    replies.write(b"pyc-txn worker 1\n" + _frozen_importlib_external.MAGIC_NUMBER)
    replies.flush()
    while True:
        head = requests.read(16)
        if len(head) < 16:
            return
        name, source, optimization, more = [int.from_bytes(head[at : at + 4], "little") for at in (0, 4, 8, 12)]
        name = requests.read(name).decode("utf-8", "surrogateescape")
        status, payload = answer(name, requests.read(source), optimization)
        said = remarks()
        replies.write(number(status) + number(len(payload)) + number(len(said)))
        replies.write(payload)
        del payload
        replies.write(said)
        if not more:
            replies.flush()


serve()
