-- The journal in partitions by time, so that old months can be sealed, archived and removed without touching the new ones,
-- and no relation grows for ever. A row that no partition is made for goes to `entry_default`: a write is never refused.
--
-- A journal with rows becomes the partition `entry_legacy`, which ends at the begin of the month after the next. Nothing is
-- copied, and servers go on:
-- 1. A CHECK says that it holds nothing from that time on. It is validated without stopping anybody.
-- 2. One short transaction renames the table, makes the partitioned one, copies its owner and privileges, and attaches the
--    old one. With the CHECK and both indexes there is nothing to read or to build. It waits for its lock no longer than any
--    migration, and is tried again; what step 1 has done then stays.
-- An empty journal is dropped and made anew instead, in the same transaction.
--
-- Servers of the version before may go on after it: their statements are analysed anew, and find the partitioned table by
-- its name. They look entries up by version, so `entry_legacy` keeps its primary key and `entry_legacy_time`, which this
-- version does not use; the time until it ends, a month at least, is enough to replace these servers. A migration of a later
-- version may drop both: ALTER TABLE entry_legacy DROP CONSTRAINT entry_legacy_pkey, DROP INDEX CONCURRENTLY entry_legacy_time.
--
-- It may be repeated after it was interrupted. One statement in all: only so can it end transactions.
DO $migration$
DECLARE
    newest timestamptz;
    cut timestamptz;
    range_check text;
    stale record;
    granted record;
    is_empty boolean;
BEGIN
    -- The table that is already partitioned is that of an earlier, interrupted run of which only the record is missing.
    IF (SELECT relkind FROM pg_class WHERE oid = 'entry'::regclass) = 'p' THEN
        RETURN;
    END IF;

    -- A clock that ran ahead may have written entries of a later month.
    SELECT max(e.time) INTO newest FROM entry e;
    cut := (date_trunc('month', greatest(newest, clock_timestamp()) AT TIME ZONE 'UTC') + interval '2 months')
        AT TIME ZONE 'UTC';
    range_check := 'entry_before_' || to_char(cut AT TIME ZONE 'UTC', 'YYYYMMDD');
    COMMIT;

    -- Of an earlier run, in another month.
    FOR stale IN
        SELECT conname FROM pg_constraint
        WHERE conrelid = 'entry'::regclass AND conname LIKE 'entry\_before\_%' AND conname <> range_check
    LOOP
        PERFORM set_config('lock_timeout', '50ms', true);
        EXECUTE format('ALTER TABLE entry DROP CONSTRAINT %I', stale.conname);
    END LOOP;
    COMMIT;
    IF NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = 'entry'::regclass AND conname = range_check) THEN
        PERFORM set_config('lock_timeout', '50ms', true);
        EXECUTE format('ALTER TABLE entry ADD CONSTRAINT %I CHECK (time < %L) NOT VALID', range_check, cut);
    END IF;
    COMMIT;
    -- A valid one is not read again.
    EXECUTE format('ALTER TABLE entry VALIDATE CONSTRAINT %I', range_check);
    ALTER TABLE entry VALIDATE CONSTRAINT entry_cause;
    COMMIT;

    PERFORM set_config('lock_timeout', '50ms', true);
    LOCK TABLE entry IN ACCESS EXCLUSIVE MODE;
    is_empty := NOT EXISTS (SELECT FROM entry);
    DROP TRIGGER entry_count_reservations ON entry;
    DROP FUNCTION reservation_change(entry);
    ALTER TABLE entry RENAME TO entry_legacy;
    ALTER TABLE entry_legacy RENAME CONSTRAINT entry_pkey TO entry_legacy_pkey;
    ALTER INDEX entry_time RENAME TO entry_legacy_time;
    ALTER INDEX entry_key RENAME TO entry_legacy_key;
    ALTER INDEX entry_by_time RENAME TO entry_legacy_by_time;

    -- What has a fixed length comes first, so that nothing is lost to alignment.
    CREATE TABLE entry (
        owner_id uuid NOT NULL,
        account_id uuid NOT NULL,
        time timestamptz NOT NULL,
        version bigint NOT NULL,
        reservation_count bigint NOT NULL,
        cause_id uuid NOT NULL,
        unit text COLLATE "C" NOT NULL,
        cause text NOT NULL,
        available_delta numeric NOT NULL,
        held_delta numeric NOT NULL,
        available numeric NOT NULL,
        held numeric NOT NULL,
        CONSTRAINT entry_version CHECK (version >= 1),
        CONSTRAINT entry_reservation_count CHECK (reservation_count IS NOT NULL AND reservation_count >= 0),
        CONSTRAINT entry_in_range CHECK (
            abs(available_delta) < 10000000000000000000000000000 AND abs(held_delta) < 10000000000000000000000000000
            AND abs(available) < 10000000000000000000000000000 AND abs(held) < 10000000000000000000000000000
        ),
        CONSTRAINT entry_cause CHECK (
            cause IN ('ADJUST', 'RESERVE', 'CLEAR', 'RELEASE', 'CANCEL', 'EXPIRE', 'INSTANT', 'TOPUP', 'DEDUCT', 'UNRESERVE',
                      'TRANSFER', 'COST', 'OPENING')
        )
    ) PARTITION BY RANGE (time);
    -- No primary key: a partition can have only one, and that of `entry_legacy` is another.
    CREATE UNIQUE INDEX entry_key ON entry (owner_id, account_id, unit, time, version);
    CREATE INDEX entry_by_time ON entry (owner_id, time);
    CREATE TABLE entry_default PARTITION OF entry DEFAULT;
    FOR stale IN
        SELECT attrelid::regclass AS name, attname FROM pg_attribute
        WHERE attrelid IN ('entry'::regclass, 'entry_default'::regclass) AND attnum > 0
    LOOP
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS 20', stale.name, stale.attname);
    END LOOP;

    -- Servers read and write by the partitioned table alone, and need no privileges on a partition.
    EXECUTE format('ALTER TABLE entry OWNER TO %I',
        (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = 'entry_legacy'::regclass));
    EXECUTE format('ALTER TABLE entry_default OWNER TO %I',
        (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = 'entry_legacy'::regclass));
    FOR granted IN
        SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS name,
            a.privilege_type, a.is_grantable
        FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a
        WHERE c.oid = 'entry_legacy'::regclass AND a.grantee <> c.relowner
    LOOP
        EXECUTE format('GRANT %s ON entry TO %s%s', granted.privilege_type, granted.name,
            CASE WHEN granted.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END);
        EXECUTE format('REVOKE ALL ON entry_legacy FROM %s CASCADE', granted.name);
    END LOOP;

    IF is_empty THEN
        DROP TABLE entry_legacy;
    ELSE
        EXECUTE format('ALTER TABLE entry ATTACH PARTITION entry_legacy FOR VALUES FROM (MINVALUE) TO (%L)', cut);
        -- Implied by the bounds.
        EXECUTE format('ALTER TABLE entry_legacy DROP CONSTRAINT %I', range_check);
        -- Otherwise Postgres has built others, with everybody waiting.
        IF (SELECT count(*) FROM pg_inherits
            WHERE (inhparent, inhrelid) IN (('entry_key'::regclass, 'entry_legacy_key'::regclass),
                                            ('entry_by_time'::regclass, 'entry_legacy_by_time'::regclass))) <> 2 THEN
            RAISE EXCEPTION 'the indexes of the journal are not those that 000016-1 and 000016-2 have made';
        END IF;
    END IF;

    -- The functions of 000012-4, for entries without a count. A row is of the type of its partition: so the columns that are
    -- needed are passed one by one. The entry before is the newest one, which the index finds by time.
    CREATE FUNCTION reservation_change(of_owner uuid, of_cause text, of_id uuid, held_delta numeric) RETURNS bigint
    STABLE LANGUAGE sql AS $$
        SELECT CASE
            WHEN held_delta = 0 THEN 0
            WHEN held_delta > 0 THEN 1
            WHEN of_cause = 'DEDUCT' AND NOT EXISTS (
                SELECT FROM bucket_action d JOIN bucket_action r ON r.owner_id = d.owner_id AND r.id = d.reserve_id
                WHERE d.owner_id = of_owner AND d.id = of_id AND r.closed_by = d.id
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
            AND e.time < NEW.time
        ORDER BY e.time DESC, e.version DESC LIMIT 1;
        IF NOT FOUND THEN
            before := 0;
        END IF;
        NEW.reservation_count := before + reservation_change(NEW.owner_id, NEW.cause, NEW.cause_id, NEW.held_delta);
        -- The account was written before its entries, and has the version of the last of them.
        UPDATE account a SET reservation_count = NEW.reservation_count
        WHERE a.owner_id = NEW.owner_id AND a.account_id = NEW.account_id AND a.unit = NEW.unit
            AND a.version = NEW.version AND a.reservation_count <> NEW.reservation_count;
        RETURN NEW;
    END
    $$;
    CREATE TRIGGER entry_count_reservations BEFORE INSERT ON entry
        FOR EACH ROW WHEN (NEW.reservation_count IS NULL) EXECUTE FUNCTION count_reservations();
    COMMIT;
END
$migration$;
