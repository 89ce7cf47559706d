//! The role that a server connects as: what it may do with each table, how it is granted that, and whether a role has it.
//!
//! The role that migrates owns the tables. A server needs less: no statement of it changes the schema, or what was
//! appended once. With a role of its own, neither a defect of it nor somebody who takes it over can rewrite the journal.

use std::collections::BTreeMap;

use thiserror::Error;
use tokio_postgres::{Client, GenericClient};

use crate::db::connect::{ConnectError, Connector, Session};
use crate::db::error_text::chain;
use crate::db::migration_lock;
use crate::limits::{DB_MIGRATION_WAIT_MAX, DB_ROLE_CHECK_PAUSE};

/// What the statements of a server do with a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableUse {
    /// Rows are read only.
    Read,
    /// Rows are read and inserted. None is ever changed or removed.
    Append,
    /// Rows are read, inserted, and updated or locked: to lock a row takes the privilege to update it.
    Change,
    /// Rows are read, inserted, updated and deleted.
    Remove,
}

impl TableUse {
    /// The privileges that this takes, as Postgres names them.
    pub fn privileges(self) -> &'static [&'static str] {
        match self {
            Self::Read => &["SELECT"],
            Self::Append => &["SELECT", "INSERT"],
            Self::Change => &["SELECT", "INSERT", "UPDATE"],
            Self::Remove => &["SELECT", "INSERT", "UPDATE", "DELETE"],
        }
    }
}

/// Every table and view of the schema, and what a server does with it. Partitions are used through their tables, and need no
/// privileges of their own. The schema has no sequences; its functions use the tables as their caller may.
pub const TABLES: &[(&str, TableUse)] = &[
    ("__diesel_schema_migrations", TableUse::Read),
    ("account", TableUse::Change),
    ("adjustment", TableUse::Append),
    // A view. Servers of the version before write through it.
    ("allocation", TableUse::Change),
    ("allocation_key", TableUse::Append),
    ("archived_period", TableUse::Read),
    ("bucket", TableUse::Change),
    // A view. Servers of the version before write through it.
    ("bucket_action", TableUse::Change),
    ("bucket_action_key", TableUse::Append),
    ("bucket_key", TableUse::Append),
    ("bucket_product", TableUse::Append),
    ("bucket_update", TableUse::Append),
    ("carry_forward", TableUse::Read),
    ("cas_allocation", TableUse::Remove),
    ("catalogue_allocation", TableUse::Remove),
    ("catalogue_company", TableUse::Change),
    ("client", TableUse::Change),
    ("closed_allocation", TableUse::Append),
    ("closed_bucket_action", TableUse::Append),
    ("connection", TableUse::Change),
    ("enterprise", TableUse::Change),
    ("entry", TableUse::Append),
    ("open_allocation", TableUse::Remove),
    ("open_bucket_action", TableUse::Remove),
    // Its rows are locked, and never updated.
    ("owner", TableUse::Change),
    ("partner", TableUse::Change),
    ("request_key", TableUse::Append),
    ("sealed_owner", TableUse::Read),
    ("sealed_period", TableUse::Read),
];

/// Why a role could not be granted what a server needs. Nothing was granted or revoked.
#[derive(Debug, Error)]
pub enum GrantError {
    /// The connection could not be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The cluster has no such role.
    #[error(
        "the role {0:?} does not exist: create it first, for example with CREATE ROLE … LOGIN PASSWORD '…'"
    )]
    RoleUnknown(String),
    /// The role may do everything whatever it is granted.
    #[error(
        "the role {0:?} {1}, so that privileges do not limit it: choose a role for the server that is neither a \
             superuser nor an owner of the tables, nor a member of one"
    )]
    RoleUnlimited(String, &'static str),
    /// The role has further privileges, which were not granted to itself.
    #[error(
        "the role {role:?} would still have {what}, from PUBLIC or a role that it is a member of: revoke that first"
    )]
    RoleExceeds {
        /// The name of the role, without quotes.
        role: String,
        /// The privileges, separated by commas.
        what: String,
    },
    /// The migrations of another replica took longer than [`DB_MIGRATION_WAIT_MAX`].
    #[error(
        "the migrations of another replica have not ended in {DB_MIGRATION_WAIT_MAX:?}: try again then"
    )]
    Locked,
    /// A statement failed, for example because the migrating role does not own the tables; the text is Postgres's.
    #[error("the privileges cannot be granted: {}", chain(.0))]
    Postgres(#[from] tokio_postgres::Error),
}

/// Grants a role what a server needs, and revokes from it what else it was granted on the tables. May be repeated; is
/// to be repeated after migrations. The database's schema must be current.
///
/// # Errors
/// Any variant of [`GrantError`].
pub async fn grant(url: &str, role: &str) -> Result<(), GrantError> {
    let session = Session {
        application_name: "earmark-migrate",
        ..Session::default()
    };
    let (mut client, _driver) = Connector::with_session(url, &session)?.connect().await?;
    if !migration_lock::take(&client).await? {
        return Err(GrantError::Locked);
    }
    let transaction = client.transaction().await?;
    let power = RolePower::of(&transaction, role)
        .await?
        .ok_or_else(|| GrantError::RoleUnknown(role.into()))?;
    // Revoked from an owner, privileges would be missing for migrations.
    if let Some(why) = power.unlimited {
        return Err(GrantError::RoleUnlimited(role.into(), why));
    }
    let sql = grant_sql(&transaction, role).await?;
    transaction.batch_execute(&sql).await?;
    let exceeding = RolePower::of(&transaction, role)
        .await?
        .map(|power| power.exceeding)
        .unwrap_or_default();
    if !exceeding.is_empty() {
        return Err(GrantError::RoleExceeds {
            role: role.into(),
            what: exceeding.join(", "),
        });
    }
    transaction.commit().await?;
    Ok(())
}

/// The statements that grant and revoke. Tables are found by the search path, as servers find them.
async fn grant_sql(
    client: &impl GenericClient,
    role: &str,
) -> Result<String, tokio_postgres::Error> {
    let names =
        "SELECT quote_ident($1), quote_ident(current_database()), n.oid::regnamespace::text,
                        has_database_privilege($1::text::name, current_database(), 'CONNECT'),
                        (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
                   FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                  WHERE c.oid = to_regclass('entry')";
    let row = client.query_one(names, &[&role]).await?;
    let (role, database, schema): (String, String, String) = (row.get(0), row.get(1), row.get(2));
    let (may_connect, by_superuser): (bool, bool) = (row.get(3), row.get(4));
    let mut sql = vec![
        format!("GRANT USAGE ON SCHEMA {schema} TO {role}"),
        format!("REVOKE CREATE ON SCHEMA {schema} FROM {role}"),
    ];
    if !may_connect {
        sql.push(format!("GRANT CONNECT ON DATABASE {database} TO {role}"));
    }
    // Sessions set it so that errors are in English, by which some are classified. Only a superuser can grant that.
    if by_superuser {
        sql.push(format!("GRANT SET ON PARAMETER lc_messages TO {role}"));
    }
    for (table, usage) in TABLES {
        let privileges = usage.privileges().join(", ");
        sql.push(format!("REVOKE ALL ON TABLE {table} FROM {role}"));
        sql.push(format!("GRANT {privileges} ON TABLE {table} TO {role}"));
    }
    Ok(sql.join(";\n"))
}

/// What a role may do with the tables, by whatever way: granted to it, to PUBLIC or to a role that it is a member of.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RolePower {
    /// Why privileges do not limit it, if they do not.
    pub(crate) unlimited: Option<&'static str>,
    /// What it has and a server does not need, such as `DELETE on entry`.
    pub(crate) exceeding: Vec<String>,
    /// What a server needs and it has not. Empty if the tables are not visible to it.
    pub(crate) missing: Vec<String>,
    /// Whether the tables exist, in a schema that the role may use.
    pub(crate) sees_tables: bool,
}

impl RolePower {
    /// `None` if there is no such role.
    pub(super) async fn of(
        client: &impl GenericClient,
        role: &str,
    ) -> Result<Option<Self>, tokio_postgres::Error> {
        let names: Vec<&str> = TABLES.iter().map(|(table, _)| *table).collect();
        let kind = "SELECT r.rolsuper,
                           EXISTS (SELECT FROM unnest($2::text[]) t(name) JOIN pg_class c ON c.oid = to_regclass(t.name)
                                    WHERE pg_has_role(r.oid, c.relowner, 'MEMBER'))
                      FROM pg_roles r WHERE r.rolname = $1";
        let Some(row) = client.query_opt(kind, &[&role, &names]).await? else {
            return Ok(None);
        };
        let unlimited = match (row.get(0), row.get(1)) {
            (true, _) => Some("is a superuser"),
            (_, true) => Some("owns the tables, or is a member of their owner"),
            _ => None,
        };
        // Some privileges may also be granted on single columns.
        let privileges = "
            SELECT t.name, p.name,
                   CASE WHEN p.name IN ('DELETE', 'TRUNCATE', 'TRIGGER')
                        THEN has_table_privilege($1::text::name, to_regclass(t.name)::oid, p.name)
                        ELSE has_any_column_privilege($1::text::name, to_regclass(t.name)::oid, p.name) END
              FROM unnest($2::text[]) t(name)
             CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) p(name)
             WHERE to_regclass(t.name) IS NOT NULL";
        let uses: BTreeMap<&str, TableUse> = TABLES.iter().copied().collect();
        let (mut exceeding, mut missing) = (Vec::new(), Vec::new());
        let rows = client.query(privileges, &[&role, &names]).await?;
        for row in &rows {
            let (table, privilege, has): (&str, &str, bool) = (row.get(0), row.get(1), row.get(2));
            let needed = uses
                .get(table)
                .is_some_and(|usage| usage.privileges().contains(&privilege));
            match (needed, has) {
                (true, false) => missing.push(format!("{privilege} on {table}")),
                (false, true) => exceeding.push(format!("{privilege} on {table}")),
                _ => {}
            }
        }
        let creates = "SELECT has_database_privilege($1::text::name, current_database(), 'CREATE'),
                              coalesce(has_schema_privilege($1::text::name, c.relnamespace, 'CREATE'), false),
                              c.relnamespace::regnamespace::text
                         FROM pg_class c WHERE c.oid = to_regclass('entry')";
        if let Some(row) = client.query_opt(creates, &[&role]).await? {
            let schema: &str = row.get(2);
            if row.get(0) {
                exceeding.push("CREATE on the database".into());
            }
            if row.get(1) {
                exceeding.push(format!("CREATE on the schema {schema}"));
            }
        }
        Ok(Some(Self {
            unlimited,
            exceeding,
            missing,
            sees_tables: !rows.is_empty(),
        }))
    }
}

/// Logs once what is wrong with the role that a server connects as: a warning if it may do more than a server needs, an
/// error if it lacks something. Waits for a database that does not answer, or has no tables yet.
pub async fn report(connector: Connector) {
    loop {
        if let Ok((client, _driver)) = connector.connect().await
            && let Ok(true) = report_on(&client).await
        {
            return;
        }
        tokio::time::sleep(DB_ROLE_CHECK_PAUSE).await;
    }
}

/// Whether there was something to report on.
async fn report_on(client: &Client) -> Result<bool, tokio_postgres::Error> {
    let session = "SELECT current_user::text, current_setting('lc_messages')";
    let row = client.query_one(session, &[]).await?;
    let (role, lc_messages): (String, String) = (row.get(0), row.get(1));
    let power = RolePower::of(client, &role).await?;
    let Some(power) = power.filter(|power| power.sees_tables) else {
        return Ok(false);
    };
    let missing = power.missing.join(", ");
    if !missing.is_empty() {
        tracing::error!(
            role,
            missing,
            "the database role lacks privileges: run `earmark migrate --grant ROLE` with it"
        );
    }
    let too_much = match power.unlimited {
        Some(why) => why.to_owned(),
        None if power.exceeding.is_empty() => String::new(),
        None => format!("has {}", power.exceeding.join(", ")),
    };
    if !too_much.is_empty() {
        tracing::warn!(
            role,
            too_much,
            "the database role can do more than a server needs, such as change the journal: serve with another role, \
             which `earmark migrate --grant ROLE` sets up"
        );
    }
    if missing.is_empty() && too_much.is_empty() {
        tracing::debug!(
            role,
            "the database role has what a server needs, and nothing else"
        );
    }
    if !is_english(&lc_messages) {
        tracing::warn!(
            role,
            lc_messages,
            "the database's errors are not in English, so that some are taken for internal ones: set lc_messages to C"
        );
    }
    Ok(true)
}

/// Whether errors are in English where `lc_messages` has this value.
pub(crate) fn is_english(lc_messages: &str) -> bool {
    ["C", "POSIX", "en"]
        .iter()
        .any(|locale| lc_messages.starts_with(locale))
        || lc_messages.is_empty()
}
