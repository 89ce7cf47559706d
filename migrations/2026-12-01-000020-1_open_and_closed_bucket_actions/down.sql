DROP TRIGGER bucket_action_copy_open ON bucket_action;
DROP FUNCTION copy_open_bucket_action();
ALTER TABLE bucket_action DROP CONSTRAINT bucket_action_partition;
DROP TABLE bucket_action_key;
DROP FUNCTION bucket_action_key_of(text, text);
DROP TABLE closed_bucket_action;
DROP TABLE open_bucket_action;
