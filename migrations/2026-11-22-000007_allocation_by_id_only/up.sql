-- A partner asks for a record by its id alone: which of its clients it belongs to is not known before it is found. The
-- index is of an expression, so that no other statement can use it: where one owner has most of the records, Postgres
-- would read that owner's lists by it, and with them whatever the others have in between. Ids ascend, and so do their
-- bytes: the index grows at its end. It gets its name, `allocation_id`, in 000009.
CREATE INDEX CONCURRENTLY IF NOT EXISTS allocation_id_bytes ON allocation (uuid_send(id));
