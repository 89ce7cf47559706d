-- Since no final action is open any more, the view needs no condition, which would keep the planner from the order of the
-- partitions' keys.
DO $$
BEGIN
    IF EXISTS (
        SELECT FROM pg_attribute WHERE attrelid = 'bucket_action'::regclass AND attname = 'ctid' AND attnum > 0
    ) THEN
        CREATE OR REPLACE VIEW bucket_action AS
            SELECT *, id AS ctid FROM open_bucket_action UNION ALL SELECT *, id FROM closed_bucket_action;
    END IF;
END $$;
