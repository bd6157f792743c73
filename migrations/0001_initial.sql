-- The journal: transactions with their intents, and the ledger of what they published.
--
-- Paths are bytes (a file name need not be UTF-8) and have no --root prefix. Times of files are nanoseconds
-- since 1970 (UTC), times of transactions seconds since 1970 (UTC). Hashes are BLAKE3, 32 bytes.
--
-- Triggers refuse with ROLLBACK, and the program writes with OR FAIL, never with the default ABORT: to be able to
-- take back the one statement SQLite would keep a journal of each. Nobody needs that: a write that is refused is
-- given up as a whole. The large tables' checks have no IN with more than two words: for each row SQLite would fill
-- a temporary index with them.

CREATE TABLE interpreters (
    id          INTEGER PRIMARY KEY,
    path        BLOB NOT NULL,
    cache_tag   TEXT NOT NULL,
    magic       BLOB NOT NULL CHECK (length(magic) = 4),
    major       INTEGER NOT NULL,
    minor       INTEGER NOT NULL,
    -- Whether it can be run as nobody.
    as_nobody   INTEGER NOT NULL CHECK (as_nobody IN (0, 1)),
    -- The binary that gave this answer, so that it need not be asked again.
    inode       INTEGER NOT NULL,
    size        INTEGER NOT NULL,
    mtime       INTEGER NOT NULL,
    ctime       INTEGER NOT NULL,
    UNIQUE (path, cache_tag, magic)
) STRICT;

CREATE TABLE directories (
    id          INTEGER PRIMARY KEY,
    path        BLOB NOT NULL UNIQUE
) STRICT;

-- recording ──> staged ──> committing ──> committed
--     └───────────┴──> rolled-back
CREATE TABLE transactions (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,   -- names a staging directory, so it is never used again
    kind        TEXT NOT NULL CHECK (kind IN ('commit', 'clean')),
    state       TEXT NOT NULL
                CHECK (state IN ('recording', 'staged', 'committing', 'committed', 'rolled-back')),
    -- Staged by `pyc-txn stage`, to be published by a later commit; not what an interrupted run left.
    held        INTEGER NOT NULL DEFAULT 0 CHECK (held IN (0, 1)),
    began       INTEGER NOT NULL,
    ended       INTEGER CHECK ((ended IS NULL) = (state IN ('recording', 'staged', 'committing'))),
    message     TEXT
) STRICT;

-- One open transaction; one decided and not yet settled.
CREATE UNIQUE INDEX one_recording ON transactions (state) WHERE state = 'recording';
CREATE UNIQUE INDEX one_committing ON transactions (state) WHERE state = 'committing';

-- A clean has nothing to stage: it is decided in the same write that records it.
CREATE TRIGGER transactions_begin BEFORE INSERT ON transactions
WHEN NOT (NEW.state = 'recording' OR (NEW.state = 'committing' AND NEW.kind = 'clean'))
BEGIN
    SELECT RAISE(ROLLBACK, 'a transaction begins in the state recording');
END;

CREATE TRIGGER transactions_go_on BEFORE UPDATE OF state ON transactions
WHEN (OLD.state, NEW.state) NOT IN (VALUES
    ('recording', 'staged'), ('recording', 'rolled-back'),
    ('staged', 'committing'), ('staged', 'rolled-back'),
    ('committing', 'committed'))
BEGIN
    SELECT RAISE(ROLLBACK, 'illegal change of a transaction''s state');
END;

CREATE TRIGGER transactions_stay BEFORE DELETE ON transactions
WHEN OLD.state NOT IN ('committed', 'rolled-back')
BEGIN
    SELECT RAISE(ROLLBACK, 'a transaction that has not ended cannot be deleted');
END;

-- The number of the next intent. A number is never given twice: it names a staged file. (AUTOINCREMENT would do
-- the same with a write to another table for every row.)
CREATE TABLE numbers (
    next_intent INTEGER NOT NULL
) STRICT;
INSERT INTO numbers VALUES (1);

CREATE TABLE intents (
    id          INTEGER PRIMARY KEY,
    txn         INTEGER NOT NULL REFERENCES transactions (id) ON DELETE CASCADE,
    directory   INTEGER NOT NULL REFERENCES directories (id),
    target      BLOB NOT NULL,                       -- the file name in __pycache__
    source      BLOB,                                -- the file name beside it; NULL: remove the target
    interpreter INTEGER REFERENCES interpreters (id),
    level       INTEGER CHECK (level BETWEEN 0 AND 2),
    mode        TEXT CHECK (mode = 'timestamp' OR mode = 'checked-hash' OR mode = 'unchecked-hash'),
    force       INTEGER NOT NULL DEFAULT 0 CHECK (force IN (0, 1)),
    owner       TEXT,                                -- the package that asked
    -- The source as it was when it was recorded, then as it was when it was compiled.
    device      INTEGER,
    inode       INTEGER,
    size        INTEGER,
    mtime       INTEGER,
    ctime       INTEGER,
    -- NULL: pending.
    outcome     TEXT CHECK (outcome = 'compiled' OR outcome = 'adopted' OR outcome = 'current'
                            OR outcome = 'removed' OR outcome = 'vanished'
                            OR outcome = 'refused' OR outcome = 'lost' OR outcome = 'unreadable'),
    message     TEXT,                                -- of a failure: [LINE: ]WHAT
    warnings    TEXT,                                -- LINE\tMESSAGE, a line each
    source_hash BLOB,
    code_hash   BLOB,                                -- of the pyc without its header
    pyc_inode   INTEGER,
    pyc_size    INTEGER,
    pyc_mtime   INTEGER,
    staged_in   INTEGER,                             -- the number of the staging directory
    UNIQUE (txn, directory, target),
    CHECK ((source IS NULL) = (interpreter IS NULL AND level IS NULL AND mode IS NULL)),
    CHECK (outcome NOT IN ('compiled', 'adopted')
           OR (source_hash IS NOT NULL AND code_hash IS NOT NULL AND pyc_inode IS NOT NULL)),
    CHECK (outcome <> 'compiled' OR staged_in IS NOT NULL)
) STRICT;

-- Those of a transaction that was rolled back can only leave it: they are pending again in another one.
CREATE TRIGGER intents_of_the_past_stay BEFORE UPDATE ON intents
WHEN (SELECT state = 'committed' OR (state = 'rolled-back' AND NEW.txn = OLD.txn)
      FROM transactions WHERE id = OLD.txn)
BEGIN
    SELECT RAISE(ROLLBACK, 'the intents of a transaction that has ended cannot change');
END;

CREATE TRIGGER intents_come_in_time BEFORE INSERT ON intents
WHEN (SELECT kind = 'commit' AND state <> 'recording' FROM transactions WHERE id = NEW.txn)
BEGIN
    SELECT RAISE(ROLLBACK, 'a transaction takes intents only while it is recording');
END;

-- What is published now.
CREATE TABLE ledger (
    directory   INTEGER NOT NULL REFERENCES directories (id),
    target      BLOB NOT NULL,
    owner       TEXT,
    txn         INTEGER NOT NULL,
    interpreter INTEGER NOT NULL REFERENCES interpreters (id),
    mode        TEXT NOT NULL CHECK (mode = 'timestamp' OR mode = 'checked-hash' OR mode = 'unchecked-hash'),
    inode       INTEGER NOT NULL,
    size        INTEGER NOT NULL,
    mtime       INTEGER NOT NULL,
    ctime       INTEGER NOT NULL,
    source_hash BLOB NOT NULL CHECK (length(source_hash) = 32),
    code_hash   BLOB NOT NULL CHECK (length(code_hash) = 32),
    pyc_inode   INTEGER NOT NULL,
    pyc_size    INTEGER NOT NULL,
    pyc_mtime   INTEGER NOT NULL,
    PRIMARY KEY (directory, target)
) STRICT, WITHOUT ROWID;

-- Sources that could not be compiled the last time, as they were then.
CREATE TABLE failures (
    directory   INTEGER NOT NULL REFERENCES directories (id),
    target      BLOB NOT NULL,
    source      BLOB NOT NULL,
    txn         INTEGER NOT NULL,
    interpreter INTEGER NOT NULL REFERENCES interpreters (id),
    inode       INTEGER NOT NULL,
    size        INTEGER NOT NULL,
    mtime       INTEGER NOT NULL,
    ctime       INTEGER NOT NULL,
    outcome     TEXT NOT NULL CHECK (outcome = 'refused' OR outcome = 'lost' OR outcome = 'unreadable'),
    message     TEXT NOT NULL,
    PRIMARY KEY (directory, target)
) STRICT, WITHOUT ROWID;
