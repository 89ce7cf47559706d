-- GetAllocation of a random seeded record as one interactive transaction.
\set number random(:first, :last)
\set record random(0, :records - 1)
BEGIN;
SELECT e.oes_licensed, a.id, a.type, a.status, a.currency, a.quantity, a.connection_id, a.client_id, a.partner_id, a.client_external_id, a.partner_external_id, a.initiated_by, a.notes, a.reason, a.expire_time, a.created_at, a.updated_at FROM enterprise e LEFT JOIN allocation a ON a.owner_id = e.id AND a.id = ('018f0000-0000-7800-8000-' || lpad(to_hex(:record::bigint * 65536 + :number::bigint), 12, '0'))::uuid WHERE e.id = ('018f0000-0000-7000-8000-' || lpad(to_hex(:number::bigint), 12, '0'))::uuid;
COMMIT;
