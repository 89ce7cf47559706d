-- CreateAllocation as one interactive transaction: what a service by hand does, a round trip for each statement.
\set number random(:first, :last)
\set currency random(1, :currencies)
\set key random(1, 9223372036854775807)
BEGIN;
SELECT owner_id AS owner FROM owner WHERE owner_id = ('018f0000-0000-7000-8000-' || lpad(to_hex(:number::bigint), 12, '0'))::uuid FOR NO KEY UPDATE \gset
SELECT e.oes_licensed AS licensed, k.mode AS mode, k.allocations_disabled_reason AS disabled, k.id AS connection, k.client_id AS client, k.partner_id AS partner FROM connection k JOIN enterprise e ON e.id = k.client_enterprise_id WHERE k.id = ('018f0000-0000-7003-8000-' || lpad(to_hex(:number::bigint), 12, '0'))::uuid AND k.client_enterprise_id = :owner::uuid \gset
SELECT id FROM allocation WHERE owner_id = :owner::uuid AND client_external_id = :key::text AND type = 'ALLOCATION';
SELECT a.available - 1 AS available, a.held + 1 AS held, a.version + 1 AS version, coalesce(k.version, 0) AS connection_version, a.unit AS unit, clock_timestamp() AS now, encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) placing substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6), 52, 1), 53, 1), 'hex')::uuid AS id FROM account a LEFT JOIN account k ON k.owner_id = a.owner_id AND k.account_id = :connection::uuid AND k.unit = a.unit WHERE a.owner_id = :owner::uuid AND a.account_id = '00000000-0000-0000-0000-000000000001' AND a.unit = 'C' || :currency::text AND a.available >= 1 \gset
INSERT INTO allocation (owner_id, id, type, status, currency, quantity, connection_id, client_id, partner_id, client_external_id, initiated_by, created_at, updated_at, content_hash, opened_custody_version, opened_connection_version) VALUES (:owner::uuid, :id::uuid, 'ALLOCATION', 'RESERVED', :unit::text, 1, :connection::uuid, :client::uuid, :partner::uuid, :key::text, 'bench', :now::timestamptz, :now::timestamptz, '\x9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08', :version::bigint, :connection_version::bigint);
INSERT INTO entry (owner_id, account_id, unit, version, available_delta, held_delta, available, held, cause, cause_id, time) VALUES (:owner::uuid, '00000000-0000-0000-0000-000000000001', :unit::text, :version::bigint, -1, 1, :available::numeric, :held::numeric, 'RESERVE', :id::uuid, :now::timestamptz);
UPDATE account SET available = :available::numeric, held = :held::numeric, version = :version::bigint WHERE owner_id = :owner::uuid AND account_id = '00000000-0000-0000-0000-000000000001' AND unit = :unit::text;
COMMIT;
