-- Seals, for whole trees: what was seen of every directory when all that was wanted in it was in place, so that neither
-- directories nor bytecode need be found again where nothing has changed (src/txn/seal.rs).

DROP TABLE seals;

CREATE TABLE seals (
    tree        BLOB PRIMARY KEY,                    -- the path of the directory at its top
    terms       BLOB NOT NULL CHECK (length(terms) = 32), -- what was wished for
    directories BLOB NOT NULL                        -- as src/txn/seal/record.rs writes them
) STRICT;
