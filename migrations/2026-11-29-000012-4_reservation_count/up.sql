-- The number of open reservations (of a bucket: open reserves) that hold value of an account, counted on from entry to
-- entry, so that a balance at any moment has it without counting.
--
-- Servers of the version before may go on while this runs, and after it until they are replaced. They do not write the
-- column. So the trigger counts for them: it fires for entries that come without a count, which those of newer servers
-- never do, and sets the account's count too, in the same transaction and under the lock of the owner. A migration of a
-- later version drops it.
--
-- What is stored is counted in steps, each a transaction of its own. Nobody waits, but for the instant that ALTER TABLE
-- takes, and for a part of step 2, which takes some ten milliseconds:
-- 1. All entries in the order of their key, 5,000 at a time, without a lock: entries never change. An entry that is
--    committed meanwhile behind one that is not counted yet stays without a count.
-- 2. The owners, 100 at a time, whose rows are locked as writers do: what step 1 has left of their accounts, and the
--    accounts. From then on the trigger finds the entry before each counted.
-- It may be repeated after it was interrupted. One statement in all: only so can it end transactions.
DO $migration$
DECLARE
    e entry;
    a account;
    last entry;
    counted bigint;
    is_done boolean;
    chunk uuid[];
BEGIN
    PERFORM set_config('enable_seqscan', 'off', false), set_config('enable_hashjoin', 'off', false),
        set_config('enable_mergejoin', 'off', false);

    -- An expression has statistics of its own, from as many rows as the greediest column wants.
    ALTER INDEX allocation_open_in_custody ALTER COLUMN 3 SET STATISTICS 20;
    ALTER INDEX allocation_open_on_connection ALTER COLUMN 4 SET STATISTICS 20;
    COMMIT;
    -- The default is for servers that insert accounts without it.
    ALTER TABLE account ADD COLUMN IF NOT EXISTS reservation_count bigint NOT NULL DEFAULT 0,
        ALTER COLUMN reservation_count SET STATISTICS 20,
        DROP CONSTRAINT IF EXISTS account_reservation_count,
        ADD CONSTRAINT account_reservation_count CHECK (reservation_count >= 0) NOT VALID;
    COMMIT;
    ALTER TABLE entry ADD COLUMN IF NOT EXISTS reservation_count bigint,
        ALTER COLUMN reservation_count SET STATISTICS 20,
        DROP CONSTRAINT IF EXISTS entry_reservation_count;
    COMMIT;

    -- What an entry adds to the count. A deduction from a reserve closes it, or takes a part of it.
    CREATE OR REPLACE FUNCTION reservation_change(of_entry entry) RETURNS bigint STABLE LANGUAGE sql AS $$
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
    CREATE OR REPLACE TRIGGER entry_count_reservations BEFORE INSERT ON entry
        FOR EACH ROW WHEN (NEW.reservation_count IS NULL) EXECUTE FUNCTION count_reservations();
    COMMIT;

    last := NULL;
    counted := 0;
    LOOP
        is_done := true;
        FOR e IN
            SELECT * FROM entry n
            WHERE (n.owner_id, n.account_id, n.unit, n.version) > (
                coalesce(last.owner_id, '00000000-0000-0000-0000-000000000000'),
                coalesce(last.account_id, '00000000-0000-0000-0000-000000000000'),
                coalesce(last.unit, ''), coalesce(last.version, 0)
            )
            ORDER BY n.owner_id, n.account_id, n.unit, n.version LIMIT 5000
        LOOP
            IF (e.owner_id, e.account_id, e.unit) IS DISTINCT FROM (last.owner_id, last.account_id, last.unit) THEN
                counted := 0;
            END IF;
            counted := coalesce(e.reservation_count, counted + reservation_change(e));
            IF e.reservation_count IS NULL THEN
                UPDATE entry t SET reservation_count = counted
                WHERE t.owner_id = e.owner_id AND t.account_id = e.account_id AND t.unit = e.unit AND t.version = e.version;
            END IF;
            last := e;
            is_done := false;
        END LOOP;
        EXIT WHEN is_done;
        COMMIT;
    END LOOP;

    last.owner_id := '00000000-0000-0000-0000-000000000000';
    LOOP
        SELECT array_agg(o.owner_id) INTO chunk FROM (
            SELECT o.owner_id FROM owner o WHERE o.owner_id > last.owner_id ORDER BY o.owner_id LIMIT 100
        ) o;
        EXIT WHEN chunk IS NULL;
        PERFORM FROM owner o WHERE o.owner_id = ANY(chunk) ORDER BY o.owner_id FOR NO KEY UPDATE;
        FOR a IN SELECT * FROM account n WHERE n.owner_id = ANY(chunk) LOOP
            SELECT * INTO last FROM entry n
            WHERE n.owner_id = a.owner_id AND n.account_id = a.account_id AND n.unit = a.unit
                AND n.reservation_count IS NOT NULL
            ORDER BY n.version DESC LIMIT 1;
            counted := coalesce(last.reservation_count, 0);
            FOR e IN
                SELECT * FROM entry n
                WHERE n.owner_id = a.owner_id AND n.account_id = a.account_id AND n.unit = a.unit
                    AND n.version > coalesce(last.version, 0)
                ORDER BY n.version
            LOOP
                counted := counted + reservation_change(e);
                UPDATE entry t SET reservation_count = counted
                WHERE t.owner_id = e.owner_id AND t.account_id = e.account_id AND t.unit = e.unit AND t.version = e.version;
            END LOOP;
            IF a.reservation_count <> counted THEN
                UPDATE account t SET reservation_count = counted
                WHERE t.owner_id = a.owner_id AND t.account_id = a.account_id AND t.unit = a.unit;
            END IF;
        END LOOP;
        last.owner_id := chunk[cardinality(chunk)];
        COMMIT;
    END LOOP;

    -- Validated without stopping anybody; with it, SET NOT NULL reads nothing.
    ALTER TABLE entry ADD CONSTRAINT entry_reservation_count CHECK (
        reservation_count IS NOT NULL AND reservation_count >= 0
    ) NOT VALID;
    COMMIT;
    ALTER TABLE account VALIDATE CONSTRAINT account_reservation_count;
    ALTER TABLE entry VALIDATE CONSTRAINT entry_reservation_count;
    COMMIT;
    ALTER TABLE entry ALTER COLUMN reservation_count SET NOT NULL;
    COMMIT;
    RESET enable_seqscan;
    RESET enable_hashjoin;
    RESET enable_mergejoin;
END
$migration$
