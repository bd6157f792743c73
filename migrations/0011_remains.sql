-- Removals that were refused are remembered beside the sources that could not be compiled: a later commit tries them again.

CREATE TABLE all_failures (
    directory   INTEGER NOT NULL REFERENCES directories (id),
    target      BLOB NOT NULL,
    source      BLOB,                                -- NULL: a removal
    txn         INTEGER NOT NULL,                    -- the first that failed with this message
    interpreter INTEGER REFERENCES interpreters (id),
    inode       INTEGER NOT NULL,
    size        INTEGER NOT NULL,
    mtime       INTEGER NOT NULL,
    ctime       INTEGER NOT NULL,
    -- 'remains': the target, or an empty __pycache__, could not be removed.
    outcome     TEXT NOT NULL CHECK (outcome = 'refused' OR outcome = 'lost' OR outcome = 'unreadable'
                                     OR outcome = 'remains'),
    message     TEXT NOT NULL,
    PRIMARY KEY (directory, target),
    CHECK ((source IS NULL) = (outcome = 'remains')),
    CHECK ((source IS NULL) = (interpreter IS NULL))
) STRICT, WITHOUT ROWID;

INSERT INTO all_failures SELECT * FROM failures;
DROP TABLE failures;
ALTER TABLE all_failures RENAME TO failures;
