-- Sealed periods: what the journal was when a period had ended. Rows are appended by `earmark seal`, with the role that owns
-- the tables; servers only read them. All digests are SHA-256, and each covers those below it: entries, accounts, owners,
-- period. `format` is the version of what is hashed, see `src/ledger/seal/digest.rs`.

-- The periods, oldest first, each of which begins where the one before it ends. The constraints keep them one chain: every
-- period but the first refers to the end and the digest of one that is there, no two refer to the same, and only one is
-- the first.
CREATE TABLE sealed_period (
    start_time timestamptz NOT NULL,
    end_time timestamptz NOT NULL,
    previous_digest bytea,
    digest bytea NOT NULL,
    format integer NOT NULL,
    owners bigint NOT NULL,
    entries bigint NOT NULL,
    sealed_at timestamptz NOT NULL,
    CONSTRAINT sealed_period_pkey PRIMARY KEY (end_time),
    CONSTRAINT sealed_period_digests UNIQUE (end_time, digest),
    CONSTRAINT sealed_period_once UNIQUE (start_time),
    CONSTRAINT sealed_period_chain UNIQUE NULLS NOT DISTINCT (previous_digest),
    CONSTRAINT sealed_period_follows FOREIGN KEY (start_time, previous_digest)
        REFERENCES sealed_period (end_time, digest),
    CONSTRAINT sealed_period_order CHECK (start_time < end_time AND end_time <= sealed_at),
    CONSTRAINT sealed_period_digest CHECK (octet_length(digest) = 32 AND octet_length(previous_digest) = 32),
    CONSTRAINT sealed_period_format CHECK (format = 1),
    CONSTRAINT sealed_period_counts CHECK (owners >= 0 AND entries >= owners)
);

-- An owner's part of a period; an owner without entries in it has none. Rows of the period that comes next are written
-- before it is sealed.
CREATE TABLE sealed_owner (
    owner_id uuid NOT NULL,
    end_time timestamptz NOT NULL,
    digest bytea NOT NULL,
    entries bigint NOT NULL,
    CONSTRAINT sealed_owner_pkey PRIMARY KEY (owner_id, end_time),
    CONSTRAINT sealed_owner_digest CHECK (octet_length(digest) = 32),
    CONSTRAINT sealed_owner_entries CHECK (entries >= 1)
);
-- The owners of a period in the order in which it is hashed.
CREATE INDEX sealed_owner_period ON sealed_owner (end_time, owner_id);

-- An account's balance at the end of a period in which it has entries: so the newest row at or before a time has the
-- balance then. `version` and `time` are those of its last entry, `entries` and `digest` count and cover those of the period.
CREATE TABLE carry_forward (
    owner_id uuid NOT NULL,
    account_id uuid NOT NULL,
    end_time timestamptz NOT NULL,
    version bigint NOT NULL,
    time timestamptz NOT NULL,
    reservation_count bigint NOT NULL,
    entries bigint NOT NULL,
    unit text COLLATE "C" NOT NULL,
    available numeric NOT NULL,
    held numeric NOT NULL,
    digest bytea NOT NULL,
    CONSTRAINT carry_forward_pkey PRIMARY KEY (owner_id, account_id, unit, end_time),
    CONSTRAINT carry_forward_time CHECK (time < end_time),
    CONSTRAINT carry_forward_entries CHECK (entries >= 1 AND version >= entries),
    CONSTRAINT carry_forward_reservation_count CHECK (reservation_count >= 0),
    CONSTRAINT carry_forward_digest CHECK (octet_length(digest) = 32),
    CONSTRAINT carry_forward_in_range CHECK (
        abs(available) < 10000000000000000000000000000 AND abs(held) < 10000000000000000000000000000
    )
);
