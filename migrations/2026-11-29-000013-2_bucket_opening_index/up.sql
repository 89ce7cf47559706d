-- Buckets that were created with a value, in the order of the actions that show it.
CREATE INDEX CONCURRENTLY bucket_opening ON bucket (tenant, created_at) WHERE opened_amount > 0;
