DROP TABLE carry_forward;
DROP TABLE sealed_owner;
DROP TABLE sealed_period;
