-- Versions of a company's allocations never start again: a new record begins above all that were deleted, so that a
-- version names one content only. Both columns are null where no record was deleted since, and the records began at 1.
ALTER TABLE catalogue_company
    ADD COLUMN deleted_version_max bigint,
    ADD CONSTRAINT catalogue_company_deleted_version CHECK (deleted_version_max >= 1) NOT VALID;
ALTER TABLE catalogue_allocation
    ADD COLUMN first_version bigint,
    ADD CONSTRAINT catalogue_allocation_first_version CHECK (first_version BETWEEN 1 AND version) NOT VALID;
