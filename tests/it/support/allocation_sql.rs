//! Allocations as a table that tests may write: servers never write the view, and so it has no triggers of its own.

use tokio_postgres::Client;

/// What is inserted, updated or deleted through the view is so in the tables behind it. The key of a new record is made too.
const WRITABLE: &str = "
    CREATE FUNCTION write_for_test() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        o open_allocation;
    BEGIN
        IF TG_OP <> 'INSERT' THEN
            DELETE FROM open_allocation t WHERE t.owner_id = OLD.owner_id AND t.id = OLD.id;
            DELETE FROM closed_allocation t WHERE t.owner_id = OLD.owner_id AND t.id = OLD.id;
        END IF;
        IF TG_OP = 'DELETE' THEN
            RETURN OLD;
        END IF;
        INSERT INTO allocation_key VALUES (NEW.owner_id, allocation_key_of(NEW.type, NEW.client_external_id), NEW.id)
        ON CONFLICT DO NOTHING;
        o := jsonb_populate_record(NULL::open_allocation, to_jsonb(NEW));
        IF NEW.status = 'RESERVED' THEN
            INSERT INTO open_allocation SELECT o.*;
        ELSE
            INSERT INTO closed_allocation SELECT o.*;
        END IF;
        RETURN NEW;
    END
    $$;
    CREATE TRIGGER allocation_write_for_test INSTEAD OF INSERT OR UPDATE OR DELETE ON allocation
        FOR EACH ROW EXECUTE FUNCTION write_for_test()";

/// Makes the view `allocation` of this database writable.
pub(crate) async fn make_allocations_writable(sql: &Client) {
    sql.batch_execute(WRITABLE).await.expect(WRITABLE);
}
