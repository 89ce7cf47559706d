-- No reserve that is open is left in `closed_bucket_action_before`, so nothing is deleted from it any more, by anybody.
DO $$
DECLARE
    grantee text;
BEGIN
    IF to_regclass('closed_bucket_action_before') IS NULL THEN
        RETURN;
    END IF;
    DROP TRIGGER IF EXISTS bucket_action_replace_open ON closed_bucket_action_before;
    DROP FUNCTION IF EXISTS replace_open_in_closed_bucket_action();
    FOR grantee IN
        SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END
        FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a
        WHERE c.oid = 'closed_bucket_action_before'::regclass AND a.grantee <> c.relowner
    LOOP
        EXECUTE format('REVOKE ALL ON closed_bucket_action_before FROM %s', grantee);
    END LOOP;
    -- Indexes of what was open, and one that no statement uses.
    DROP INDEX IF EXISTS bucket_action_due, bucket_action_due_first, bucket_action_party_account;
END $$;
ALTER TABLE closed_bucket_action ADD CONSTRAINT closed_bucket_action_status CHECK (status <> 'CREATED') NOT VALID;
