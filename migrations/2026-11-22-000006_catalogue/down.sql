DROP TABLE catalogue_allocation;
ALTER TABLE catalogue_company DROP CONSTRAINT catalogue_company_owner_fkey;
DELETE FROM owner USING catalogue_company WHERE owner.owner_id = catalogue_company.owner_id;
DROP TABLE catalogue_company;
