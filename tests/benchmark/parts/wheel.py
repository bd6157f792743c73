"""Packing the tree as one wheel, because that is what uv installs."""

import base64
import csv
import hashlib
import io
import os
import zipfile

NAME = "benchmark_tree-1.0-py3-none-any.whl"
INFO = "benchmark_tree-1.0.dist-info"
METADATA = "Metadata-Version: 2.1\nName: benchmark-tree\nVersion: 1.0\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: benchmark\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def pack(tree, path):
    """Writes the sources of a tree as a wheel.

    Only the sources: the tree's own dist-info directories would make it an
    invalid wheel, and the libraries would only add noise to the time of the
    install, which is subtracted. Stored, so that there is nothing to inflate.
    """
    draft = path.with_suffix(".new")
    record = io.StringIO()
    rows = csv.writer(record, lineterminator="\n")
    with zipfile.ZipFile(draft, "w", zipfile.ZIP_STORED) as archive:
        def add(name, content):
            archive.writestr(zipfile.ZipInfo(name), content)
            rows.writerow([name, _hash(content), len(content)])

        for source in tree.sources:
            with open(source, "rb") as opened:
                add(os.path.relpath(source, tree.path), opened.read())
        add(f"{INFO}/METADATA", METADATA.encode())
        add(f"{INFO}/WHEEL", WHEEL.encode())
        rows.writerow([f"{INFO}/RECORD", "", ""])
        archive.writestr(zipfile.ZipInfo(f"{INFO}/RECORD"), record.getvalue())
    draft.rename(path)


def _hash(content):
    digest = hashlib.sha256(content).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
