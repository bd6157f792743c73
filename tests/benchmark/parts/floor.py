"""What the compiling itself costs: the CPU time of compile() and marshal.dumps().

A script of its own, run by the interpreter that the contenders use, once a core at
the same time. Reads the names of its share of the sources from stdin, NUL between
them; prints the CPU seconds and the number of sources that do not compile.
"""

import marshal
import sys
import time
import warnings

# So much is read ahead, and not the whole tree: some have too little memory.
BLOCK_BYTES = 64 << 20


def blocks(names):
    """The sources as lists of (name, content), read outside the measured time."""
    block, size = [], 0
    for name in names:
        with open(name, "rb") as opened:
            content = opened.read()
        block.append((name, content))
        size += len(content)
        if size >= BLOCK_BYTES:
            yield block
            block, size = [], 0
    yield block


def compile_all(block):
    """Compiles a block and throws the bytecode away; how many sources were wrong."""
    failed = 0
    for name, content in block:
        try:
            marshal.dumps(compile(content, name, "exec", dont_inherit=True))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            failed += 1
    return failed


def main():
    warnings.simplefilter("ignore")
    names = [name.decode("utf-8", "surrogateescape")
             for name in sys.stdin.buffer.read().split(b"\0") if name]
    seconds, failed = 0.0, 0
    for block in blocks(names):
        start = time.process_time()
        failed += compile_all(block)
        seconds += time.process_time() - start
    print(seconds, failed)


if __name__ == "__main__":
    main()
