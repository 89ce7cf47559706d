-- Copies the keys of all allocations, and those that are open, 2,000 rows at a time, each time in a transaction of its own.
-- What is inserted meanwhile is copied by the trigger. Whether a record is still open is read again under its owner's lock,
-- which all writers take. It may be repeated after it was interrupted.
DO $migration$
DECLARE
    last_owner uuid := '00000000-0000-0000-0000-000000000000';
    last_id uuid := '00000000-0000-0000-0000-000000000000';
    owners uuid[];
    ids uuid[];
    is_open boolean[];
    open_owners uuid[];
BEGIN
    PERFORM set_config('enable_seqscan', 'off', false), set_config('enable_hashjoin', 'off', false),
        set_config('enable_mergejoin', 'off', false);
    LOOP
        SELECT array_agg(c.owner_id), array_agg(c.id), array_agg(c.status = 'RESERVED'),
            array_agg(DISTINCT c.owner_id ORDER BY c.owner_id) FILTER (WHERE c.status = 'RESERVED')
            INTO owners, ids, is_open, open_owners
        FROM (
            SELECT a.owner_id, a.id, a.status FROM allocation a WHERE (a.owner_id, a.id) > (last_owner, last_id)
            ORDER BY a.owner_id, a.id LIMIT 2000
        ) c;
        EXIT WHEN owners IS NULL;
        INSERT INTO allocation_key
        SELECT a.owner_id, allocation_key_of(a.type, a.client_external_id), a.id
        FROM unnest(owners, ids) c(owner_id, id) JOIN allocation a ON a.owner_id = c.owner_id AND a.id = c.id
        ON CONFLICT DO NOTHING;
        IF open_owners IS NOT NULL THEN
            COMMIT;
            PERFORM FROM owner o WHERE o.owner_id = ANY (open_owners) ORDER BY o.owner_id FOR NO KEY UPDATE;
            INSERT INTO open_allocation (
                owner_id, id, connection_id, client_id, partner_id, created_at, updated_at, expire_time,
                opened_custody_version, opened_connection_version, quantity, type, status, currency, client_external_id,
                partner_external_id, initiated_by, notes, content_hash
            )
            SELECT a.owner_id, a.id, a.connection_id, a.client_id, a.partner_id, a.created_at, a.updated_at,
                a.expire_time, a.opened_custody_version, a.opened_connection_version, a.quantity, a.type, a.status,
                a.currency, a.client_external_id, a.partner_external_id, a.initiated_by, a.notes, a.content_hash
            FROM unnest(owners, ids, is_open) c(owner_id, id, is_open)
            JOIN allocation a ON a.owner_id = c.owner_id AND a.id = c.id
            WHERE c.is_open AND a.status = 'RESERVED'
            ON CONFLICT DO NOTHING;
        END IF;
        last_owner := owners[cardinality(owners)];
        last_id := ids[cardinality(ids)];
        COMMIT;
    END LOOP;
    -- Reads the table, and stops nobody.
    ALTER TABLE allocation VALIDATE CONSTRAINT allocation_partition;
    COMMIT;
    RESET enable_seqscan;
    RESET enable_hashjoin;
    RESET enable_mergejoin;
END
$migration$
