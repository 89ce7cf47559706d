//! Views of open and final records as tables that tests may write: servers never write the views, and so they have no
//! triggers of their own.

use tokio_postgres::Client;

/// A view of records that are open and of those that are final, with a table of keys.
pub(crate) struct WritableView {
    pub(crate) name: &'static str,
    /// The column with the caller's key.
    pub(crate) key: &'static str,
    /// The status of what is open.
    pub(crate) open_status: &'static str,
}

impl WritableView {
    /// Makes the view of this database writable. What is inserted, updated or deleted through it is so in the tables behind
    /// it; the key of a new record is made too.
    pub(crate) async fn create(&self, sql: &Client) {
        let Self {
            name,
            key,
            open_status,
        } = self;
        let triggers = format!(
            "CREATE FUNCTION write_{name}_for_test() RETURNS trigger LANGUAGE plpgsql AS $$
             DECLARE
                 record open_{name};
             BEGIN
                 IF TG_OP <> 'INSERT' THEN
                     DELETE FROM open_{name} t WHERE t.owner_id = OLD.owner_id AND t.id = OLD.id;
                     DELETE FROM closed_{name} t WHERE t.owner_id = OLD.owner_id AND t.id = OLD.id;
                 END IF;
                 IF TG_OP = 'DELETE' THEN
                     RETURN OLD;
                 END IF;
                 INSERT INTO {name}_key VALUES (NEW.owner_id, {name}_key_of(NEW.type, NEW.{key}), NEW.id)
                 ON CONFLICT DO NOTHING;
                 record := jsonb_populate_record(NULL::open_{name}, to_jsonb(NEW));
                 IF NEW.status = '{open_status}' THEN
                     INSERT INTO open_{name} SELECT record.*;
                 ELSE
                     INSERT INTO closed_{name} SELECT record.*;
                 END IF;
                 RETURN NEW;
             END
             $$;
             CREATE TRIGGER {name}_write_for_test INSTEAD OF INSERT OR UPDATE OR DELETE ON {name}
                 FOR EACH ROW EXECUTE FUNCTION write_{name}_for_test()"
        );
        sql.batch_execute(&triggers).await.expect(&triggers);
    }
}
