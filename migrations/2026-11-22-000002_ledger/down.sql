DROP TABLE adjustment;
DROP TABLE allocation;
DROP TABLE entry;
DROP TABLE account;
