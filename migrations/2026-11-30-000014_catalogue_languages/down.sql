-- The languages without a text are not restored: they had no effect but to be listed.
SELECT 1;
