-- `bucket_action` becomes what is open and what is final together, for whoever reads both. Only the catalogue changes.
DROP TRIGGER bucket_action_copy_open ON bucket_action;
DROP FUNCTION copy_open_bucket_action();

DO $$
DECLARE
    cut text := (
        SELECT substring(pg_get_constraintdef(oid) FROM '''([0-9a-f-]{36})''') FROM pg_constraint
        WHERE conrelid = 'bucket_action'::regclass AND conname = 'bucket_action_partition'
    );
    grants text[] := (
        SELECT array_agg(DISTINCT format(
            'GRANT %s ON bucket_action TO %s', a.privilege_type,
            CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END
        ))
        FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a
        WHERE c.oid = 'bucket_action'::regclass AND a.grantee <> c.relowner
            AND a.privilege_type IN ('SELECT', 'INSERT', 'UPDATE')
    );
    is_new boolean := NOT EXISTS (SELECT FROM owner) AND NOT EXISTS (SELECT FROM bucket_action);
    one text;
BEGIN
    IF is_new THEN
        -- Nobody has used the database.
        DROP TABLE bucket_action;
        CREATE VIEW bucket_action AS
            SELECT * FROM open_bucket_action UNION ALL SELECT * FROM closed_bucket_action;
    ELSE
        ALTER TABLE bucket_action RENAME TO closed_bucket_action_before;
        EXECUTE format('ALTER TABLE closed_bucket_action ATTACH PARTITION closed_bucket_action_before '
            'FOR VALUES FROM (MINVALUE) TO (%L)', cut);
        ALTER TABLE closed_bucket_action_before DROP CONSTRAINT bucket_action_partition;
        -- Otherwise Postgres has built others, with everybody waiting.
        IF (SELECT count(*) FROM pg_inherits
            WHERE (inhparent, inhrelid) IN (
                ('closed_bucket_action_pkey'::regclass, 'bucket_action_pkey'::regclass),
                ('closed_bucket_action_list'::regclass, 'bucket_action_list'::regclass),
                ('closed_bucket_action_receiver'::regclass, 'bucket_action_receiver'::regclass))) <> 3 THEN
            RAISE EXCEPTION 'the indexes of bucket actions are not those that the migrations have made';
        END IF;

        -- What follows is for servers of the version before, which go on until they are replaced. A migration of a later
        -- version drops it: the column `ctid`, the triggers and these indexes. They find a reserve to change by its place in
        -- the table, and a view has none: they get its id instead.
        CREATE VIEW bucket_action AS
            SELECT *, id AS ctid FROM open_bucket_action
            UNION ALL
            SELECT *, id FROM closed_bucket_action WHERE status <> 'CREATED';
        CREATE FUNCTION write_bucket_action() RETURNS trigger LANGUAGE plpgsql AS $write$
        BEGIN
            IF TG_OP = 'INSERT' THEN
                INSERT INTO bucket_action_key VALUES (NEW.owner_id, bucket_action_key_of(NEW.type, NEW.request_id), NEW.id);
            ELSE
                DELETE FROM open_bucket_action o WHERE o.owner_id = NEW.owner_id AND o.id = NEW.id;
                IF NOT FOUND THEN
                    RETURN NULL;
                END IF;
            END IF;
            IF NEW.status = 'CREATED' THEN
                INSERT INTO open_bucket_action VALUES (
                    NEW.owner_id, NEW.id, NEW.tenant, NEW.created_at, NEW.updated_at, NEW.expire_time,
                    NEW.own_version, NEW.receiver_version, NEW.reserve_id, NEW.receiver_owner_id, NEW.closed_by,
                    NEW.amount, NEW.remaining_amount, NEW.returned_amount, NEW.cost_amount, NEW.type, NEW.status,
                    NEW.unit, NEW.bucket_id, NEW.party_account_id, NEW.request_id, NEW.receiver_bucket_id,
                    NEW.cost_owner, NEW.closed_cause, NEW.initiated_by, NEW.details, NEW.content_hash
                );
            ELSE
                INSERT INTO closed_bucket_action VALUES (
                    NEW.owner_id, NEW.id, NEW.tenant, NEW.created_at, NEW.updated_at, NEW.expire_time,
                    NEW.own_version, NEW.receiver_version, NEW.reserve_id, NEW.receiver_owner_id, NEW.closed_by,
                    NEW.amount, NEW.remaining_amount, NEW.returned_amount, NEW.cost_amount, NEW.type, NEW.status,
                    NEW.unit, NEW.bucket_id, NEW.party_account_id, NEW.request_id, NEW.receiver_bucket_id,
                    NEW.cost_owner, NEW.closed_cause, NEW.initiated_by, NEW.details, NEW.content_hash
                );
            END IF;
            RETURN NEW;
        END
        $write$;
        CREATE TRIGGER bucket_action_write INSTEAD OF INSERT OR UPDATE ON bucket_action
            FOR EACH ROW EXECUTE FUNCTION write_bucket_action();
        -- They are there already, unless the database was new a moment ago.
        CREATE INDEX IF NOT EXISTS open_bucket_action_by_request_id
            ON open_bucket_action (owner_id, request_id, type);
        CREATE INDEX IF NOT EXISTS open_bucket_action_by_id ON open_bucket_action (id);

        -- Of what was open, the table still has rows, which the view does not show. The next migration deletes them. If one
        -- of these reserves becomes final before, its row makes way.
        CREATE FUNCTION replace_open_in_closed_bucket_action() RETURNS trigger LANGUAGE plpgsql AS $replace$
        BEGIN
            DELETE FROM closed_bucket_action_before c
            WHERE c.owner_id = NEW.owner_id AND c.id = NEW.id AND c.status = 'CREATED';
            RETURN NEW;
        END
        $replace$;
        CREATE TRIGGER bucket_action_replace_open BEFORE INSERT ON closed_bucket_action_before
            FOR EACH ROW EXECUTE FUNCTION replace_open_in_closed_bucket_action();
        -- The trigger deletes as its caller may.
        grants := grants || (
            SELECT array_agg(DISTINCT format(
                'GRANT SELECT, DELETE ON closed_bucket_action_before TO %s',
                CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END
            ))
            FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a
            WHERE c.oid = 'closed_bucket_action_before'::regclass AND a.grantee <> c.relowner
                AND a.privilege_type = 'INSERT'
        );
    END IF;
    FOREACH one IN ARRAY coalesce(grants, ARRAY[]::text[]) LOOP
        EXECUTE one;
    END LOOP;
END $$;
