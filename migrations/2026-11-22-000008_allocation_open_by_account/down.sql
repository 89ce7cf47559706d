DROP INDEX IF EXISTS allocation_open_by_account;
DROP INDEX IF EXISTS allocation_open;
CREATE INDEX allocation_open ON allocation (owner_id, connection_id, currency, type, id) WHERE status = 'RESERVED';
