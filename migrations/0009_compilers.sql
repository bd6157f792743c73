-- A magic number does not identify a compiler: patch releases of one Python share it and compile differently, and so do
-- architectures that fold floats differently. Code is used again only if both are known and the same
-- (src/python/interpreter.rs).
--
-- The table is made anew for its UNIQUE: an interpreter that is replaced by another release gets another number,
-- and what is published keeps that of the one that compiled it. What refers to it is looked at with the commit.

PRAGMA defer_foreign_keys = ON;

CREATE TEMP TABLE interpreters_before AS SELECT * FROM interpreters;

DROP TABLE interpreters;

CREATE TABLE interpreters (
    id           INTEGER PRIMARY KEY,
    path         BLOB NOT NULL,
    cache_tag    TEXT NOT NULL,
    magic        BLOB NOT NULL CHECK (length(magic) = 4),
    major        INTEGER NOT NULL,
    minor        INTEGER NOT NULL,
    -- sys.hexversion and the like; '': not known, and so never the same.
    release      TEXT NOT NULL,
    architecture TEXT NOT NULL,
    -- Whether it can be run as nobody.
    as_nobody    INTEGER NOT NULL CHECK (as_nobody IN (0, 1)),
    -- The binary that gave this answer, so that it need not be asked again.
    inode        INTEGER NOT NULL,
    size         INTEGER NOT NULL,
    mtime        INTEGER NOT NULL,
    ctime        INTEGER NOT NULL,
    UNIQUE (path, cache_tag, magic, release, architecture)
) STRICT;

INSERT INTO interpreters
SELECT id, path, cache_tag, magic, major, minor, '', '', as_nobody, inode, size, mtime, ctime
FROM interpreters_before;

DROP TABLE interpreters_before;
