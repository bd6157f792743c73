-- The history: why each transaction was, how it came out, and what can be forgotten of it.

-- Of the run that ended it, and of the one that staged it if that was another: milliseconds of work.
ALTER TABLE transactions ADD COLUMN took INTEGER;

-- The commands that asked for something in a transaction or took it on, and for which packages ('': for none).
CREATE TABLE causes (
    txn         INTEGER NOT NULL REFERENCES transactions (id) ON DELETE CASCADE,
    command     TEXT NOT NULL,
    package     TEXT NOT NULL,
    PRIMARY KEY (txn, command, package)
) STRICT, WITHOUT ROWID;

-- How many intents of a committed transaction came out how; they outlive the intents.
CREATE TABLE tallies (
    txn         INTEGER NOT NULL REFERENCES transactions (id) ON DELETE CASCADE,
    outcome     TEXT NOT NULL,                       -- as in intents, or 'reused'
    intents     INTEGER NOT NULL,
    bytes       INTEGER NOT NULL,                    -- of the bytecode that was written
    PRIMARY KEY (txn, outcome)
) STRICT, WITHOUT ROWID;

INSERT INTO tallies
SELECT txn, CASE WHEN reused AND outcome = 'compiled' THEN 'reused' ELSE outcome END AS word, count(*),
       sum(CASE outcome WHEN 'compiled' THEN pyc_size ELSE 0 END)
FROM intents JOIN transactions ON transactions.id = txn WHERE transactions.state = 'committed'
GROUP BY txn, word;

-- What compilers said of sources that have bytecode, published or retired. They hold for a source of this content
-- only: bytecode that is made from the earlier one keeps them, and so does one that is retired and taken back.
CREATE TABLE warnings (
    directory   INTEGER NOT NULL REFERENCES directories (id),
    target      BLOB NOT NULL,
    source      BLOB NOT NULL,
    source_hash BLOB NOT NULL CHECK (length(source_hash) = 32),
    warnings    TEXT NOT NULL,                       -- as in intents
    PRIMARY KEY (directory, target)
) STRICT, WITHOUT ROWID;

INSERT INTO warnings
SELECT directory, target, intents.source, ledger.source_hash, warnings
FROM ledger JOIN intents USING (txn, directory, target) WHERE warnings IS NOT NULL;

CREATE INDEX intents_with_warnings ON intents (txn) WHERE warnings IS NOT NULL;
