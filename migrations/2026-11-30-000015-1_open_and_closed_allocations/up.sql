-- Open and final allocations in tables of their own. What is open is little, and comes and goes; what is final is much and
-- never changes. So closing a record deletes its row from a small table and appends it to a large one, rather than to write
-- a new version of a row with an entry in each index of the large one. Both have the same columns, those of fixed width
-- first, so that none needs padding.
CREATE TABLE open_allocation (
    owner_id uuid NOT NULL,
    id uuid NOT NULL,
    connection_id uuid NOT NULL,
    client_id uuid NOT NULL,
    partner_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    expire_time timestamptz,
    opened_custody_version bigint NOT NULL,
    opened_connection_version bigint NOT NULL,
    closed_custody_version bigint,
    closed_connection_version bigint,
    quantity numeric NOT NULL,
    type text NOT NULL,
    status text NOT NULL,
    currency text COLLATE "C" NOT NULL,
    client_external_id text NOT NULL,
    partner_external_id text,
    initiated_by text NOT NULL,
    notes text,
    reason text,
    closed_cause text,
    content_hash bytea NOT NULL,
    CONSTRAINT open_allocation_pkey PRIMARY KEY (owner_id, id),
    CONSTRAINT allocation_type CHECK (type IN ('ALLOCATION', 'DEALLOCATION')),
    CONSTRAINT allocation_quantity CHECK (
        quantity > 0 AND quantity < 10000000000000000000000000000 AND quantity = trunc(quantity)
    ),
    CONSTRAINT open_allocation_status CHECK (
        status = 'RESERVED' AND closed_cause IS NULL AND closed_custody_version IS NULL
        AND closed_connection_version IS NULL AND reason IS NULL
    )
) WITH (fillfactor = 100, autovacuum_vacuum_scale_factor = 0.1);
CREATE INDEX open_allocation_connection ON open_allocation (owner_id, connection_id, id);
-- In the order in which they were made, which a page of the oldest follows: by the account's version after the opening,
-- without its last eight bits, so that Postgres keeps the key once for 256 versions. A custody account holds for all
-- connections together, and a connection for itself.
CREATE INDEX open_allocation_in_custody ON open_allocation (owner_id, currency, (opened_custody_version >> 8))
    WHERE type = 'ALLOCATION';
CREATE INDEX open_allocation_on_connection
    ON open_allocation (owner_id, connection_id, currency, (opened_connection_version >> 8))
    WHERE type = 'DEALLOCATION';
-- What is due of an owner; and whose is due first, for the sweep.
CREATE INDEX open_allocation_due ON open_allocation (owner_id, expire_time, id) WHERE expire_time IS NOT NULL;
CREATE INDEX open_allocation_due_first ON open_allocation (expire_time, owner_id) WHERE expire_time IS NOT NULL;

-- Partitioned by id, which begins with the time of creation: so a record is found by its key in one partition, and lists by
-- creation read the partitions in their order. A record whose partition has not been made goes into the default one.
CREATE TABLE closed_allocation (
    owner_id uuid NOT NULL,
    id uuid NOT NULL,
    connection_id uuid NOT NULL,
    client_id uuid NOT NULL,
    partner_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    expire_time timestamptz,
    opened_custody_version bigint NOT NULL,
    opened_connection_version bigint NOT NULL,
    closed_custody_version bigint,
    closed_connection_version bigint,
    quantity numeric NOT NULL,
    type text NOT NULL,
    status text NOT NULL,
    currency text COLLATE "C" NOT NULL,
    client_external_id text NOT NULL,
    partner_external_id text,
    initiated_by text NOT NULL,
    notes text,
    reason text,
    closed_cause text,
    content_hash bytea NOT NULL,
    CONSTRAINT closed_allocation_pkey PRIMARY KEY (owner_id, id),
    CONSTRAINT allocation_type CHECK (type IN ('ALLOCATION', 'DEALLOCATION')),
    CONSTRAINT allocation_status CHECK (status IN ('RESERVED', 'CLEARED', 'RELEASED')),
    CONSTRAINT allocation_quantity CHECK (
        quantity > 0 AND quantity < 10000000000000000000000000000 AND quantity = trunc(quantity)
    ),
    CONSTRAINT allocation_reason CHECK ((reason IS NOT NULL) <= (status = 'RELEASED')),
    CONSTRAINT allocation_closed CHECK (
        CASE status
            WHEN 'RESERVED' THEN closed_cause IS NULL
            WHEN 'CLEARED' THEN closed_cause IN ('CLEAR', 'INSTANT')
            ELSE closed_cause IN ('RELEASE', 'CANCEL', 'EXPIRE')
        END
        AND (status = 'RESERVED') = (closed_custody_version IS NULL)
        AND (status = 'RESERVED') = (closed_connection_version IS NULL)
    )
) PARTITION BY RANGE (id);
CREATE INDEX closed_allocation_connection ON closed_allocation (owner_id, connection_id, id);
CREATE TABLE closed_allocation_default PARTITION OF closed_allocation DEFAULT;

-- The idempotency keys of allocations, for ever: unique whatever partition a record is in, and whether or not it is
-- still there. The key is the beginning of a hash, which is as good as the texts and a third of their size.
CREATE TABLE allocation_key (
    owner_id uuid NOT NULL,
    key uuid NOT NULL,
    id uuid NOT NULL,
    CONSTRAINT allocation_key_pkey PRIMARY KEY (owner_id, key)
);
-- Whose a record is, of which a partner has nothing but the id. Ids ascend, so the index grows at its end.
CREATE INDEX allocation_key_id ON allocation_key (id);
CREATE FUNCTION allocation_key_of(type text, client_external_id text) RETURNS uuid
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN encode(substr(sha256(convert_to(type || ' ' || client_external_id, 'UTF8')), 1, 16), 'hex')::uuid;

-- As the other tables that are written all the time, see 000009.
DO $$
DECLARE
    written record;
BEGIN
    FOR written IN
        SELECT attrelid::regclass AS name, attname FROM pg_attribute
        WHERE attrelid IN (
                'open_allocation'::regclass, 'closed_allocation'::regclass, 'closed_allocation_default'::regclass,
                'allocation_key'::regclass
            )
            AND attnum > 0 AND NOT attisdropped
    LOOP
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS 20', written.name, written.attname);
    END LOOP;
END $$;
ALTER INDEX open_allocation_in_custody ALTER COLUMN 3 SET STATISTICS 20;
ALTER INDEX open_allocation_on_connection ALTER COLUMN 4 SET STATISTICS 20;

-- Servers of the version before go on writing `allocation` while the next migration copies: what they do there is done in
-- the new tables too, in the same transaction. The trigger uses the tables as its caller may, so whoever writes
-- `allocation` may write these.
CREATE FUNCTION copy_open_allocation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF NEW.status <> 'RESERVED' THEN
            DELETE FROM open_allocation o WHERE o.owner_id = NEW.owner_id AND o.id = NEW.id;
        END IF;
        RETURN NULL;
    END IF;
    INSERT INTO allocation_key VALUES (NEW.owner_id, allocation_key_of(NEW.type, NEW.client_external_id), NEW.id);
    IF NEW.status = 'RESERVED' THEN
        INSERT INTO open_allocation (
            owner_id, id, connection_id, client_id, partner_id, created_at, updated_at, expire_time,
            opened_custody_version, opened_connection_version, quantity, type, status, currency, client_external_id,
            partner_external_id, initiated_by, notes, content_hash
        ) VALUES (
            NEW.owner_id, NEW.id, NEW.connection_id, NEW.client_id, NEW.partner_id, NEW.created_at, NEW.updated_at,
            NEW.expire_time, NEW.opened_custody_version, NEW.opened_connection_version, NEW.quantity, NEW.type,
            NEW.status, NEW.currency, NEW.client_external_id, NEW.partner_external_id, NEW.initiated_by, NEW.notes,
            NEW.content_hash
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
        WHERE c.oid = 'allocation'::regclass AND a.privilege_type = 'INSERT' AND a.grantee <> c.relowner
    LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON open_allocation TO %s', writer.name);
        EXECUTE format('GRANT SELECT, INSERT ON closed_allocation, allocation_key TO %s', writer.name);
    END LOOP;
    -- By these, servers of the version before find what is open once `allocation` is a view: see 000015-3.
    IF EXISTS (SELECT FROM owner) OR EXISTS (SELECT FROM allocation) THEN
        CREATE INDEX open_allocation_by_external_id ON open_allocation (owner_id, client_external_id, type);
        CREATE INDEX open_allocation_by_id ON open_allocation (id);
        CREATE INDEX open_allocation_by_id_bytes ON open_allocation (uuid_send(id));
    END IF;
    -- The table becomes the partition of what was created before the month after the next one. Nothing is read for that if
    -- a constraint says so; the next migration validates it.
    EXECUTE format(
        'ALTER TABLE allocation ADD CONSTRAINT allocation_partition CHECK (id < %L) NOT VALID',
        lpad(to_hex((extract(epoch FROM date_trunc('month', now() AT TIME ZONE 'UTC') + interval '2 months')
            * 1000)::bigint), 12, '0') || repeat('0', 20)
    );
END $$;
CREATE TRIGGER allocation_copy_open AFTER INSERT OR UPDATE ON allocation
    FOR EACH ROW EXECUTE FUNCTION copy_open_allocation();
