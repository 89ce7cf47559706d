-- What remains in a bucket can be written off when it is closed, and a reserve keeps what its expiry gave back. What is
-- stored fits the new constraints, so it is not read again.
ALTER TABLE bucket_action
    DROP CONSTRAINT bucket_action_type,
    DROP CONSTRAINT bucket_action_amount,
    DROP CONSTRAINT bucket_action_reserve,
    ADD CONSTRAINT bucket_action_type CHECK (
        type IN ('TOPUP', 'ADJUST', 'TRANSFER', 'RESERVE', 'UNRESERVE', 'DEDUCT', 'WRITEOFF')
    ) NOT VALID,
    ADD CONSTRAINT bucket_action_amount CHECK (
        amount <> 0 AND abs(amount) < 10000000000000000000000000000
        AND CASE type WHEN 'ADJUST' THEN true WHEN 'WRITEOFF' THEN amount < 0 ELSE amount > 0 END
    ) NOT VALID,
    ADD CONSTRAINT bucket_action_reserve CHECK (
        CASE type
            WHEN 'UNRESERVE' THEN reserve_id IS NOT NULL AND returned_amount IS NULL
            WHEN 'DEDUCT' THEN
                (reserve_id IS NULL) = (returned_amount IS NULL)
                AND coalesce(returned_amount >= 0 AND returned_amount < 10000000000000000000000000000, true)
            WHEN 'RESERVE' THEN
                reserve_id IS NULL
                AND (returned_amount IS NULL OR coalesce(closed_cause = 'EXPIRE', false) AND returned_amount > 0
                    AND returned_amount <= amount)
            ELSE reserve_id IS NULL AND returned_amount IS NULL
        END
    ) NOT VALID;

-- Unknown for buckets that older servers wrote.
ALTER TABLE bucket ADD COLUMN status_since timestamptz;

-- The keys of calls that leave no other record: updates that changed nothing, and closings.
CREATE TABLE bucket_key (
    owner_id uuid NOT NULL,
    rpc text NOT NULL,
    request_id text NOT NULL,
    content_hash bytea NOT NULL,
    own_version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT bucket_key_pkey PRIMARY KEY (owner_id, rpc, request_id),
    CONSTRAINT bucket_key_rpc CHECK (rpc IN ('UPDATE', 'CLOSE'))
);
