-- Each maintainer script's py3clean is a transaction, so there come to be thousands. Those that have not ended, and
-- those that ended long ago, are found without reading all of them.
CREATE INDEX transactions_by_end ON transactions (ended);
