DROP INDEX allocation_id;
CREATE INDEX allocation_id ON allocation (id);
