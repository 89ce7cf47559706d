DELETE FROM entry USING bucket WHERE entry.owner_id = bucket.owner_id;
DELETE FROM account USING bucket WHERE account.owner_id = bucket.owner_id;
DELETE FROM owner USING bucket WHERE owner.owner_id = bucket.owner_id;
DROP TABLE bucket_action;
DROP TABLE bucket_update;
DROP TABLE bucket_product;
DROP TABLE bucket;
ALTER TABLE entry DROP CONSTRAINT entry_cause;
ALTER TABLE entry ADD CONSTRAINT entry_cause CHECK (
    cause IN ('ADJUST', 'RESERVE', 'CLEAR', 'RELEASE', 'CANCEL', 'EXPIRE', 'INSTANT')
);
