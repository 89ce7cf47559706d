DO $$
DECLARE
    written record;
BEGIN
    FOR written IN
        SELECT attrelid::regclass AS name, attname FROM pg_attribute
        WHERE attrelid IN ('account'::regclass, 'entry'::regclass, 'allocation'::regclass, 'bucket_action'::regclass)
            AND attnum > 0 AND NOT attisdropped
    LOOP
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS -1', written.name, written.attname);
    END LOOP;
END $$;
ALTER INDEX allocation_id ALTER COLUMN 1 SET STATISTICS -1;
