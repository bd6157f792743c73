-- Facts: what was found of a source and made of it, stored once. The ledger refers to it; the history does without.
--
-- Before, the intents had it for as long as the history lasts, and the ledger had it again: 480 bytes a pyc.

CREATE TABLE facts (
    id          INTEGER PRIMARY KEY,                 -- that of the intent, whose number is never given twice
    -- The source as it was when it was compiled, or refused.
    device      INTEGER NOT NULL,
    inode       INTEGER NOT NULL,
    size        INTEGER NOT NULL,
    mtime       INTEGER NOT NULL,
    ctime       INTEGER NOT NULL,
    -- NULL: nothing was made of it.
    source_hash BLOB CHECK (length(source_hash) = 32),
    code_hash   BLOB CHECK (length(code_hash) = 32), -- of the pyc without its header
    pyc_inode   INTEGER,
    pyc_size    INTEGER,
    pyc_mtime   INTEGER,
    CHECK (CASE WHEN source_hash IS NULL
           THEN code_hash IS NULL AND pyc_inode IS NULL AND pyc_size IS NULL AND pyc_mtime IS NULL
           ELSE code_hash IS NOT NULL AND pyc_inode IS NOT NULL AND pyc_size IS NOT NULL AND pyc_mtime IS NOT NULL
           END)
) STRICT;

-- Those of transactions that have not ended; a removal has none.
INSERT INTO facts
SELECT intents.id, device, inode, size, mtime, ctime, source_hash, code_hash, pyc_inode, pyc_size, pyc_mtime
FROM intents JOIN transactions ON transactions.id = txn
WHERE ended IS NULL AND outcome IN ('compiled', 'adopted');

INSERT INTO facts (id, device, inode, size, mtime, ctime)
SELECT intents.id, coalesce(device, 0), coalesce(inode, 0), coalesce(size, 0), coalesce(mtime, 0), coalesce(ctime, 0)
FROM intents JOIN transactions ON transactions.id = txn
WHERE ended IS NULL AND outcome IN ('refused', 'lost', 'unreadable');

-- Those of the ledger get numbers of their own: not all have an intent any more.
CREATE TABLE thin_ledger (
    directory   INTEGER NOT NULL REFERENCES directories (id),
    target      BLOB NOT NULL,
    owner       TEXT,
    txn         INTEGER NOT NULL,
    interpreter INTEGER NOT NULL REFERENCES interpreters (id),
    mode        TEXT NOT NULL CHECK (mode = 'timestamp' OR mode = 'checked-hash' OR mode = 'unchecked-hash'),
    facts       INTEGER NOT NULL,
    PRIMARY KEY (directory, target)
) STRICT, WITHOUT ROWID;

INSERT INTO thin_ledger
SELECT directory, target, owner, txn, interpreter, mode,
       next_intent - 1 + row_number() OVER (ORDER BY directory, target)
FROM ledger, numbers ORDER BY directory, target;

INSERT INTO facts
SELECT facts, 0, inode, size, mtime, ctime, source_hash, code_hash, pyc_inode, pyc_size, pyc_mtime
FROM ledger JOIN thin_ledger USING (directory, target) ORDER BY facts;

UPDATE numbers SET next_intent = next_intent + (SELECT count(*) FROM ledger);

DROP TABLE ledger;
ALTER TABLE thin_ledger RENAME TO ledger;

CREATE TABLE thin_intents (
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
    -- The source as it was when it was recorded.
    size        INTEGER,
    mtime       INTEGER,
    -- NULL: pending. What was compiled or adopted has its facts, and what failed.
    outcome     TEXT CHECK (outcome = 'compiled' OR outcome = 'adopted' OR outcome = 'current'
                            OR outcome = 'removed' OR outcome = 'vanished'
                            OR outcome = 'refused' OR outcome = 'lost' OR outcome = 'unreadable'),
    message     TEXT,                                -- of a failure: [LINE: ]WHAT
    warnings    TEXT,                                -- LINE\tMESSAGE, a line each
    staged_in   INTEGER,                             -- the number of the staging directory
    -- A removal that keeps the file.
    retire      INTEGER NOT NULL DEFAULT 0 CHECK (retire = 0 OR retire = 1),
    -- Compiled without a compiler: the code is that of earlier bytecode of the same content.
    reused      INTEGER NOT NULL DEFAULT 0 CHECK (reused = 0 OR reused = 1),
    UNIQUE (txn, directory, target),
    CHECK ((source IS NULL) = (interpreter IS NULL AND level IS NULL AND mode IS NULL)),
    CHECK (outcome <> 'compiled' OR staged_in IS NOT NULL)
) STRICT;

INSERT INTO thin_intents
SELECT id, txn, directory, target, source, interpreter, level, mode, force, owner, size, mtime,
       outcome, message, warnings, staged_in, retire, reused
FROM intents ORDER BY id;

DROP TABLE intents;
ALTER TABLE thin_intents RENAME TO intents;

CREATE INDEX intents_with_warnings ON intents (txn) WHERE warnings IS NOT NULL;

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

-- What an intent found is nobody's once it is forgotten; after the transaction has ended it is the ledger's.
CREATE TRIGGER facts_go_with_their_intents AFTER DELETE ON intents
WHEN (SELECT ended IS NULL FROM transactions WHERE id = OLD.txn)
BEGIN
    DELETE FROM facts WHERE id = OLD.id;
END;
