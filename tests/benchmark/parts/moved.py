"""Repositories of packages as they are, except that every source in them has another mtime: what a rebuild does."""

import os
import subprocess

from system import ENVIRONMENT, run

# Seconds since 1970; later than anything in Debian 12, so that no source has it already.
MTIMES = [1_750_000_000, 1_760_000_000]


def make_repositories(debs, directory):
    """One below `directory` for each of MTIMES: what apt calls a flat one. Says where they are."""
    repositories = [directory / str(number) for number in range(len(MTIMES))]
    for repository in repositories:
        repository.mkdir(parents=True)
    for deb in debs:
        _repack(deb, directory / "unpacked", repositories)
    for repository in repositories:
        index = subprocess.run(["dpkg-scanpackages", "--multiversion", "."], cwd=repository, env=ENVIRONMENT,
                               check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        (repository / "Packages").write_bytes(index.stdout)
    return repositories


def _repack(deb, unpacked, repositories):
    run(["dpkg-deb", "--raw-extract", deb, unpacked])
    for repository, mtime in zip(repositories, MTIMES):
        for source in unpacked.rglob("*.py"):
            os.utime(source, (mtime, mtime), follow_symlinks=False)
        run(["dpkg-deb", "-Znone", "--build", unpacked, repository / deb.name])
    run(["rm", "-r", unpacked])

