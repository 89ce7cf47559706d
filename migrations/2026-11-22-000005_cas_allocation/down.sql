DROP TABLE cas_allocation;
