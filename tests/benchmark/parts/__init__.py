"""The benchmarks in parts: trees, contenders, results. And chroots, for which they use a module of the tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "chroot"))
