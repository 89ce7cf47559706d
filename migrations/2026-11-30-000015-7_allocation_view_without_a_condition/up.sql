-- Since no final record is open any more, the view needs no condition, which would keep the planner from the order of the
-- partitions' keys.
DO $$
BEGIN
    IF EXISTS (
        SELECT FROM pg_attribute WHERE attrelid = 'allocation'::regclass AND attname = 'ctid' AND attnum > 0
    ) THEN
        CREATE OR REPLACE VIEW allocation AS
            SELECT *, id AS ctid FROM open_allocation UNION ALL SELECT *, id FROM closed_allocation;
    END IF;
END $$;
