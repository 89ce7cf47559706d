-- Open and final bucket actions in tables of their own, as allocations have since 000015-1. Only a reserve is ever open: what
-- is open is little, and comes and goes; what is final is much and never changes. So the actions of past years can be in
-- partitions of their own, and closing a reserve deletes its row from a small table and appends it to a large one. Both have
-- the same columns, those of fixed width first, so that none needs padding. A deduction that keeps the rest of a reserve updates
-- its row, of which no index has what changes: with room in the page it needs no entry in any.
CREATE TABLE open_bucket_action (
    owner_id uuid NOT NULL,
    id uuid NOT NULL,
    tenant uuid NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    expire_time timestamptz,
    own_version bigint NOT NULL,
    receiver_version bigint,
    reserve_id uuid,
    receiver_owner_id uuid,
    closed_by uuid,
    amount numeric NOT NULL,
    remaining_amount numeric,
    returned_amount numeric,
    cost_amount numeric,
    type text NOT NULL,
    status text NOT NULL,
    unit text COLLATE "C" NOT NULL,
    bucket_id text COLLATE "C" NOT NULL,
    party_account_id text,
    request_id text NOT NULL,
    receiver_bucket_id text COLLATE "C",
    cost_owner text,
    closed_cause text,
    initiated_by text NOT NULL,
    details jsonb NOT NULL,
    content_hash bytea NOT NULL,
    CONSTRAINT open_bucket_action_pkey PRIMARY KEY (owner_id, id),
    CONSTRAINT open_bucket_action_reserve CHECK (
        type = 'RESERVE' AND status = 'CREATED' AND amount < 10000000000000000000000000000
        AND remaining_amount IS NOT NULL AND remaining_amount > 0 AND remaining_amount <= amount
        AND closed_cause IS NULL AND closed_by IS NULL AND reserve_id IS NULL AND returned_amount IS NULL
        AND receiver_owner_id IS NULL AND receiver_bucket_id IS NULL AND receiver_version IS NULL
        AND cost_amount IS NULL AND cost_owner IS NULL
    )
) WITH (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.1);
CREATE INDEX open_bucket_action_list ON open_bucket_action (tenant, id);
-- What is due of an owner; and whose is due first, for the sweep.
CREATE INDEX open_bucket_action_due ON open_bucket_action (owner_id, expire_time, id) WHERE expire_time IS NOT NULL;
CREATE INDEX open_bucket_action_due_first ON open_bucket_action (expire_time, owner_id) WHERE expire_time IS NOT NULL;

-- Partitioned by id, which begins with the time of creation: so an action is found by its key in one partition, and lists read
-- the partitions in their order. An action whose partition has not been made goes into the default one. A list by party
-- account begins with its buckets, and needs no index here.
CREATE TABLE closed_bucket_action (
    owner_id uuid NOT NULL,
    id uuid NOT NULL,
    tenant uuid NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    expire_time timestamptz,
    own_version bigint NOT NULL,
    receiver_version bigint,
    reserve_id uuid,
    receiver_owner_id uuid,
    closed_by uuid,
    amount numeric NOT NULL,
    remaining_amount numeric,
    returned_amount numeric,
    cost_amount numeric,
    type text NOT NULL,
    status text NOT NULL,
    unit text COLLATE "C" NOT NULL,
    bucket_id text COLLATE "C" NOT NULL,
    party_account_id text,
    request_id text NOT NULL,
    receiver_bucket_id text COLLATE "C",
    cost_owner text,
    closed_cause text,
    initiated_by text NOT NULL,
    details jsonb NOT NULL,
    content_hash bytea NOT NULL,
    CONSTRAINT closed_bucket_action_pkey PRIMARY KEY (owner_id, id),
    CONSTRAINT bucket_action_type CHECK (
        type IN ('TOPUP', 'ADJUST', 'TRANSFER', 'RESERVE', 'UNRESERVE', 'DEDUCT', 'WRITEOFF')
    ),
    CONSTRAINT bucket_action_status CHECK (
        CASE type WHEN 'RESERVE' THEN status IN ('CREATED', 'COMPLETED', 'CANCELLED') ELSE status = 'COMPLETED' END
    ),
    CONSTRAINT bucket_action_amount CHECK (
        amount <> 0 AND abs(amount) < 10000000000000000000000000000
        AND CASE type WHEN 'ADJUST' THEN true WHEN 'WRITEOFF' THEN amount < 0 ELSE amount > 0 END
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
            WHEN 'RESERVE' THEN
                reserve_id IS NULL
                AND (returned_amount IS NULL OR coalesce(closed_cause = 'EXPIRE', false) AND returned_amount > 0
                    AND returned_amount <= amount)
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
) PARTITION BY RANGE (id);
CREATE INDEX closed_bucket_action_list ON closed_bucket_action (tenant, id);
CREATE INDEX closed_bucket_action_receiver ON closed_bucket_action (receiver_owner_id, id)
    WHERE receiver_owner_id IS NOT NULL;
CREATE TABLE closed_bucket_action_default PARTITION OF closed_bucket_action DEFAULT;

-- The idempotency keys of actions, for ever: unique whatever partition an action is in, and whether or not it is still there.
-- The key is the beginning of a hash, which is as good as the texts and a third of their size.
CREATE TABLE bucket_action_key (
    owner_id uuid NOT NULL,
    key uuid NOT NULL,
    id uuid NOT NULL,
    CONSTRAINT bucket_action_key_pkey PRIMARY KEY (owner_id, key)
);
CREATE FUNCTION bucket_action_key_of(type text, request_id text) RETURNS uuid
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN encode(substr(sha256(convert_to(type || ' ' || request_id, 'UTF8')), 1, 16), 'hex')::uuid;

-- As the other tables that are written all the time, see 000009.
DO $$
DECLARE
    written record;
BEGIN
    FOR written IN
        SELECT attrelid::regclass AS name, attname FROM pg_attribute
        WHERE attrelid IN (
                'open_bucket_action'::regclass, 'closed_bucket_action'::regclass,
                'closed_bucket_action_default'::regclass, 'bucket_action_key'::regclass
            )
            AND attnum > 0 AND NOT attisdropped
    LOOP
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS 20', written.name, written.attname);
    END LOOP;
END $$;

-- Servers of the version before go on writing `bucket_action` while the next migration copies: what they do there is done in
-- the new tables too, in the same transaction. A reserve that is not copied yet is read after its last change. The trigger
-- uses the tables as its caller may, so whoever writes `bucket_action` may write these.
CREATE FUNCTION copy_open_bucket_action() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF NEW.status = 'CREATED' THEN
            UPDATE open_bucket_action o SET
                remaining_amount = NEW.remaining_amount, expire_time = NEW.expire_time, updated_at = NEW.updated_at
            WHERE o.owner_id = NEW.owner_id AND o.id = NEW.id;
        ELSE
            DELETE FROM open_bucket_action o WHERE o.owner_id = NEW.owner_id AND o.id = NEW.id;
        END IF;
        RETURN NULL;
    END IF;
    INSERT INTO bucket_action_key VALUES (NEW.owner_id, bucket_action_key_of(NEW.type, NEW.request_id), NEW.id);
    IF NEW.status = 'CREATED' THEN
        INSERT INTO open_bucket_action (
            owner_id, id, tenant, created_at, updated_at, expire_time, own_version, amount, remaining_amount, type,
            status, unit, bucket_id, party_account_id, request_id, initiated_by, details, content_hash
        ) VALUES (
            NEW.owner_id, NEW.id, NEW.tenant, NEW.created_at, NEW.updated_at, NEW.expire_time, NEW.own_version,
            NEW.amount, NEW.remaining_amount, NEW.type, NEW.status, NEW.unit, NEW.bucket_id, NEW.party_account_id,
            NEW.request_id, NEW.initiated_by, NEW.details, NEW.content_hash
        );
    END IF;
    RETURN NULL;
END
$$;
DO $$
DECLARE
    writer record;
BEGIN
    FOR writer IN
        SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS name
        FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a
        WHERE c.oid = 'bucket_action'::regclass AND a.privilege_type = 'INSERT' AND a.grantee <> c.relowner
    LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON open_bucket_action TO %s', writer.name);
        EXECUTE format('GRANT SELECT, INSERT ON closed_bucket_action, bucket_action_key TO %s', writer.name);
    END LOOP;
    -- By these, servers of the version before find what is open once `bucket_action` is a view: see 000020-3.
    IF EXISTS (SELECT FROM owner) OR EXISTS (SELECT FROM bucket_action) THEN
        CREATE INDEX open_bucket_action_by_request_id ON open_bucket_action (owner_id, request_id, type);
        CREATE INDEX open_bucket_action_by_id ON open_bucket_action (id);
    END IF;
    -- The table becomes the partition of what was created before the month after the next one. Nothing is read for that if
    -- a constraint says so; the next migration validates it.
    EXECUTE format(
        'ALTER TABLE bucket_action ADD CONSTRAINT bucket_action_partition CHECK (id < %L) NOT VALID',
        lpad(to_hex((extract(epoch FROM date_trunc('month', now() AT TIME ZONE 'UTC') + interval '2 months')
            * 1000)::bigint), 12, '0') || repeat('0', 20)
    );
END $$;
CREATE TRIGGER bucket_action_copy_open AFTER INSERT OR UPDATE ON bucket_action
    FOR EACH ROW EXECUTE FUNCTION copy_open_bucket_action();
