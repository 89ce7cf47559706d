-- The open allocations of a custody account in the order in which they were made, which a page of the oldest follows. The
-- account's version after the opening gives that order; without its last eight bits the key is the same for 256 versions,
-- so that Postgres keeps it once for the rows of all of them: the index stays as small as one without any order, and a
-- page reads at most 255 rows that it does not show. Two indexes rather than one, since a custody account holds for all
-- connections together, and a connection for itself. Alone in its migration: CONCURRENTLY allows no transaction.
CREATE INDEX CONCURRENTLY allocation_open_in_custody ON allocation (owner_id, currency, (opened_custody_version >> 8))
    WHERE status = 'RESERVED' AND type = 'ALLOCATION';
