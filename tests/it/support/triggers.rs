//! Faults that the database raises itself, by a trigger on the allocations.

use tokio_postgres::Client;

/// Every new allocation for which this condition holds meets the fault; the others do not.
pub(crate) async fn fail_where(sql: &Client, errcode: &str, condition: &str) {
    let raise = format!("RAISE EXCEPTION 'a fault' USING ERRCODE = '{errcode}'");
    on_insert(sql, &raise, condition).await;
}

/// The first so many attempts to write an allocation for which this condition holds meet the fault.
pub(crate) async fn fail_first(sql: &Client, errcode: &str, times: u32, condition: &str) {
    // A sequence counts on when the transaction is rolled back.
    let sequence = "CREATE SEQUENCE IF NOT EXISTS faults; ALTER SEQUENCE faults RESTART";
    sql.batch_execute(sequence).await.expect(sequence);
    let raise = format!(
        "IF nextval('faults') <= {times} THEN
             RAISE EXCEPTION 'a fault' USING ERRCODE = '{errcode}';
         END IF"
    );
    on_insert(sql, &raise, condition).await;
}

/// Runs a statement of PL/pgSQL before each allocation for which the condition holds.
pub(crate) async fn on_insert(sql: &Client, statement: &str, condition: &str) {
    let trigger = format!(
        // As its owner: the server's role may not use the sequence.
        "CREATE OR REPLACE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
             BEGIN {statement}; RETURN NEW; END $$;
         CREATE OR REPLACE TRIGGER fault BEFORE INSERT ON open_allocation FOR EACH ROW
             WHEN ({condition}) EXECUTE FUNCTION fault()"
    );
    sql.batch_execute(&trigger).await.expect(&trigger);
}

/// No allocation meets a fault any more.
pub(crate) async fn heal(sql: &Client) {
    let heal = "DROP TRIGGER fault ON open_allocation";
    sql.batch_execute(heal).await.expect(heal);
}
