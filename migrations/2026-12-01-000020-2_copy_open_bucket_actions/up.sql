-- Copies the keys of all bucket actions, and the reserves that are open, 2,000 rows at a time, each time in a transaction of
-- its own. What is inserted meanwhile is copied by the trigger. What is left of a reserve is read again under its owner's
-- lock, which all writers take. It may be repeated after it was interrupted.
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
        SELECT array_agg(c.owner_id), array_agg(c.id), array_agg(c.status = 'CREATED'),
            array_agg(DISTINCT c.owner_id ORDER BY c.owner_id) FILTER (WHERE c.status = 'CREATED')
            INTO owners, ids, is_open, open_owners
        FROM (
            SELECT a.owner_id, a.id, a.status FROM bucket_action a WHERE (a.owner_id, a.id) > (last_owner, last_id)
            ORDER BY a.owner_id, a.id LIMIT 2000
        ) c;
        EXIT WHEN owners IS NULL;
        INSERT INTO bucket_action_key
        SELECT a.owner_id, bucket_action_key_of(a.type, a.request_id), a.id
        FROM unnest(owners, ids) c(owner_id, id) JOIN bucket_action a ON a.owner_id = c.owner_id AND a.id = c.id
        ON CONFLICT DO NOTHING;
        IF open_owners IS NOT NULL THEN
            COMMIT;
            PERFORM FROM owner o WHERE o.owner_id = ANY (open_owners) ORDER BY o.owner_id FOR NO KEY UPDATE;
            INSERT INTO open_bucket_action (
                owner_id, id, tenant, created_at, updated_at, expire_time, own_version, amount, remaining_amount,
                type, status, unit, bucket_id, party_account_id, request_id, initiated_by, details, content_hash
            )
            SELECT
                a.owner_id, a.id, a.tenant, a.created_at, a.updated_at, a.expire_time, a.own_version, a.amount,
                a.remaining_amount, a.type, a.status, a.unit, a.bucket_id, a.party_account_id, a.request_id,
                a.initiated_by, a.details, a.content_hash
            FROM unnest(owners, ids, is_open) c(owner_id, id, is_open)
            JOIN bucket_action a ON a.owner_id = c.owner_id AND a.id = c.id
            WHERE c.is_open AND a.status = 'CREATED'
            ON CONFLICT DO NOTHING;
        END IF;
        last_owner := owners[cardinality(owners)];
        last_id := ids[cardinality(ids)];
        COMMIT;
    END LOOP;
    -- Each reads the table, and stops nobody. A partition's constraints are to be valid.
    ALTER TABLE bucket_action VALIDATE CONSTRAINT bucket_action_partition;
    COMMIT;
    ALTER TABLE bucket_action VALIDATE CONSTRAINT bucket_action_type;
    COMMIT;
    ALTER TABLE bucket_action VALIDATE CONSTRAINT bucket_action_amount;
    COMMIT;
    ALTER TABLE bucket_action VALIDATE CONSTRAINT bucket_action_reserve;
    COMMIT;
    RESET enable_seqscan;
    RESET enable_hashjoin;
    RESET enable_mergejoin;
END
$migration$
