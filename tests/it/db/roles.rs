//! The role that servers connect as: it can do what they do, and nothing else.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::time::{Duration, Instant};

use earmark::auth::dev_key::{AUDIENCE, DevKey, ISSUER, JWKS_FILE};
use earmark::db::roles::{self, TABLES, TableUse};
use serde_json::Value;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::support::cluster::{SERVER_ROLE, TestDatabase, as_server, database};
use crate::support::locks::session;
use crate::support::process::{Started, earmark, run, text};

async fn texts(client: &Client, sql: &str) -> Vec<String> {
    let rows = client.query(sql, &[]).await.expect(sql);
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn every_relation_of_the_schema_has_privileges() {
    let db = database().await;
    let client = session(&db.url).await;
    // A partition is used by its table, and needs no privileges of its own.
    let relations = "SELECT relname::text FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind NOT IN ('i', 'I', 't') AND NOT relispartition";
    let found: BTreeSet<String> = texts(&client, relations).await.into_iter().collect();
    let listed: BTreeSet<String> = TABLES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(
        found, listed,
        "TABLES in src/db/roles.rs: what a server does with each"
    );
    // Those of triggers, which use the tables with the privileges of their caller.
    let functions = "SELECT proname::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND NOT prosecdef ORDER BY 1";
    assert_eq!(
        texts(&client, functions).await,
        [
            "allocation_key_of",
            "bucket_action_key_of",
            "count_reservations",
            "reservation_change"
        ]
    );
    let privileged = "SELECT proname::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prosecdef";
    assert_eq!(texts(&client, privileged).await, Vec::<String>::new());
}

/// What is appended once, and which no server can change therefore.
const APPENDED: [&str; 10] = [
    "adjustment",
    "allocation_key",
    "bucket_action_key",
    "bucket_key",
    "bucket_product",
    "bucket_update",
    "closed_allocation",
    "closed_bucket_action",
    "entry",
    "request_key",
];

/// The only relations that are no tables, each with a column. Nothing can be written through them, whatever the privileges.
const VIEWS: [(&str, &str); 2] = [("allocation", "notes"), ("bucket_action", "request_id")];

/// The only tables that a server deletes from.
const REMOVED_FROM: [&str; 4] = [
    "cas_allocation",
    "catalogue_allocation",
    "open_allocation",
    "open_bucket_action",
];

async fn is_denied(client: &Client, sql: &str) {
    let error = client.batch_execute(sql).await.expect_err(sql);
    let code = error.code();
    assert_eq!(
        code,
        Some(&SqlState::INSUFFICIENT_PRIVILEGE),
        "{sql}: {error:?}"
    );
}

#[tokio::test]
async fn a_servers_role_cannot_rewrite_the_journal_or_change_the_schema() {
    let db = database().await;
    let server = session(&as_server(&db.url)).await;
    let tables = TABLES
        .iter()
        .filter(|(table, _)| VIEWS.iter().all(|(view, _)| view != table));
    for (table, usage) in tables {
        let column = if *table == "__diesel_schema_migrations" {
            is_denied(&server, &format!("INSERT INTO {table} VALUES ('1')")).await;
            "version"
        } else if ["archived_period", "sealed_period"].contains(table) {
            "end_time"
        } else if ["client", "connection", "enterprise", "partner"].contains(table) {
            "id"
        } else {
            "owner_id"
        };
        if !REMOVED_FROM.contains(table) {
            is_denied(&server, &format!("DELETE FROM {table}")).await;
        }
        if APPENDED.contains(table) {
            assert_eq!(*usage, TableUse::Append, "{table}");
        }
        if [TableUse::Append, TableUse::Read].contains(usage) {
            is_denied(&server, &format!("UPDATE {table} SET {column} = {column}")).await;
            is_denied(&server, &format!("SELECT FROM {table} FOR KEY SHARE")).await;
        }
        for sql in ["TRUNCATE {}", "ALTER TABLE {} ADD x int", "DROP TABLE {}"] {
            is_denied(&server, &sql.replace("{}", table)).await;
        }
        let trigger = format!(
            "CREATE TRIGGER x BEFORE INSERT ON {table} EXECUTE FUNCTION suppress_redundant_updates_trigger()"
        );
        is_denied(&server, &trigger).await;
        is_denied(&server, &format!("CREATE INDEX ON {table} ({column})")).await;
    }
    for sql in VIEWS.iter().flat_map(|(view, column)| {
        [
            format!("DELETE FROM {view}"),
            format!("UPDATE {view} SET {column} = ''"),
            format!("INSERT INTO {view} (owner_id) VALUES (gen_random_uuid())"),
        ]
    }) {
        let error = server.batch_execute(&sql).await.expect_err(&sql);
        let code = error.code();
        assert_eq!(
            code,
            Some(&SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE),
            "{sql}: {error:?}"
        );
    }
    for sql in [
        "CREATE TABLE mine ()",
        "CREATE SCHEMA mine",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql RETURN 1",
        "SET session_replication_role = replica",
        "SET ROLE earmark",
    ] {
        is_denied(&server, sql).await;
    }
}

/// A role for one test, whose name needs quotes.
async fn new_role(db: &TestDatabase, owner: &Client) -> (String, String) {
    let name = format!("Server of \"{}\"; DROP TABLE entry", db.name);
    let quoted = format!("\"{}\"", name.replace('"', "\"\""));
    let sql = format!("CREATE ROLE {quoted} LOGIN");
    owner.batch_execute(&sql).await.expect("a role");
    (name, quoted)
}

async fn drop_role(owner: &Client, quoted: &str) {
    let sql = format!("DROP OWNED BY {quoted}; DROP ROLE {quoted}");
    owner.batch_execute(&sql).await.expect("dropped");
}

/// The privileges of a role on the tables, as Postgres stores them.
async fn stored(owner: &Client, role: &str) -> BTreeSet<(String, String)> {
    let sql = "SELECT c.relname::text, a.privilege_type
        FROM pg_class c, aclexplode(c.relacl) a JOIN pg_roles r ON r.oid = a.grantee
        WHERE r.rolname = $1";
    let rows = owner.query(sql, &[&role]).await.expect(sql);
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[tokio::test]
async fn to_grant_again_revokes_what_was_too_much_and_adds_what_was_missing() {
    let db = database().await;
    let owner = session(&db.url).await;
    let (role, quoted) = new_role(&db, &owner).await;
    let wanted: BTreeSet<(String, String)> = TABLES
        .iter()
        .flat_map(|(table, usage)| {
            usage
                .privileges()
                .iter()
                .map(|privilege| ((*table).to_owned(), (*privilege).to_owned()))
        })
        .collect();
    roles::grant(&db.url, &role).await.expect("granted");
    assert_eq!(stored(&owner, &role).await, wanted);

    let changed = format!(
        "GRANT ALL ON entry TO {quoted}; GRANT UPDATE (cause) ON entry TO {quoted};
         GRANT CREATE ON SCHEMA public TO {quoted}; REVOKE ALL ON bucket FROM {quoted}"
    );
    owner.batch_execute(&changed).await.expect(&changed);
    for _ in 0..2 {
        roles::grant(&db.url, &role).await.expect("granted");
        assert_eq!(stored(&owner, &role).await, wanted);
    }
    let held = "SELECT has_any_column_privilege($1::text::name, 'entry', 'UPDATE')
        OR has_schema_privilege($1::text::name, 'public', 'CREATE')";
    let held = owner.query_one(held, &[&role]).await.expect(held);
    assert!(!held.get::<_, bool>(0), "columns and the schema");
    drop_role(&owner, &quoted).await;
}

#[tokio::test]
async fn roles_that_privileges_do_not_limit_are_refused() {
    let db = database().await;
    let owner = session(&db.url).await;
    let (role, quoted) = new_role(&db, &owner).await;
    let refusal = async |role: &str| {
        let refused = roles::grant(&db.url, role).await;
        refused.expect_err(role).to_string()
    };
    let why = refusal("nobody at all").await;
    assert!(why.contains("does not exist"), "{why}");
    let why = refusal("earmark").await;
    assert!(why.contains("is a superuser"), "{why}");

    let takes = format!("ALTER TABLE partner OWNER TO {quoted}");
    owner.batch_execute(&takes).await.expect(&takes);
    let why = refusal(&role).await;
    assert!(why.contains("owns the tables"), "{why}");
    let back = "ALTER TABLE partner OWNER TO earmark; GRANT DELETE ON entry TO PUBLIC";
    owner.batch_execute(back).await.expect(back);
    let why = refusal(&role).await;
    assert!(why.contains("DELETE on entry, from PUBLIC"), "{why}");
    let kept = stored(&owner, &role).await;
    assert!(kept.is_empty(), "nothing was granted: {kept:?}");

    let no_more = "REVOKE DELETE ON entry FROM PUBLIC";
    owner.batch_execute(no_more).await.expect(no_more);
    roles::grant(&db.url, &role).await.expect("granted");
    drop_role(&owner, &quoted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn migrate_grants_and_says_so() {
    let db = database().await;
    let owner = session(&db.url).await;
    let (role, quoted) = new_role(&db, &owner).await;
    let granted = run(earmark(&["migrate", "--grant", &role]).env("DATABASE_URL", &db.url));
    assert_eq!(granted.status.code(), Some(0), "{granted:?}");
    let said = text(&granted.stdout);
    let expected = format!("The schema is up to date.\nGranted {role} what a server needs.\n");
    // A month that has just begun may lack a partition, which is made afterwards.
    let said = said
        .split_inclusive('\n')
        .filter(|line| !line.starts_with("Made the partition "));
    assert_eq!(said.collect::<String>(), expected);
    assert!(!stored(&owner, &role).await.is_empty());
    drop_role(&owner, &quoted).await;

    let mut unknown = earmark(&["migrate"]);
    unknown
        .env("DATABASE_URL", &db.url)
        .env("EARMARK_GRANT", &role);
    let refused = run(&mut unknown);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let why = text(&refused.stderr);
    assert!(
        why.contains("--grant") && why.contains("CREATE ROLE"),
        "{why}"
    );
}

/// Starts a server with this database URL, and returns the line about its role.
fn reported(url: &str) -> Value {
    first_line_of(url, "earmark::db::roles")
}

/// Starts a server with this database URL, and returns the first line that it logs with this target.
pub(super) fn first_line_of(url: &str, target: &str) -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    DevKey::open_or_create(folder.path()).expect("a key");
    let path = folder.path().join("log");
    let mut serve = earmark(&["serve", "--issuer", ISSUER, "--audience", AUDIENCE]);
    serve
        .env("EARMARK_JWKS", folder.path().join(JWKS_FILE))
        .env("EARMARK_LISTEN", "127.0.0.1:0")
        .env("EARMARK_LOG", "info,earmark::db::roles=debug")
        .env("EARMARK_LOG_FORMAT", "json")
        .env("DATABASE_URL", url);
    let _server = Started::spawn_with_log(&mut serve, File::create(&path).expect("a file"));
    let begun = Instant::now();
    loop {
        let log = fs::read_to_string(&path).expect("a log");
        let mut lines = log
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        if let Some(line) = lines.find(|line: &Value| line["target"] == target) {
            return line;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{log}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_says_what_is_wrong_with_its_role() {
    let db = database().await;
    let owner = session(&db.url).await;
    let line = tokio::task::block_in_place(|| reported(&as_server(&db.url)));
    assert_eq!(line["level"], "DEBUG", "{line}");

    let line = tokio::task::block_in_place(|| reported(&db.url));
    assert_eq!(line["level"], "WARN", "{line}");
    assert_eq!(line["too_much"], "is a superuser", "{line}");

    let less = format!("REVOKE INSERT ON entry FROM {SERVER_ROLE}");
    owner.batch_execute(&less).await.expect(&less);
    let line = tokio::task::block_in_place(|| reported(&as_server(&db.url)));
    assert_eq!(line["level"], "ERROR", "{line}");
    assert_eq!(line["missing"], "INSERT on entry", "{line}");

    let more = format!("GRANT INSERT, DELETE ON entry TO {SERVER_ROLE}");
    owner.batch_execute(&more).await.expect(&more);
    let line = tokio::task::block_in_place(|| reported(&as_server(&db.url)));
    assert_eq!(line["level"], "WARN", "{line}");
    assert_eq!(line["too_much"], "has DELETE on entry", "{line}");
}
