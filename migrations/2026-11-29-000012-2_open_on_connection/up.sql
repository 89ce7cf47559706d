-- The same for what is open on a connection.
CREATE INDEX CONCURRENTLY allocation_open_on_connection
    ON allocation (owner_id, connection_id, currency, (opened_connection_version >> 8))
    WHERE status = 'RESERVED' AND type = 'DEALLOCATION';
