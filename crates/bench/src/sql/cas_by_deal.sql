-- SearchAllocations of a random deal: a page of 100, and one more, which tells whether another page follows; and how many
-- there are on all pages.
\set number random(1, :deals)
\set fetch 101
\set skip 0
SELECT c.total, page.*
FROM (SELECT count(*) AS total FROM cas_allocation WHERE owner_id = '$firm' AND deal_id = 'DEAL-' || :number::text) c
LEFT JOIN (
    SELECT id, created_by, created_at, last_modified_by, last_modified_at, version, deal_id, tranche_id, source_id,
        investor_account_id, indication_id, company_id, source_row_version, order_status, indication_group_id,
        status_messages, value_type, value_amount, override_type, override_amount, distribution_type, comments,
        is_affirmed, affirmed_by, affirmed_at
    FROM cas_allocation WHERE owner_id = '$firm' AND deal_id = 'DEAL-' || :number::text
    ORDER BY created_at, id LIMIT :fetch OFFSET :skip
) page ON true
ORDER BY created_at, id;
