use std::time::Duration;

use earmark::db::connect::{ConnectError, Connector, Session};

use crate::support::cluster::{TestDatabase, database};

async fn setting(client: &tokio_postgres::Client, name: &str) -> String {
    let sql = "SELECT current_setting($1)";
    client.query_one(sql, &[&name]).await.expect(name).get(0)
}

/// Makes a role that may do nothing special, and a URL for it.
async fn plain_role(db: &TestDatabase, settings: &str) -> String {
    let (client, _driver) = Connector::new(&db.url)
        .expect("a URL")
        .connect()
        .await
        .expect("a connection");
    let role = format!("plain_{}", &db.name);
    // Roles belong to the cluster and outlive the test's database, which does no harm.
    let sql = format!(
        "DROP ROLE IF EXISTS \"{role}\"; CREATE ROLE \"{role}\" LOGIN; {}",
        settings.replace("ROLE", &format!("ALTER ROLE \"{role}\" SET"))
    );
    client.batch_execute(&sql).await.expect("a role");
    let (scheme, rest) = db.url.split_once("://").expect("a URL");
    let after_user = rest.split_once('@').map_or(rest, |(_, after)| after);
    format!("{scheme}://{role}@{after_user}")
}

#[tokio::test]
async fn every_connection_has_its_session_limits() {
    let db = database().await;
    let connector = Connector::new(&db.url).expect("a URL");
    let (client, driver) = connector.connect().await.expect("a connection");
    for (name, value) in [
        ("statement_timeout", "30s"),
        ("lock_timeout", "5s"),
        ("idle_in_transaction_session_timeout", "10s"),
        ("application_name", "earmark"),
        ("default_transaction_isolation", "read committed"),
        ("lc_messages", "C"),
        ("jit", "off"),
        ("TimeZone", "UTC"),
    ] {
        assert_eq!(setting(&client, name).await, value, "{name}");
    }
    drop(client);
    driver.await.expect("the driver ends with its client");
}

#[tokio::test]
async fn a_restricted_role_connects_and_synchronous_commit_is_enforced() {
    let db = database().await;
    for (stored, kept) in [
        ("off", "on"),
        ("local", "on"),
        ("remote_write", "on"),
        ("on", "on"),
        ("remote_apply", "remote_apply"),
    ] {
        let settings = format!(
            "ROLE synchronous_commit = '{stored}'; ROLE default_transaction_isolation = 'repeatable read'"
        );
        let url = plain_role(&db, &settings).await;
        let (client, _driver) = Connector::new(&url)
            .expect("a URL")
            .connect()
            .await
            .expect("a connection");
        assert_eq!(setting(&client, "synchronous_commit").await, kept);
        assert_eq!(
            setting(&client, "transaction_isolation").await,
            "read committed"
        );
    }
}

#[tokio::test]
async fn a_dedicated_session_has_its_own_limits() {
    let db = database().await;
    let session = Session {
        statement_timeout: Duration::ZERO,
        lock_timeout: Duration::from_millis(250),
        application_name: "earmark-writer",
        ..Session::default()
    };
    let connector = Connector::with_session(&db.url, &session).expect("a URL");
    let (client, _driver) = connector.connect().await.expect("a connection");
    assert_eq!(setting(&client, "statement_timeout").await, "0");
    assert_eq!(setting(&client, "lock_timeout").await, "250ms");
    assert_eq!(setting(&client, "application_name").await, "earmark-writer");
}

#[tokio::test]
async fn an_unreachable_server_is_reported_as_such() {
    let connector = Connector::new("postgres://nobody@127.0.0.1:1/x").expect("a URL");
    let error = connector.connect().await.expect_err("nobody there");
    assert!(matches!(error, ConnectError::Postgres(_)), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
}
