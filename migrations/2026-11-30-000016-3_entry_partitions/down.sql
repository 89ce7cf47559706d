-- Copies all rows into a table as it was before. One statement in all, so that it is one transaction.
DO $migration$
DECLARE
    granted record;
    written record;
BEGIN
    DROP TRIGGER entry_count_reservations ON entry;
    DROP FUNCTION reservation_change(uuid, text, uuid, numeric);
    ALTER TABLE entry RENAME TO entry_in_partitions;
    CREATE TABLE entry (
        owner_id uuid NOT NULL,
        account_id uuid NOT NULL,
        unit text COLLATE "C" NOT NULL,
        version bigint NOT NULL,
        available_delta numeric NOT NULL,
        held_delta numeric NOT NULL,
        available numeric NOT NULL,
        held numeric NOT NULL,
        cause text NOT NULL,
        cause_id uuid NOT NULL,
        time timestamptz NOT NULL,
        reservation_count bigint NOT NULL,
        CONSTRAINT entry_version CHECK (version >= 1),
        CONSTRAINT entry_in_range CHECK (
            abs(available_delta) < 10000000000000000000000000000 AND abs(held_delta) < 10000000000000000000000000000
            AND abs(available) < 10000000000000000000000000000 AND abs(held) < 10000000000000000000000000000
        ),
        CONSTRAINT entry_cause CHECK (
            cause IN ('ADJUST', 'RESERVE', 'CLEAR', 'RELEASE', 'CANCEL', 'EXPIRE', 'INSTANT', 'TOPUP', 'DEDUCT', 'UNRESERVE',
                      'TRANSFER', 'COST', 'OPENING')
        ),
        CONSTRAINT entry_reservation_count CHECK (reservation_count IS NOT NULL AND reservation_count >= 0)
    );
    INSERT INTO entry SELECT owner_id, account_id, unit, version, available_delta, held_delta, available, held, cause,
        cause_id, time, reservation_count
    FROM entry_in_partitions;
    FOR granted IN
        SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS name,
            a.privilege_type, a.is_grantable
        FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a
        WHERE c.oid = 'entry_in_partitions'::regclass AND a.grantee <> c.relowner
    LOOP
        EXECUTE format('GRANT %s ON entry TO %s%s', granted.privilege_type, granted.name,
            CASE WHEN granted.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END);
    END LOOP;
    DROP TABLE entry_in_partitions;
    ALTER TABLE entry ADD CONSTRAINT entry_pkey PRIMARY KEY (owner_id, account_id, unit, version);
    CREATE INDEX entry_time ON entry (owner_id, time, account_id, unit);
    CREATE UNIQUE INDEX entry_key ON entry (owner_id, account_id, unit, time, version);
    CREATE INDEX entry_by_time ON entry (owner_id, time);
    FOR written IN
        SELECT attname FROM pg_attribute WHERE attrelid = 'entry'::regclass AND attnum > 0
    LOOP
        EXECUTE format('ALTER TABLE entry ALTER COLUMN %I SET STATISTICS 20', written.attname);
    END LOOP;

    CREATE FUNCTION reservation_change(of_entry entry) RETURNS bigint STABLE LANGUAGE sql AS $$
        SELECT CASE
            WHEN of_entry.held_delta = 0 THEN 0
            WHEN of_entry.held_delta > 0 THEN 1
            WHEN of_entry.cause = 'DEDUCT' AND NOT EXISTS (
                SELECT FROM bucket_action d JOIN bucket_action r ON r.owner_id = d.owner_id AND r.id = d.reserve_id
                WHERE d.owner_id = of_entry.owner_id AND d.id = of_entry.cause_id AND r.closed_by = d.id
            ) THEN 0
            ELSE -1
        END
    $$;
    CREATE OR REPLACE FUNCTION count_reservations() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        before bigint;
    BEGIN
        SELECT e.reservation_count INTO before FROM entry e
        WHERE e.owner_id = NEW.owner_id AND e.account_id = NEW.account_id AND e.unit = NEW.unit
            AND e.version < NEW.version
        ORDER BY e.version DESC LIMIT 1;
        IF NOT FOUND THEN
            before := 0;
        END IF;
        -- NULL behind an entry that is not counted yet.
        NEW.reservation_count := before + reservation_change(NEW);
        -- The account was written before its entries, and has the version of the last of them.
        UPDATE account a SET reservation_count = NEW.reservation_count
        WHERE a.owner_id = NEW.owner_id AND a.account_id = NEW.account_id AND a.unit = NEW.unit
            AND a.version = NEW.version AND a.reservation_count <> NEW.reservation_count;
        RETURN NEW;
    END
    $$;
    CREATE TRIGGER entry_count_reservations BEFORE INSERT ON entry
        FOR EACH ROW WHEN (NEW.reservation_count IS NULL) EXECUTE FUNCTION count_reservations();
END
$migration$;
