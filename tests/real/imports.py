"""Imports modules from a tree's bytecode, in an interpreter that has forgotten how to compile.

    imports.py TREE MODULE…

A pyc that Python does not take (its header, or the code behind it) would make it compile the source; that fails
here. Prints how many modules came from the tree.
"""

import sys

tree, *wanted = sys.argv[1:]
sys.path[:0] = [tree]
sys.path_importer_cache.clear()

import importlib  # noqa: E402
import _frozen_importlib_external as machinery  # noqa: E402


def refuse(self, data, path, **_):
    if path.startswith(tree):
        raise AssertionError(f"{path} is compiled anew")
    return compile(data, path, "exec", dont_inherit=True)


machinery.SourceLoader.source_to_code = refuse

# What the start brought along is imported again, from the tree.
for name in [name for name in sys.modules if name.partition(".")[0] in
             {each.partition(".")[0] for each in wanted} - {"importlib"}]:
    del sys.modules[name]
for name in wanted:
    module = importlib.import_module(name)
    if not module.__spec__.origin.startswith(tree + "/"):
        sys.exit(f"{name} comes from {module.__spec__.origin}")

count = 0
for module in list(sys.modules.values()):
    spec = getattr(module, "__spec__", None)
    if spec and spec.has_location and spec.origin.startswith(tree + "/") and spec.origin.endswith(".py"):
        count += 1
print(count)
