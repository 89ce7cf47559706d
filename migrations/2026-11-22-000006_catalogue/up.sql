-- Catalogues. Each company is an owner: the UUIDv5 of its number.
CREATE TABLE catalogue_company (
    owner_id uuid NOT NULL,
    company_id bigint NOT NULL,
    name text NOT NULL,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT catalogue_company_pkey PRIMARY KEY (owner_id),
    CONSTRAINT catalogue_company_owner_fkey FOREIGN KEY (owner_id) REFERENCES owner,
    CONSTRAINT catalogue_company_id CHECK (company_id >= 1),
    CONSTRAINT catalogue_company_version CHECK (version >= 1)
);

-- Prices are texts, since they keep the decimals that they were written with; nothing is ever summed. `translations` is
-- an object from language to texts. `languages` has its keys beside it, so that asking for them reads no text.
CREATE TABLE catalogue_allocation (
    owner_id uuid NOT NULL,
    allocation_id bigint NOT NULL,
    msrp_price text NOT NULL,
    msrp_currency text COLLATE "C" NOT NULL,
    unit_price text NOT NULL,
    unit_currency text COLLATE "C" NOT NULL,
    image text NOT NULL,
    translations jsonb NOT NULL,
    languages text[] NOT NULL,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT catalogue_allocation_pkey PRIMARY KEY (owner_id, allocation_id),
    CONSTRAINT catalogue_allocation_company_fkey FOREIGN KEY (owner_id) REFERENCES catalogue_company,
    CONSTRAINT catalogue_allocation_id CHECK (allocation_id BETWEEN 1 AND 999999999999999999),
    CONSTRAINT catalogue_allocation_price CHECK (
        msrp_price ~ '^[0-9]{1,16}(\.[0-9]{1,12})?$' AND unit_price ~ '^[0-9]{1,16}(\.[0-9]{1,12})?$'
    ),
    CONSTRAINT catalogue_allocation_currency CHECK (msrp_currency ~ '^[A-Z]{3}$' AND unit_currency ~ '^[A-Z]{3}$'),
    CONSTRAINT catalogue_allocation_image CHECK (image LIKE 'https://%'),
    CONSTRAINT catalogue_allocation_english CHECK (translations ? 'en' AND 'en' = ANY (languages)),
    CONSTRAINT catalogue_allocation_version CHECK (version >= 1)
);
