DROP TRIGGER allocation_copy_open ON allocation;
DROP FUNCTION copy_open_allocation();
ALTER TABLE allocation DROP CONSTRAINT allocation_partition;
DROP TABLE allocation_key;
DROP FUNCTION allocation_key_of(text, text);
DROP TABLE closed_allocation;
DROP TABLE open_allocation;
