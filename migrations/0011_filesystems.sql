-- The filesystem that a directory was on when something was recorded for it last. While that is not mounted, a missing
-- directory is no deleted one (src/disk/mount.rs).

ALTER TABLE directories ADD COLUMN mount BLOB;       -- its mount point, '/': that of the root; NULL: not known
