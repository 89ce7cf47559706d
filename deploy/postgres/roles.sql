-- The two roles of docs/operations.md, for compose.yaml: one that owns the tables and migrates, one that servers connect as.
CREATE ROLE earmark_owner LOGIN PASSWORD 'only-on-this-machine';
CREATE ROLE earmark_server LOGIN PASSWORD 'only-on-this-machine';
CREATE DATABASE earmark OWNER earmark_owner;
