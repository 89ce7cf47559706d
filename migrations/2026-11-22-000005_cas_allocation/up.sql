-- Allocations of book building; the owner is the UUIDv5 of the firm. Texts compare by code points whatever the database's
-- locale is, so that indexes serve their order. Words are stored as the document form spells them.
CREATE TABLE cas_allocation (
    owner_id uuid NOT NULL,
    id uuid NOT NULL,
    created_by text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL,
    last_modified_by text COLLATE "C" NOT NULL,
    last_modified_at timestamptz NOT NULL,
    version bigint NOT NULL,
    deal_id text COLLATE "C",
    tranche_id text COLLATE "C",
    source_id text COLLATE "C",
    investor_account_id text COLLATE "C",
    indication_id text COLLATE "C",
    company_id bigint,
    source_row_version text COLLATE "C",
    order_status text COLLATE "C",
    indication_group_id text COLLATE "C",
    -- Elements as the document form has them: {"code", "message"}.
    status_messages jsonb NOT NULL,
    value_type text COLLATE "C",
    value_amount numeric,
    override_type text COLLATE "C",
    override_amount numeric,
    distribution_type text COLLATE "C",
    -- The same: {"commentType", "comment", "lastModifiedBy", "lastModifiedDateTime"}.
    comments jsonb NOT NULL,
    is_affirmed boolean,
    affirmed_by text COLLATE "C",
    affirmed_at timestamptz,
    -- Of the creation: what a repeat of it is compared by.
    content_hash bytea NOT NULL,
    CONSTRAINT cas_allocation_pkey PRIMARY KEY (owner_id, id),
    CONSTRAINT cas_allocation_source_id_key UNIQUE (owner_id, source_id),
    CONSTRAINT cas_allocation_version CHECK (version >= 1),
    CONSTRAINT cas_allocation_order_status CHECK (
        order_status IN ('pending', 'delivered', 'successful', 'failed', 'deletePending')),
    CONSTRAINT cas_allocation_value_type CHECK (value_type IN ('cash', 'quantity')),
    CONSTRAINT cas_allocation_override_type CHECK (override_type IN ('cash', 'quantity')),
    CONSTRAINT cas_allocation_distribution_type CHECK (distribution_type IN ('manual', 'auto', 'none')),
    -- NaN is greater than every number.
    CONSTRAINT cas_allocation_amounts CHECK (
        value_amount > -10000000000000000 AND value_amount < 10000000000000000
        AND override_amount > -10000000000000000 AND override_amount < 10000000000000000)
);
-- The order of a search that asks for none, and what it counts.
CREATE INDEX cas_allocation_created ON cas_allocation (owner_id, created_at, id);
-- The searches that are made all the time, each in that order too.
CREATE INDEX cas_allocation_deal ON cas_allocation (owner_id, deal_id, created_at, id);
CREATE INDEX cas_allocation_tranche ON cas_allocation (owner_id, tranche_id, created_at, id);
CREATE INDEX cas_allocation_investor_account ON cas_allocation (owner_id, investor_account_id, created_at, id);
CREATE INDEX cas_allocation_status ON cas_allocation (owner_id, order_status, created_at, id);
CREATE INDEX cas_allocation_modified ON cas_allocation (owner_id, last_modified_at, created_at, id);
