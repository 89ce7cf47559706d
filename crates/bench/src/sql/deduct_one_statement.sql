-- DeductBalance as one data-modifying statement, which judges and writes; it commits by itself. A bucket is found by its
-- place in the tenant's list: pgbench has no UUIDv5 to make its owner's id up, and so one look into an index does for both.
-- The table's own check keeps a bucket from being overdrawn.
\set number random(1, :buckets)
\set key random(1, 9223372036854775807)
WITH locked AS MATERIALIZED (
    SELECT b.owner_id, b.tenant, b.id AS bucket_id, b.party_account_id, b.unit
    FROM bucket b JOIN owner o ON o.owner_id = b.owner_id
    WHERE b.tenant = '018f0000-0000-7004-8000-000000000000'
      AND b.created_at = '2026-01-01T00:00:00Z'::timestamptz + :number::bigint * interval '1 microsecond'
      AND b.id = 'bucket-' || :number::text
      AND b.status = 'ACTIVE' AND coalesce(b.valid_from <= clock_timestamp(), true)
      AND coalesce(b.valid_to >= clock_timestamp(), true)
    FOR NO KEY UPDATE OF o
), stamped AS MATERIALIZED (
    SELECT l.*, clock_timestamp() AS now,
        encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) placing
            substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6), 52, 1), 53, 1),
            'hex')::uuid AS action_id
    FROM locked l
), changed AS (
    UPDATE account a
    SET available = a.available + CASE a.account_id WHEN '00000000-0000-0000-0000-000000000001' THEN -1 ELSE 1 END,
        version = a.version + 1
    FROM stamped l
    WHERE a.owner_id = l.owner_id AND a.unit = l.unit
      AND a.account_id IN ('00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000002')
    RETURNING a.*, l.now, l.action_id, l.tenant, l.bucket_id, l.party_account_id
), keyed AS (
    INSERT INTO bucket_action_key
    SELECT owner_id, bucket_action_key_of('DEDUCT', :key::text), action_id FROM changed WHERE account_id = '00000000-0000-0000-0000-000000000001'
), made AS (
    INSERT INTO closed_bucket_action (
        owner_id, id, tenant, bucket_id, party_account_id, type, status, request_id, content_hash, unit,
        amount, own_version, details, initiated_by, created_at, updated_at
    )
    SELECT owner_id, action_id, tenant, bucket_id, party_account_id, 'DEDUCT', 'COMPLETED', :key::text,
           '\x9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08', unit, 1, version, '{}', 'bench', now, now
    FROM changed WHERE account_id = '00000000-0000-0000-0000-000000000001'
)
INSERT INTO entry (owner_id, account_id, unit, version, available_delta, held_delta, available, held, cause, cause_id,
                   time, reservation_count)
SELECT owner_id, account_id, unit, version,
       CASE account_id WHEN '00000000-0000-0000-0000-000000000001' THEN -1 ELSE 1 END, 0, available, held, 'DEDUCT',
       action_id, now, reservation_count
FROM changed;
