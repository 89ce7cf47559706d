-- `allocation` becomes what is open and what is final together, for whoever reads both. Only the catalogue changes.
DROP TRIGGER allocation_copy_open ON allocation;
DROP FUNCTION copy_open_allocation();

DO $$
DECLARE
    cut text := (
        SELECT substring(pg_get_constraintdef(oid) FROM '''([0-9a-f-]{36})''') FROM pg_constraint
        WHERE conrelid = 'allocation'::regclass AND conname = 'allocation_partition'
    );
    grants text[] := (
        SELECT array_agg(DISTINCT format(
            'GRANT %s ON allocation TO %s', a.privilege_type,
            CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END
        ))
        FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a
        WHERE c.oid = 'allocation'::regclass AND a.grantee <> c.relowner
            AND a.privilege_type IN ('SELECT', 'INSERT', 'UPDATE')
    );
    is_new boolean := NOT EXISTS (SELECT FROM owner) AND NOT EXISTS (SELECT FROM allocation);
    one text;
BEGIN
    IF is_new THEN
        -- Nobody has used the database.
        DROP TABLE allocation;
        CREATE VIEW allocation AS
            SELECT * FROM open_allocation UNION ALL SELECT * FROM closed_allocation;
    ELSE
        ALTER TABLE allocation RENAME TO closed_allocation_before;
        EXECUTE format('ALTER TABLE closed_allocation ATTACH PARTITION closed_allocation_before '
            'FOR VALUES FROM (MINVALUE) TO (%L)', cut);
        ALTER TABLE closed_allocation_before DROP CONSTRAINT allocation_partition;

        -- What follows is for servers of the version before, which go on until they are replaced. A migration of a later
        -- version drops it: the column `ctid`, the triggers and these indexes. They find a record to close by its place in
        -- the table, and a view has none: they get its id instead.
        CREATE VIEW allocation AS
            SELECT *, id AS ctid FROM open_allocation
            UNION ALL
            SELECT *, id FROM closed_allocation WHERE status <> 'RESERVED';
        CREATE FUNCTION write_allocation() RETURNS trigger LANGUAGE plpgsql AS $write$
        BEGIN
            IF TG_OP = 'INSERT' THEN
                INSERT INTO allocation_key VALUES (NEW.owner_id, allocation_key_of(NEW.type, NEW.client_external_id), NEW.id);
            ELSE
                DELETE FROM open_allocation o WHERE o.owner_id = NEW.owner_id AND o.id = NEW.id;
                IF NOT FOUND THEN
                    RETURN NULL;
                END IF;
            END IF;
            IF NEW.status = 'RESERVED' THEN
                INSERT INTO open_allocation VALUES (
                    NEW.owner_id, NEW.id, NEW.connection_id, NEW.client_id, NEW.partner_id, NEW.created_at,
                    NEW.updated_at, NEW.expire_time, NEW.opened_custody_version, NEW.opened_connection_version,
                    NEW.closed_custody_version, NEW.closed_connection_version, NEW.quantity, NEW.type, NEW.status,
                    NEW.currency, NEW.client_external_id, NEW.partner_external_id, NEW.initiated_by, NEW.notes,
                    NEW.reason, NEW.closed_cause, NEW.content_hash
                );
            ELSE
                INSERT INTO closed_allocation (
                    owner_id, id, connection_id, client_id, partner_id, created_at, updated_at, expire_time,
                    opened_custody_version, opened_connection_version, closed_custody_version,
                    closed_connection_version, quantity, type, status, currency, client_external_id,
                    partner_external_id, initiated_by, notes, reason, closed_cause, content_hash
                ) VALUES (
                    NEW.owner_id, NEW.id, NEW.connection_id, NEW.client_id, NEW.partner_id, NEW.created_at,
                    NEW.updated_at, NEW.expire_time, NEW.opened_custody_version, NEW.opened_connection_version,
                    NEW.closed_custody_version, NEW.closed_connection_version, NEW.quantity, NEW.type, NEW.status,
                    NEW.currency, NEW.client_external_id, NEW.partner_external_id, NEW.initiated_by, NEW.notes,
                    NEW.reason, NEW.closed_cause, NEW.content_hash
                );
            END IF;
            RETURN NEW;
        END
        $write$;
        CREATE TRIGGER allocation_write INSTEAD OF INSERT OR UPDATE ON allocation
            FOR EACH ROW EXECUTE FUNCTION write_allocation();
        -- They are there already, unless the database was new a moment ago.
        CREATE INDEX IF NOT EXISTS open_allocation_by_external_id
            ON open_allocation (owner_id, client_external_id, type);
        CREATE INDEX IF NOT EXISTS open_allocation_by_id ON open_allocation (id);
        CREATE INDEX IF NOT EXISTS open_allocation_by_id_bytes ON open_allocation (uuid_send(id));

        -- Of what was open, the table still has rows, which the view does not show. The next migration deletes them. If one
        -- of these records becomes final before, its row makes way.
        CREATE FUNCTION replace_open_in_closed() RETURNS trigger LANGUAGE plpgsql AS $replace$
        BEGIN
            DELETE FROM closed_allocation_before c
            WHERE c.owner_id = NEW.owner_id AND c.id = NEW.id AND c.status = 'RESERVED';
            RETURN NEW;
        END
        $replace$;
        CREATE TRIGGER allocation_replace_open BEFORE INSERT ON closed_allocation_before
            FOR EACH ROW EXECUTE FUNCTION replace_open_in_closed();
        -- The trigger deletes as its caller may.
        grants := grants || (
            SELECT array_agg(DISTINCT format(
                'GRANT SELECT, DELETE ON closed_allocation_before TO %s',
                CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END
            ))
            FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a
            WHERE c.oid = 'closed_allocation_before'::regclass AND a.grantee <> c.relowner AND a.privilege_type = 'INSERT'
        );
    END IF;
    FOREACH one IN ARRAY coalesce(grants, ARRAY[]::text[]) LOOP
        EXECUTE one;
    END LOOP;
END $$;
