-- A language without any text does not exist. Earlier versions stored those that a caller named without a text, as an
-- empty object and among `languages`. What readers are served stays as it is, so versions and times stay too; allocations
-- without such a language are not touched. The companies are taken one at a time, each in a transaction of its own, since
-- each has 1,000 allocations at most. It may be repeated after it was interrupted.
DO $$
DECLARE
    last uuid := '00000000-0000-0000-0000-000000000000';
BEGIN
    LOOP
        last := (SELECT c.owner_id FROM catalogue_company c WHERE c.owner_id > last ORDER BY c.owner_id LIMIT 1);
        EXIT WHEN last IS NULL;
        UPDATE catalogue_allocation SET
            translations = (SELECT jsonb_object_agg(key, value) FROM jsonb_each(translations) WHERE value <> '{}'),
            languages = ARRAY(
                SELECT tag FROM unnest(languages) WITH ORDINALITY l (tag, place)
                WHERE translations -> tag <> '{}' ORDER BY place
            )
        WHERE owner_id = last AND EXISTS (SELECT FROM jsonb_each(translations) WHERE value = '{}');
        COMMIT;
    END LOOP;
END
$$;
