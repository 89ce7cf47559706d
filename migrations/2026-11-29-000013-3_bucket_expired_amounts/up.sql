-- What earlier expiries gave back, as the journal has it. Such reserves are final: nobody waits for their rows. The buckets
-- are taken 100 at a time, each time in a transaction of its own. It may be repeated after it was interrupted.
DO $$
DECLARE
    last uuid := '00000000-0000-0000-0000-000000000000';
    chunk uuid[];
BEGIN
    LOOP
        chunk := ARRAY(SELECT b.owner_id FROM bucket b WHERE b.owner_id > last ORDER BY b.owner_id LIMIT 100);
        EXIT WHEN cardinality(chunk) = 0;
        UPDATE bucket_action a SET returned_amount = e.available_delta
        FROM entry e
        WHERE a.owner_id = ANY (chunk) AND a.closed_cause = 'EXPIRE' AND e.owner_id = a.owner_id
            AND e.account_id = '00000000-0000-0000-0000-000000000001' AND e.unit = a.unit AND e.time = a.updated_at
            AND e.cause = 'EXPIRE' AND e.cause_id = a.id;
        last := chunk[cardinality(chunk)];
        COMMIT;
    END LOOP;
END
$$;
