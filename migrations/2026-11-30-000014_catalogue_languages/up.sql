-- A language without any text does not exist. Earlier versions stored those that a caller named without a text, as an
-- empty object and among `languages`. What readers are served stays as it is, so versions and times stay too. Allocations
-- without such a language are not touched.
UPDATE catalogue_allocation SET
    translations = (SELECT jsonb_object_agg(key, value) FROM jsonb_each(translations) WHERE value <> '{}'),
    languages = ARRAY(
        SELECT tag FROM unnest(languages) WITH ORDINALITY l (tag, place) WHERE translations -> tag <> '{}' ORDER BY place
    )
WHERE EXISTS (SELECT FROM jsonb_each(translations) WHERE value = '{}');
