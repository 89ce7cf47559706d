-- Deletes the rows of what was open when the table became a partition, 1,000 at a time. The view does not show them, and
-- nobody waits for them. It may be repeated after it was interrupted.
DO $migration$
DECLARE
    deleted bigint;
BEGIN
    IF to_regclass('closed_allocation_before') IS NULL THEN
        RETURN;
    END IF;
    PERFORM set_config('enable_seqscan', 'off', false);
    LOOP
        DELETE FROM closed_allocation_before c WHERE c.ctid IN (
            SELECT o.ctid FROM closed_allocation_before o WHERE o.status = 'RESERVED' AND o.type = 'ALLOCATION' LIMIT 1000
        );
        GET DIAGNOSTICS deleted = ROW_COUNT;
        COMMIT;
        EXIT WHEN deleted = 0;
    END LOOP;
    LOOP
        DELETE FROM closed_allocation_before c WHERE c.ctid IN (
            SELECT o.ctid FROM closed_allocation_before o WHERE o.status = 'RESERVED' AND o.type = 'DEALLOCATION' LIMIT 1000
        );
        GET DIAGNOSTICS deleted = ROW_COUNT;
        COMMIT;
        EXIT WHEN deleted = 0;
    END LOOP;
    RESET enable_seqscan;
END
$migration$
