-- The enterprises from $first to $last, each with a client, a connection to one partner and $currencies accounts, in
-- which $records open allocations of 1 lie in turns; the allocations themselves, and their entries, are copied in behind.
-- Every id follows from numbers, so that a load client and pgbench can make them up. It is a ledger like any other:
-- `earmark verify` holds it against L1 to L8. The two counts are empty where the program counts no reservations.

CREATE FUNCTION pg_temp.an_id(kind int, number bigint) RETURNS uuid IMMUTABLE LANGUAGE sql
RETURN ('018f0000-0000-7' || lpad(to_hex(kind), 3, '0') || '-8000-' || lpad(to_hex(number), 12, '0'))::uuid;

CREATE TEMPORARY TABLE account_of AS
SELECT n, c, pg_temp.an_id(0, n) AS owner_id, format('C%s', c) AS unit, pg_temp.an_id(1024, (n - 1) * 64 + c) AS adjustment_id,
       '$start'::timestamptz AS start,
       ($records + $currencies - c) / $currencies AS records
FROM generate_series($first, $last) n CROSS JOIN generate_series(1, $currencies) c
ORDER BY n, c;

-- Number 0 is the partner's.
CREATE TEMPORARY TABLE enterprise_of AS SELECT 0 AS n UNION ALL SELECT generate_series($first, $last);
INSERT INTO owner SELECT pg_temp.an_id(0, n) FROM enterprise_of ON CONFLICT DO NOTHING;
INSERT INTO enterprise
SELECT pg_temp.an_id(0, n), format('Enterprise %s', n), true, 1, now(), now() FROM enterprise_of ON CONFLICT DO NOTHING;
INSERT INTO client
SELECT pg_temp.an_id(1, n), pg_temp.an_id(0, n), format('Client %s', n), now(), now()
FROM generate_series($first, $last) n;
INSERT INTO partner VALUES (pg_temp.an_id(2, 0), pg_temp.an_id(0, 0), 'Partner', 'PARTNER', now(), now())
ON CONFLICT DO NOTHING;
INSERT INTO connection (id, client_id, partner_id, client_enterprise_id, partner_enterprise_id, name,
                        partners_connection_id, mode, allocations_enabled, deallocations_enabled, version, created_at,
                        updated_at)
SELECT pg_temp.an_id(3, n), pg_temp.an_id(1, n), pg_temp.an_id(2, 0), pg_temp.an_id(0, n), pg_temp.an_id(0, 0),
       format('Connection %s', n), '', 'CONFIRMED', true, true, 1, now(), now()
FROM generate_series($first, $last) n;

INSERT INTO adjustment
SELECT owner_id, adjustment_id, 'deposit ' || unit, unit, 1000000000000, 'Opening deposit', 'seed', '\x', 1,
       start + c * interval '1 microsecond'
FROM account_of;
INSERT INTO account
SELECT owner_id, account_id, unit, available, held, version$account_count
FROM account_of CROSS JOIN LATERAL (VALUES
    ('00000000-0000-0000-0000-000000000001'::uuid, 1000000000000 - records, records, 1 + records),
    ('00000000-0000-0000-0000-000000000002'::uuid, -1000000000000, 0, 1)
) a(account_id, available, held, version)
ORDER BY n, account_id, unit;
INSERT INTO entry (owner_id, account_id, unit, version, available_delta, held_delta, available, held, cause, cause_id,
                   time$entry_column)
SELECT owner_id, account_id, unit, 1, change, 0, change, 0, 'ADJUST', adjustment_id,
       start + c * interval '1 microsecond'$entry_count
FROM account_of CROSS JOIN LATERAL (VALUES
    ('00000000-0000-0000-0000-000000000001'::uuid, 1000000000000),
    ('00000000-0000-0000-0000-000000000002'::uuid, -1000000000000)
) a(account_id, change)
ORDER BY n, account_id, unit;

DROP TABLE account_of, enterprise_of;
