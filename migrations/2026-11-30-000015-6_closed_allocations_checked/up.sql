-- Reads the table, and stops nobody.
ALTER TABLE closed_allocation VALIDATE CONSTRAINT closed_allocation_status;
