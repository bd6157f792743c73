-- Whether the code is in its canonical form (src/python/marshal/mod.rs), as far as that is known: what was adopted is as its
-- compiler wrote it. What is in its canonical form need not be brought into it when it is used again.

ALTER TABLE facts ADD COLUMN canonical INTEGER NOT NULL DEFAULT 0 CHECK (canonical = 0 OR canonical = 1);

ALTER TABLE retired ADD COLUMN canonical INTEGER NOT NULL DEFAULT 0 CHECK (canonical = 0 OR canonical = 1);
