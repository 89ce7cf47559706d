-- A partner asks for a record by its id alone: which of its clients it belongs to is not known before it is found. The
-- index is of an expression, so that no other statement can use it: where one owner has most of the records, Postgres
-- would read that owner's lists by it, and with them whatever the others have in between. Ids ascend, and so do their
-- bytes: the index grows at its end.
DROP INDEX allocation_id;
CREATE INDEX allocation_id ON allocation (uuid_send(id));
