//! Bucket actions as a table that tests may write: servers never write the view, and so it has no triggers of its own.

use tokio_postgres::Client;

/// What is inserted, updated or deleted through the view is so in the tables behind it. The key of a new action is made too.
const WRITABLE: &str = "
    CREATE FUNCTION write_action_for_test() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        a open_bucket_action;
    BEGIN
        IF TG_OP <> 'INSERT' THEN
            DELETE FROM open_bucket_action t WHERE t.owner_id = OLD.owner_id AND t.id = OLD.id;
            DELETE FROM closed_bucket_action t WHERE t.owner_id = OLD.owner_id AND t.id = OLD.id;
        END IF;
        IF TG_OP = 'DELETE' THEN
            RETURN OLD;
        END IF;
        INSERT INTO bucket_action_key VALUES (NEW.owner_id, bucket_action_key_of(NEW.type, NEW.request_id), NEW.id)
        ON CONFLICT DO NOTHING;
        a := jsonb_populate_record(NULL::open_bucket_action, to_jsonb(NEW));
        IF NEW.status = 'CREATED' THEN
            INSERT INTO open_bucket_action SELECT a.*;
        ELSE
            INSERT INTO closed_bucket_action SELECT a.*;
        END IF;
        RETURN NEW;
    END
    $$;
    CREATE TRIGGER bucket_action_write_for_test INSTEAD OF INSERT OR UPDATE OR DELETE ON bucket_action
        FOR EACH ROW EXECUTE FUNCTION write_action_for_test()";

/// Makes the view `bucket_action` of this database writable.
pub(crate) async fn make_bucket_actions_writable(sql: &Client) {
    sql.batch_execute(WRITABLE).await.expect(WRITABLE);
}
