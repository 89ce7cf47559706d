-- The owner's newest time, and its entries in time order. A movement has few entries, all of one time, so that the account
-- and unit need not stand in it.
CREATE INDEX CONCURRENTLY entry_by_time ON entry (owner_id, time);
