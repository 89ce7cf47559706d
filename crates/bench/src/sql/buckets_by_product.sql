-- ListBuckets of a random product: a page of 100, and one more, which tells whether another page follows; and how many
-- there are on all pages.
\set number random(1, :products)
\set fetch 101
\set skip 0
SELECT c.total, c.clock, page.*
FROM (SELECT (SELECT count(*) FROM bucket_product k WHERE k.tenant = '$tenant' AND k.product_id = 'product-' || :number::text) AS total,
        coalesce(NULL::timestamptz, statement_timestamp()) AS clock OFFSET 0) c
LEFT JOIN (
    SELECT b.owner_id, b.id, b.name, b.description, b.status, b.usage_type, b.unit, b.valid_from, b.valid_to,
        b.details::text, b.version, b.created_at,
        coalesce(a.available, 0), coalesce(a.held, 0), coalesce(a.version, 0), d.due IS NOT NULL
    FROM (SELECT * FROM (
        (SELECT b.* FROM bucket_product k CROSS JOIN LATERAL (SELECT * FROM bucket WHERE owner_id = k.owner_id LIMIT 1) b
            WHERE k.tenant = '$tenant' AND k.product_id = 'product-' || :number::text
                AND (k.created_at, k.bucket_id) > ('0001-01-01 00:00:00+00'::timestamptz, '')
            ORDER BY k.created_at, k.bucket_id LIMIT :fetch)
        ) b ORDER BY created_at, id LIMIT :fetch OFFSET :skip) b
    LEFT JOIN LATERAL (SELECT available, held, version FROM account
        WHERE owner_id = b.owner_id AND account_id = '00000000-0000-0000-0000-000000000001' AND unit = b.unit LIMIT 1) a ON true
    LEFT JOIN LATERAL (SELECT true AS due FROM open_bucket_action
        WHERE owner_id = b.owner_id
            AND expire_time <= coalesce(NULL::timestamptz, statement_timestamp())
        ORDER BY expire_time, id LIMIT 1) d ON true
) page ON true
ORDER BY page.created_at, page.id;
