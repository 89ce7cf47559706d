-- The ledger. Every table starts with its owner, and so does every key. Rows are inserted through a join with `owner`,
-- which a foreign key would check once more for each row. Money is plain NUMERIC: a declared scale would round in
-- silence. The checks are a second wall, since the ledger judges before it writes. Currencies and units compare by
-- bytes, whatever the database's locale: so lists are sorted, and no index of theirs depends on a locale's version.

-- The accounts of an owner, one row per unit. The world and transit accounts (ids ending in 2 and 3) are where value
-- comes from and passes through: only they may be negative.
CREATE TABLE account (
    owner_id uuid NOT NULL,
    account_id uuid NOT NULL,
    unit text COLLATE "C" NOT NULL,
    available numeric NOT NULL,
    held numeric NOT NULL,
    version bigint NOT NULL,
    CONSTRAINT account_pkey PRIMARY KEY (owner_id, account_id, unit),
    CONSTRAINT account_version CHECK (version >= 1),
    CONSTRAINT account_in_range CHECK (
        abs(available) < 10000000000000000000000000000 AND abs(held) < 10000000000000000000000000000
    ),
    CONSTRAINT account_no_overdraft CHECK (
        (available >= 0 AND held >= 0)
        OR account_id IN ('00000000-0000-0000-0000-000000000002', '00000000-0000-0000-0000-000000000003')
    )
) WITH (fillfactor = 50);

-- The journal: append-only, one row for each change of an account.
CREATE TABLE entry (
    owner_id uuid NOT NULL,
    account_id uuid NOT NULL,
    unit text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    available_delta numeric NOT NULL,
    held_delta numeric NOT NULL,
    available numeric NOT NULL,
    held numeric NOT NULL,
    cause text NOT NULL,
    cause_id uuid NOT NULL,
    time timestamptz NOT NULL,
    CONSTRAINT entry_pkey PRIMARY KEY (owner_id, account_id, unit, version),
    CONSTRAINT entry_version CHECK (version >= 1),
    CONSTRAINT entry_in_range CHECK (
        abs(available_delta) < 10000000000000000000000000000 AND abs(held_delta) < 10000000000000000000000000000
        AND abs(available) < 10000000000000000000000000000 AND abs(held) < 10000000000000000000000000000
    ),
    CONSTRAINT entry_cause CHECK (
        cause IN ('ADJUST', 'RESERVE', 'CLEAR', 'RELEASE', 'CANCEL', 'EXPIRE', 'INSTANT')
    )
);
-- The owner's newest time, and its entries in time order.
CREATE INDEX entry_time ON entry (owner_id, time, account_id, unit);

-- Allocations and deallocations. The versions of the two accounts after the opening and the closing movement lead to
-- the balances that a replay answers.
CREATE TABLE allocation (
    owner_id uuid NOT NULL,
    id uuid NOT NULL,
    type text NOT NULL,
    status text NOT NULL,
    currency text COLLATE "C" NOT NULL,
    quantity numeric NOT NULL,
    connection_id uuid NOT NULL,
    client_id uuid NOT NULL,
    partner_id uuid NOT NULL,
    client_external_id text NOT NULL,
    partner_external_id text,
    initiated_by text NOT NULL,
    notes text,
    reason text,
    expire_time timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    content_hash bytea NOT NULL,
    opened_custody_version bigint NOT NULL,
    opened_connection_version bigint NOT NULL,
    closed_cause text,
    closed_custody_version bigint,
    closed_connection_version bigint,
    CONSTRAINT allocation_pkey PRIMARY KEY (owner_id, id),
    CONSTRAINT allocation_client_external_id UNIQUE (owner_id, client_external_id, type),
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
) WITH (fillfactor = 85);
CREATE INDEX allocation_connection ON allocation (owner_id, connection_id, id);
-- What is open, and what is due: small, since most records are final.
CREATE INDEX allocation_open ON allocation (owner_id, connection_id, currency, type, id) WHERE status = 'RESERVED';
CREATE INDEX allocation_due ON allocation (owner_id, expire_time, id)
    WHERE status = 'RESERVED' AND expire_time IS NOT NULL;
-- Whose is due first, for the sweep.
CREATE INDEX allocation_due_first ON allocation (expire_time, owner_id)
    WHERE status = 'RESERVED' AND expire_time IS NOT NULL;

-- Deposits and withdrawals of custody.
CREATE TABLE adjustment (
    owner_id uuid NOT NULL,
    id uuid NOT NULL,
    external_id text NOT NULL,
    currency text COLLATE "C" NOT NULL,
    quantity numeric NOT NULL,
    reason text NOT NULL,
    initiated_by text NOT NULL,
    content_hash bytea NOT NULL,
    custody_version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT adjustment_pkey PRIMARY KEY (owner_id, id),
    CONSTRAINT adjustment_external_id UNIQUE (owner_id, external_id),
    CONSTRAINT adjustment_quantity CHECK (
        quantity <> 0 AND abs(quantity) < 10000000000000000000000000000 AND quantity = trunc(quantity)
    )
);
