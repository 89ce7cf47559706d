-- Without the id: the rows of an account have the same key then, and Postgres keeps a key once for all of them. The index
-- is a tenth as large, so that far fewer of its pages are written (and go whole into the write-ahead log, once after
-- each checkpoint) as reservations of many accounts come in. Nothing reads it in the order of ids. It gets its name,
-- `allocation_open`, in 000009.
CREATE INDEX CONCURRENTLY IF NOT EXISTS allocation_open_by_account
    ON allocation (owner_id, connection_id, currency, type) WHERE status = 'RESERVED';
