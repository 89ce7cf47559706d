-- Who may hold balances. These four tables are small and cross owners: on a distributed database they are reference
-- tables, and so the only ones whose keys do not start with the owner.

-- One row for each key by which value is locked: an enterprise, or the issuer of NetworkService's request ids.
CREATE TABLE owner (
    owner_id uuid CONSTRAINT owner_pkey PRIMARY KEY
);

CREATE TABLE enterprise (
    id uuid CONSTRAINT enterprise_pkey PRIMARY KEY,
    name text NOT NULL,
    oes_licensed boolean NOT NULL,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT enterprise_version CHECK (version >= 1)
);

CREATE TABLE client (
    id uuid CONSTRAINT client_pkey PRIMARY KEY,
    enterprise_id uuid NOT NULL CONSTRAINT client_enterprise_fkey REFERENCES enterprise,
    name text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT client_one_per_enterprise UNIQUE (enterprise_id)
);

CREATE TABLE partner (
    id uuid CONSTRAINT partner_pkey PRIMARY KEY,
    enterprise_id uuid NOT NULL CONSTRAINT partner_enterprise_fkey REFERENCES enterprise,
    name text NOT NULL,
    institution_identifier text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE INDEX partner_enterprise ON partner (enterprise_id, id);

-- Both enterprises stand here too, so that routing and access need no join.
CREATE TABLE connection (
    id uuid CONSTRAINT connection_pkey PRIMARY KEY,
    client_id uuid NOT NULL CONSTRAINT connection_client_fkey REFERENCES client,
    partner_id uuid NOT NULL CONSTRAINT connection_partner_fkey REFERENCES partner,
    client_enterprise_id uuid NOT NULL CONSTRAINT connection_client_enterprise_fkey REFERENCES enterprise,
    partner_enterprise_id uuid NOT NULL CONSTRAINT connection_partner_enterprise_fkey REFERENCES enterprise,
    name text NOT NULL,
    partners_connection_id text NOT NULL,
    mode text NOT NULL,
    allocations_enabled boolean NOT NULL,
    deallocations_enabled boolean NOT NULL,
    allocations_disabled_reason text,
    deallocations_disabled_reason text,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT connection_mode CHECK (mode IN ('INSTANT', 'CONFIRMED')),
    CONSTRAINT connection_version CHECK (version >= 1),
    CONSTRAINT connection_two_enterprises CHECK (client_enterprise_id <> partner_enterprise_id),
    CONSTRAINT connection_allocations_reason CHECK (allocations_enabled = (allocations_disabled_reason IS NULL)),
    CONSTRAINT connection_deallocations_reason CHECK (deallocations_enabled = (deallocations_disabled_reason IS NULL))
);
CREATE INDEX connection_client_enterprise ON connection (client_enterprise_id, id);
CREATE INDEX connection_partner_enterprise ON connection (partner_enterprise_id, id);
CREATE INDEX connection_partner ON connection (partner_id, id);
CREATE UNIQUE INDEX connection_partners_id ON connection (partner_id, partners_connection_id)
    WHERE partners_connection_id <> '';

-- Request ids of NetworkService; the owner is the UUIDv5 of the token's issuer.
CREATE TABLE request_key (
    owner_id uuid NOT NULL CONSTRAINT request_key_owner_fkey REFERENCES owner,
    rpc text NOT NULL,
    request_id text NOT NULL,
    content_hash bytea NOT NULL,
    record_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT request_key_pkey PRIMARY KEY (owner_id, rpc, request_id)
);
