-- What earlier expiries gave back, as the journal has it. Such reserves are final: nobody waits for their rows.
UPDATE bucket_action a SET returned_amount = e.available_delta
FROM entry e
WHERE a.closed_cause = 'EXPIRE' AND e.owner_id = a.owner_id AND e.account_id = '00000000-0000-0000-0000-000000000001'
    AND e.unit = a.unit AND e.time = a.updated_at AND e.cause = 'EXPIRE' AND e.cause_id = a.id;
