-- CreateAllocation as one data-modifying statement, which judges and writes; it commits by itself.
\set number random(:first, :last)
\set currency random(1, :currencies)
\set key random(1, 9223372036854775807)
WITH locked AS MATERIALIZED (
    SELECT o.owner_id, k.id AS connection_id, k.client_id, k.partner_id
    FROM owner o
    JOIN enterprise e ON e.id = o.owner_id AND e.oes_licensed
    JOIN connection k ON k.client_enterprise_id = o.owner_id AND k.mode = 'CONFIRMED' AND k.allocations_enabled
    WHERE o.owner_id = ('018f0000-0000-7000-8000-' || lpad(to_hex(:number::bigint), 12, '0'))::uuid
      AND k.id = ('018f0000-0000-7003-8000-' || lpad(to_hex(:number::bigint), 12, '0'))::uuid
    FOR NO KEY UPDATE OF o
), changed AS (
    UPDATE account a SET available = a.available - 1, held = a.held + 1, version = a.version + 1,
        reservation_count = a.reservation_count + 1
    FROM locked l
    WHERE a.owner_id = l.owner_id AND a.account_id = '00000000-0000-0000-0000-000000000001'
      AND a.unit = 'C' || :currency::text AND a.available >= 1
    RETURNING a.*, clock_timestamp() AS now, l.connection_id, l.client_id, l.partner_id,
        encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) placing
            substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6), 52, 1), 53, 1),
            'hex')::uuid AS id
), created AS (
    INSERT INTO allocation (owner_id, id, type, status, currency, quantity, connection_id, client_id, partner_id,
                            client_external_id, initiated_by, created_at, updated_at, content_hash,
                            opened_custody_version, opened_connection_version)
    SELECT owner_id, id, 'ALLOCATION', 'RESERVED', unit, 1, connection_id, client_id, partner_id, :key::text, 'bench', now,
           now, '\x9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08', version,
           coalesce((SELECT k.version FROM account k WHERE k.owner_id = changed.owner_id
                     AND k.account_id = changed.connection_id AND k.unit = changed.unit), 0)
    FROM changed
)
INSERT INTO entry (owner_id, account_id, unit, version, available_delta, held_delta, available, held, cause, cause_id,
                   time, reservation_count)
SELECT owner_id, account_id, unit, version, -1, 1, available, held, 'RESERVE', id, now, reservation_count
FROM changed;
