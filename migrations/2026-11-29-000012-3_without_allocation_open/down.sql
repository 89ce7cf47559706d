CREATE INDEX CONCURRENTLY allocation_open ON allocation (owner_id, connection_id, currency, type) WHERE status = 'RESERVED';
