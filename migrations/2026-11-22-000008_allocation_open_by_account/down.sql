DROP INDEX allocation_open;
CREATE INDEX allocation_open ON allocation (owner_id, connection_id, currency, type, id) WHERE status = 'RESERVED';
