-- A partner asks for a record by its id alone: which of its clients it belongs to is not known before it is found. Ids
-- ascend, so the index grows at its end.
CREATE INDEX CONCURRENTLY IF NOT EXISTS allocation_id ON allocation (id);
