-- No record that is open is left in `closed_allocation_before`, so nothing is deleted from it any more, by anybody.
DO $$
DECLARE
    grantee text;
BEGIN
    IF to_regclass('closed_allocation_before') IS NULL THEN
        RETURN;
    END IF;
    DROP TRIGGER IF EXISTS allocation_replace_open ON closed_allocation_before;
    DROP FUNCTION IF EXISTS replace_open_in_closed();
    FOR grantee IN
        SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END
        FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a
        WHERE c.oid = 'closed_allocation_before'::regclass AND a.grantee <> c.relowner
    LOOP
        EXECUTE format('REVOKE ALL ON closed_allocation_before FROM %s', grantee);
    END LOOP;
    -- Indexes of what was open.
    DROP INDEX IF EXISTS allocation_open_in_custody, allocation_open_on_connection, allocation_due, allocation_due_first;
END $$;
ALTER TABLE closed_allocation ADD CONSTRAINT closed_allocation_status CHECK (status <> 'RESERVED') NOT VALID;
