DROP VIEW allocation;
DROP FUNCTION IF EXISTS write_allocation();
DROP TABLE IF EXISTS closed_allocation_before;
DROP FUNCTION IF EXISTS replace_open_in_closed();
CREATE TABLE allocation (LIKE closed_allocation INCLUDING CONSTRAINTS);
ALTER TABLE allocation ADD CONSTRAINT allocation_pkey PRIMARY KEY (owner_id, id),
    ADD CONSTRAINT allocation_client_external_id UNIQUE (owner_id, client_external_id, type);
CREATE INDEX allocation_connection ON allocation (owner_id, connection_id, id);
CREATE INDEX allocation_due ON allocation (owner_id, expire_time, id)
    WHERE status = 'RESERVED' AND expire_time IS NOT NULL;
CREATE INDEX allocation_due_first ON allocation (expire_time, owner_id)
    WHERE status = 'RESERVED' AND expire_time IS NOT NULL;
CREATE INDEX allocation_id ON allocation (uuid_send(id));
CREATE INDEX allocation_open_in_custody ON allocation (owner_id, currency, (opened_custody_version >> 8))
    WHERE status = 'RESERVED' AND type = 'ALLOCATION';
CREATE INDEX allocation_open_on_connection
    ON allocation (owner_id, connection_id, currency, (opened_connection_version >> 8))
    WHERE status = 'RESERVED' AND type = 'DEALLOCATION';
ALTER TABLE allocation ADD CONSTRAINT allocation_partition CHECK (true);
CREATE FUNCTION copy_open_allocation() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER allocation_copy_open AFTER INSERT OR UPDATE ON allocation
    FOR EACH ROW EXECUTE FUNCTION copy_open_allocation();
