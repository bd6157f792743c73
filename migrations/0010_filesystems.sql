-- The filesystem that a directory was on when something was recorded for it last, and an interpreter when it was asked
-- last. While that is not mounted, what is missing was not deleted (src/disk/mount.rs).

ALTER TABLE directories ADD COLUMN mount BLOB;       -- its mount point, '/': that of the root; NULL: not known

ALTER TABLE interpreters ADD COLUMN mount BLOB;      -- its mount point, '/': that of the system; NULL: not known
