-- An institution identifier names one of an enterprise's partners. Of those that have the same, the oldest keeps it; each
-- of the others gets the next free suffix, and is named in a warning, which `earmark migrate` shows. Writes of partners
-- wait meanwhile, reads do not.
LOCK TABLE partner IN SHARE ROW EXCLUSIVE MODE;
DO $$
DECLARE
    double record;
    suffix text;
    told_apart text;
    number integer;
BEGIN
    FOR double IN
        SELECT id, enterprise_id, institution_identifier AS identifier FROM (
            SELECT *, row_number() OVER (PARTITION BY enterprise_id, institution_identifier ORDER BY id) AS place
            FROM partner
        ) p WHERE place > 1 ORDER BY enterprise_id, institution_identifier, id
    LOOP
        number := 2;
        LOOP
            suffix := '-' || number;
            -- An identifier has at most 128 characters.
            told_apart := left(double.identifier, 128 - length(suffix)) || suffix;
            EXIT WHEN NOT EXISTS (
                SELECT FROM partner p
                WHERE p.enterprise_id = double.enterprise_id AND p.institution_identifier = told_apart
            );
            number := number + 1;
        END LOOP;
        UPDATE partner SET
            institution_identifier = told_apart,
            updated_at = greatest(clock_timestamp(), updated_at + interval '1 microsecond')
        WHERE id = double.id;
        RAISE WARNING 'partner % of enterprise % has the institution identifier "%" now: "%" is that of an older partner',
            double.id, double.enterprise_id, told_apart, double.identifier;
    END LOOP;
END $$;
CREATE UNIQUE INDEX partner_institution_identifier ON partner (enterprise_id, institution_identifier);

-- Clients and partners can be changed from now on, so they have versions. The default is for servers of the version
-- before, and costs no rewrite. These come last: only they make reads wait.
ALTER TABLE client ADD COLUMN version bigint NOT NULL DEFAULT 1;
ALTER TABLE client ADD CONSTRAINT client_version CHECK (version >= 1) NOT VALID;
ALTER TABLE partner ADD COLUMN version bigint NOT NULL DEFAULT 1;
ALTER TABLE partner ADD CONSTRAINT partner_version CHECK (version >= 1) NOT VALID;
