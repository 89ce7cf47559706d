DROP TABLE request_key;
DROP TABLE connection;
DROP TABLE partner;
DROP TABLE client;
DROP TABLE enterprise;
DROP TABLE owner;
