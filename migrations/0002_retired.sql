-- Bytecode that py3clean moved out of the tree while dpkg replaces or removes its package. It waits in the state
-- directory's retired/ID until the commit at the end of the dpkg run, which takes back what is still right.

-- A removal that keeps the file.
ALTER TABLE intents ADD COLUMN retire INTEGER NOT NULL DEFAULT 0 CHECK (retire = 0 OR retire = 1);

-- Compiled without a compiler: the code is that of earlier bytecode of the same content.
ALTER TABLE intents ADD COLUMN reused INTEGER NOT NULL DEFAULT 0 CHECK (reused = 0 OR reused = 1);

CREATE TABLE retired (
    id          INTEGER PRIMARY KEY,                 -- that of the intent that retired it
    directory   INTEGER NOT NULL REFERENCES directories (id),
    target      BLOB NOT NULL,
    owner       TEXT,
    interpreter INTEGER NOT NULL REFERENCES interpreters (id),
    mode        TEXT NOT NULL CHECK (mode = 'timestamp' OR mode = 'checked-hash' OR mode = 'unchecked-hash'),
    source_hash BLOB NOT NULL CHECK (length(source_hash) = 32),
    code_hash   BLOB NOT NULL CHECK (length(code_hash) = 32),
    UNIQUE (directory, target)
) STRICT;
