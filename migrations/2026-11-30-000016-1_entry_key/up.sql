-- Finds an entry by its account and time, and an account's balance at any time. The time stands before the version, so that
-- the index can be unique in each partition of the journal: see 000016-3.
CREATE UNIQUE INDEX CONCURRENTLY entry_key ON entry (owner_id, account_id, unit, time, version);
