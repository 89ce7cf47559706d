-- ListAvailableAllocations of a random company, in French or else in English: as many as a catalogue may have, and one more.
\set number random(1, :companies)
\set fetch 1001
SELECT allocation_id, msrp_price, msrp_currency, unit_price, unit_currency, image,
    (SELECT jsonb_object_agg(key, value) FROM jsonb_each(translations) WHERE key = ANY ('{fr,en}')), version
FROM catalogue_allocation
WHERE owner_id = ('{$owners}'::uuid[])[:number] AND allocation_id > 0 ORDER BY allocation_id LIMIT :fetch;
