DROP INDEX allocation_id;
