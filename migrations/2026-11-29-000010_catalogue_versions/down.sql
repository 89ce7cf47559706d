ALTER TABLE catalogue_allocation DROP COLUMN first_version;
ALTER TABLE catalogue_company DROP COLUMN deleted_version_max;
