-- The two new indexes serve its statements, also those of servers of the version before.
DROP INDEX CONCURRENTLY allocation_open;
