-- Identifiers that were told apart stay so.
ALTER TABLE client DROP COLUMN version;
ALTER TABLE partner DROP COLUMN version;
DROP INDEX partner_institution_identifier;
