DROP VIEW bucket_action;
DROP FUNCTION IF EXISTS write_bucket_action();
DROP TABLE IF EXISTS closed_bucket_action_before;
DROP FUNCTION IF EXISTS replace_open_in_closed_bucket_action();
CREATE TABLE bucket_action (LIKE closed_bucket_action INCLUDING CONSTRAINTS);
ALTER TABLE bucket_action ADD CONSTRAINT bucket_action_pkey PRIMARY KEY (owner_id, id),
    ADD CONSTRAINT bucket_action_request_id UNIQUE (owner_id, request_id, type);
CREATE INDEX bucket_action_list ON bucket_action (tenant, id);
CREATE INDEX bucket_action_party_account ON bucket_action (tenant, party_account_id, id)
    WHERE party_account_id IS NOT NULL;
CREATE INDEX bucket_action_receiver ON bucket_action (receiver_owner_id, id) WHERE receiver_owner_id IS NOT NULL;
CREATE INDEX bucket_action_due ON bucket_action (owner_id, expire_time, id)
    WHERE status = 'CREATED' AND expire_time IS NOT NULL;
CREATE INDEX bucket_action_due_first ON bucket_action (expire_time, owner_id)
    WHERE status = 'CREATED' AND expire_time IS NOT NULL;
ALTER TABLE bucket_action ADD CONSTRAINT bucket_action_partition CHECK (true);
CREATE FUNCTION copy_open_bucket_action() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER bucket_action_copy_open AFTER INSERT OR UPDATE ON bucket_action
    FOR EACH ROW EXECUTE FUNCTION copy_open_bucket_action();
