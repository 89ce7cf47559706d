-- Reads the table, and stops nobody.
ALTER TABLE closed_bucket_action VALIDATE CONSTRAINT closed_bucket_action_status;
