DROP TABLE archived_period;
