-- Seals: what stat(2) said of a __pycache__ before everything that is published in it was seen to be in place. While it
-- says the same, it still is, and need not be looked at (src/txn/seal.rs).

CREATE TABLE seals (
    directory   INTEGER PRIMARY KEY REFERENCES directories (id),
    inode       INTEGER NOT NULL,
    mtime       INTEGER NOT NULL,
    ctime       INTEGER NOT NULL
) STRICT;
