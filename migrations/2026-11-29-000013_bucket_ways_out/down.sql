DROP TABLE bucket_key;
ALTER TABLE bucket DROP COLUMN status_since;
ALTER TABLE bucket_action
    DROP CONSTRAINT bucket_action_type,
    DROP CONSTRAINT bucket_action_amount,
    DROP CONSTRAINT bucket_action_reserve,
    ADD CONSTRAINT bucket_action_type CHECK (
        type IN ('TOPUP', 'ADJUST', 'TRANSFER', 'RESERVE', 'UNRESERVE', 'DEDUCT')
    ) NOT VALID,
    ADD CONSTRAINT bucket_action_amount CHECK (
        amount <> 0 AND abs(amount) < 10000000000000000000000000000 AND (amount > 0 OR type = 'ADJUST')
    ) NOT VALID,
    ADD CONSTRAINT bucket_action_reserve CHECK (
        CASE type
            WHEN 'UNRESERVE' THEN reserve_id IS NOT NULL AND returned_amount IS NULL
            WHEN 'DEDUCT' THEN
                (reserve_id IS NULL) = (returned_amount IS NULL)
                AND coalesce(returned_amount >= 0 AND returned_amount < 10000000000000000000000000000, true)
            ELSE reserve_id IS NULL AND returned_amount IS NULL
        END
    ) NOT VALID;
