-- Periods whose journal, and whose records that were final by their end, are in files instead of in the database. Rows are
-- appended by `earmark archive`, with the role that owns the tables, in the transaction that takes the rows away; servers
-- only read them. Everything before the latest `end_time` is archived.
CREATE TABLE archived_period (
    end_time timestamptz NOT NULL,
    entries bigint NOT NULL,
    records bigint NOT NULL,
    manifest_digest bytea NOT NULL,
    archived_at timestamptz NOT NULL,
    CONSTRAINT archived_period_pkey PRIMARY KEY (end_time),
    CONSTRAINT archived_period_sealed FOREIGN KEY (end_time) REFERENCES sealed_period (end_time),
    CONSTRAINT archived_period_counts CHECK (entries >= 0 AND records >= 0),
    CONSTRAINT archived_period_digest CHECK (octet_length(manifest_digest) = 32),
    CONSTRAINT archived_period_order CHECK (end_time <= archived_at)
);
