DROP INDEX IF EXISTS allocation_id_bytes;
DROP INDEX IF EXISTS allocation_id;
CREATE INDEX allocation_id ON allocation (id);
