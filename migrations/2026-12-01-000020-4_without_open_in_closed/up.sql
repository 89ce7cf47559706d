-- Deletes the rows of what was open when the table became a partition. The view does not show them. Each of these reserves is
-- in `open_bucket_action`, or has become final since, and its row has made way: so what is open leads to them, 1,000 at a
-- time, each time in a transaction of its own. The owners are locked first, as by all writers, so that none of them waits
-- for a row while it has another. It may be repeated after it was interrupted.
DO $migration$
DECLARE
    last_owner uuid := '00000000-0000-0000-0000-000000000000';
    last_id uuid := '00000000-0000-0000-0000-000000000000';
    owners uuid[];
    ids uuid[];
BEGIN
    IF to_regclass('closed_bucket_action_before') IS NULL THEN
        RETURN;
    END IF;
    PERFORM set_config('enable_seqscan', 'off', false), set_config('enable_hashjoin', 'off', false),
        set_config('enable_mergejoin', 'off', false);
    LOOP
        SELECT array_agg(o.owner_id), array_agg(o.id) INTO owners, ids
        FROM (
            SELECT a.owner_id, a.id FROM open_bucket_action a WHERE (a.owner_id, a.id) > (last_owner, last_id)
            ORDER BY a.owner_id, a.id LIMIT 1000
        ) o;
        EXIT WHEN owners IS NULL;
        PERFORM FROM owner o WHERE o.owner_id = ANY (owners) ORDER BY o.owner_id FOR NO KEY UPDATE;
        DELETE FROM closed_bucket_action_before c USING unnest(owners, ids) o(owner_id, id)
        WHERE c.owner_id = o.owner_id AND c.id = o.id AND c.status = 'CREATED';
        last_owner := owners[cardinality(owners)];
        last_id := ids[cardinality(ids)];
        COMMIT;
    END LOOP;
    RESET enable_seqscan;
    RESET enable_hashjoin;
    RESET enable_mergejoin;
END
$migration$
