-- Prepaid buckets. Each is an owner of its own: the UUIDv5 of its tenant and id, which has its accounts in the bucket's
-- one unit. Lists cross owners, and so have indexes that start with the tenant.

-- Those before this one were narrower: what is stored need not be read again.
ALTER TABLE entry DROP CONSTRAINT entry_cause;
ALTER TABLE entry ADD CONSTRAINT entry_cause CHECK (
    cause IN ('ADJUST', 'RESERVE', 'CLEAR', 'RELEASE', 'CANCEL', 'EXPIRE', 'INSTANT', 'TOPUP', 'DEDUCT', 'UNRESERVE',
              'TRANSFER', 'COST', 'OPENING')
) NOT VALID;

-- `details` holds what only answers need. The version of its own account after the opening movement leads to the
-- balance that a replay answers.
CREATE TABLE bucket (
    owner_id uuid NOT NULL,
    tenant uuid NOT NULL,
    id text COLLATE "C" NOT NULL,
    name text,
    description text,
    status text NOT NULL,
    usage_type text,
    party_account_id text,
    unit text COLLATE "C" NOT NULL,
    valid_from timestamptz,
    valid_to timestamptz,
    details jsonb NOT NULL,
    initiated_by text NOT NULL,
    content_hash bytea NOT NULL,
    opened_amount numeric NOT NULL,
    opened_version bigint NOT NULL,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT bucket_pkey PRIMARY KEY (owner_id),
    CONSTRAINT bucket_status CHECK (status IN ('ACTIVE', 'SUSPENDED', 'EXPIRED', 'INACTIVE', 'CLOSED')),
    CONSTRAINT bucket_usage_type CHECK (usage_type IN ('MONETARY', 'VOICE', 'DATA', 'SMS', 'OTHER')),
    CONSTRAINT bucket_opened CHECK (
        opened_amount >= 0 AND opened_amount < 10000000000000000000000000000
        AND (opened_amount > 0) = (opened_version > 0)
    ),
    CONSTRAINT bucket_valid_for CHECK (valid_from <= valid_to),
    CONSTRAINT bucket_version CHECK (version >= 1)
) WITH (fillfactor = 85);
CREATE INDEX bucket_list ON bucket (tenant, created_at, id);
CREATE INDEX bucket_party_account ON bucket (tenant, party_account_id, created_at, id)
    WHERE party_account_id IS NOT NULL;
-- With the end of validity, which tells how an active one reads.
CREATE INDEX bucket_by_status ON bucket (tenant, status, created_at, id) INCLUDE (valid_to);
CREATE INDEX bucket_by_usage_type ON bucket (tenant, usage_type, created_at, id) WHERE usage_type IS NOT NULL;
-- What reads EXPIRED though it is stored as ACTIVE.
CREATE INDEX bucket_ending ON bucket (tenant, valid_to) WHERE status = 'ACTIVE' AND valid_to IS NOT NULL;

-- The products that a bucket serves, with the list's order, so that a list by product seeks.
CREATE TABLE bucket_product (
    owner_id uuid NOT NULL,
    product_id text COLLATE "C" NOT NULL,
    tenant uuid NOT NULL,
    bucket_id text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT bucket_product_pkey PRIMARY KEY (owner_id, product_id)
);
CREATE INDEX bucket_product_list ON bucket_product (tenant, product_id, created_at, bucket_id);

-- What became of each version of a bucket but the first. Many have no key: they are told apart by their versions.
CREATE TABLE bucket_update (
    owner_id uuid NOT NULL,
    version bigint NOT NULL,
    request_id text,
    content_hash bytea NOT NULL,
    own_version bigint NOT NULL,
    initiated_by text NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT bucket_update_pkey PRIMARY KEY (owner_id, version),
    CONSTRAINT bucket_update_request_id UNIQUE (owner_id, request_id),
    CONSTRAINT bucket_update_version CHECK (version >= 2)
);

-- Balance actions. A reserve holds `remaining_amount` until a movement closes it: another action's, or its expiry. A
-- deduct from a reserve, and an unreserve, name it; what a deduct gave back of it is `returned_amount`. A transfer
-- stands with its originator. The version of its own account after the action leads to the balance that a replay answers.
CREATE TABLE bucket_action (
    owner_id uuid NOT NULL,
    id uuid NOT NULL,
    tenant uuid NOT NULL,
    bucket_id text COLLATE "C" NOT NULL,
    party_account_id text,
    type text NOT NULL,
    status text NOT NULL,
    request_id text NOT NULL,
    content_hash bytea NOT NULL,
    unit text COLLATE "C" NOT NULL,
    amount numeric NOT NULL,
    remaining_amount numeric,
    expire_time timestamptz,
    reserve_id uuid,
    returned_amount numeric,
    receiver_owner_id uuid,
    receiver_bucket_id text COLLATE "C",
    receiver_version bigint,
    cost_amount numeric,
    cost_owner text,
    own_version bigint NOT NULL,
    closed_cause text,
    closed_by uuid,
    details jsonb NOT NULL,
    initiated_by text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT bucket_action_pkey PRIMARY KEY (owner_id, id),
    CONSTRAINT bucket_action_request_id UNIQUE (owner_id, request_id, type),
    CONSTRAINT bucket_action_type CHECK (
        type IN ('TOPUP', 'ADJUST', 'TRANSFER', 'RESERVE', 'UNRESERVE', 'DEDUCT')
    ),
    CONSTRAINT bucket_action_status CHECK (
        CASE type WHEN 'RESERVE' THEN status IN ('CREATED', 'COMPLETED', 'CANCELLED') ELSE status = 'COMPLETED' END
    ),
    CONSTRAINT bucket_action_amount CHECK (
        amount <> 0 AND abs(amount) < 10000000000000000000000000000 AND (amount > 0 OR type = 'ADJUST')
    ),
    CONSTRAINT bucket_action_remaining CHECK (
        CASE type
            WHEN 'RESERVE' THEN
                remaining_amount IS NOT NULL AND remaining_amount BETWEEN 0 AND amount
                AND remaining_amount < 10000000000000000000000000000 AND (remaining_amount > 0) = (status = 'CREATED')
            ELSE remaining_amount IS NULL AND expire_time IS NULL
        END
    ),
    CONSTRAINT bucket_action_closed CHECK (
        CASE
            WHEN type = 'RESERVE' AND status <> 'CREATED' THEN
                closed_by IS NOT NULL AND coalesce(closed_cause, '') IN ('UNRESERVE', 'DEDUCT', 'EXPIRE')
            ELSE closed_by IS NULL AND closed_cause IS NULL
        END
    ),
    CONSTRAINT bucket_action_reserve CHECK (
        CASE type
            WHEN 'UNRESERVE' THEN reserve_id IS NOT NULL AND returned_amount IS NULL
            WHEN 'DEDUCT' THEN
                (reserve_id IS NULL) = (returned_amount IS NULL)
                AND coalesce(returned_amount >= 0 AND returned_amount < 10000000000000000000000000000, true)
            ELSE reserve_id IS NULL AND returned_amount IS NULL
        END
    ),
    CONSTRAINT bucket_action_transfer CHECK (
        CASE type
            WHEN 'TRANSFER' THEN
                receiver_owner_id IS NOT NULL AND receiver_owner_id <> owner_id
                AND receiver_bucket_id IS NOT NULL AND receiver_version IS NOT NULL
            ELSE receiver_owner_id IS NULL AND receiver_bucket_id IS NULL AND receiver_version IS NULL
        END
    ),
    CONSTRAINT bucket_action_cost CHECK (
        CASE
            WHEN cost_amount IS NULL THEN cost_owner IS NULL
            ELSE
                type = 'TRANSFER' AND coalesce(cost_owner, '') IN ('ORIGINATOR', 'RECEIVER')
                AND cost_amount > 0 AND cost_amount < 10000000000000000000000000000
        END
    )
) WITH (fillfactor = 85);
-- Ids sort by creation, so these are also lists by time.
CREATE INDEX bucket_action_list ON bucket_action (tenant, id);
CREATE INDEX bucket_action_party_account ON bucket_action (tenant, party_account_id, id)
    WHERE party_account_id IS NOT NULL;
CREATE INDEX bucket_action_receiver ON bucket_action (receiver_owner_id, id) WHERE receiver_owner_id IS NOT NULL;
-- What is due of an owner; and whose is due first, for the sweep.
CREATE INDEX bucket_action_due ON bucket_action (owner_id, expire_time, id)
    WHERE status = 'CREATED' AND expire_time IS NOT NULL;
CREATE INDEX bucket_action_due_first ON bucket_action (expire_time, owner_id)
    WHERE status = 'CREATED' AND expire_time IS NOT NULL;
