//! The database: whether it can be reached and how, what kind of server it is, and who is between.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::cli::doctor::finding::Finding;
use crate::cli::doctor::looks::Looks;
use crate::cli::doctor::words::span;
use crate::cli::doctor::{
    activity, capacity, certificates, replication, reservations, schema, settings, tables,
};
use crate::config::ServeArgs;
use crate::db::connect::{ConnectError, Connector, Session};
use crate::db::inspect::look::{ConnectFailure, Inspector};
use crate::db::inspect::server::{self, ClockFacts, ServerVersion, SessionFacts};
use crate::db::inspect::url::{Encryption, TlsWishes};
use crate::db::pooler::{self, Sharing};
use crate::db::roles::is_english;
use crate::limits::{DOCTOR_CHECK_MAX, TOKEN_LEEWAY};

/// The versions of PostgreSQL that Earmark is tested with.
const VERSIONS: std::ops::RangeInclusive<i32> = 15..=18;
/// A difference of clocks that is warned of: reservations expire by the database's clock, and tokens by the server's.
const CLOCK_WARNING_S: f64 = 1.0;
/// A round trip that is warned of: a write takes several.
const ROUND_TRIP_WARNING: Duration = Duration::from_millis(5);

/// All checks of the database that these settings name.
pub(super) async fn all(serve: &ServeArgs, until: Instant) -> Vec<Finding> {
    let session = Session {
        application_name: "earmark-doctor",
        ..Session::default()
    };
    let connector = match Connector::with_session(&serve.database.database_url, &session) {
        Ok(connector) => connector,
        Err(error) => return unreachable("--database-url", &error),
    };
    let wishes = TlsWishes::of(&serve.database.database_url);
    let mut findings = certificates_of(&wishes);
    let (inspector, took) = match Inspector::connect(connector.clone(), until).await {
        Ok(connected) => connected,
        Err(error) => {
            findings.extend(unreachable(connector.address(), &error));
            return findings;
        }
    };
    let mut looks = Looks::new(inspector);
    let clock = looks.ask("database.connection", server::clock).await;
    if let Some(clock) = clock {
        looks.push(connection(connector.address(), took, clock));
        looks.push(clock_difference(clock));
    }
    looks
        .add("database.version", server::version, version)
        .await;
    if let Some(facts) = looks.ask("database.session", server::session).await {
        looks.name(&facts.role, &facts.database);
        looks.push(tls(wishes.encryption, connector.is_remote(), &facts));
        look_further(&mut looks, serve, &connector, facts, until).await;
    }
    findings.extend(looks.into_findings());
    findings
}

/// The files of certificates that the database URL names.
fn certificates_of(wishes: &TlsWishes) -> Vec<Finding> {
    let roots = wishes.root_file.as_deref();
    let own = wishes.certificate_file.as_deref();
    let roots = roots.map(|file| certificates::authorities("certificates.sslrootcert", file));
    let own = own.map(|file| certificates::chain("certificates.sslcert", file));
    roots.into_iter().chain(own).collect()
}

/// All that takes a connection that works.
async fn look_further(
    looks: &mut Looks,
    serve: &ServeArgs,
    connector: &Connector,
    session: SessionFacts,
    until: Instant,
) {
    looks.push(encoding(&session));
    looks.push(language(&session));
    let limit = until.min(Instant::now() + DOCTOR_CHECK_MAX);
    let sharing = match timeout_at(limit, pooler::sharing(connector)).await {
        Ok(Ok(sharing)) => sharing,
        _ => None,
    };
    looks.push(pooler(sharing));
    let is_shared = sharing.is_some_and(|sharing| sharing != Sharing::Own);
    replication::all(looks, session.is_standby).await;
    schema::all(looks).await;
    settings::all(looks, is_shared, session.is_standby).await;
    let app = serve.connections.settings(serve.server.calls_max);
    capacity::connections(looks, app.database_connections_max()).await;
    let is_local = session.is_local && !connector.is_remote();
    capacity::disk(looks, is_local).await;
    tables::all(looks).await;
    activity::all(looks, session.sees_others).await;
    reservations::all(looks).await;
}

fn connection(address: &str, took: Duration, clock: ClockFacts) -> Finding {
    let [took, round_trip] = [took, clock.round_trip].map(|time| span(time.as_secs_f64()));
    let found = format!("{address}: connected in {took}, a round trip takes {round_trip}");
    if clock.round_trip > ROUND_TRIP_WARNING {
        return Finding::warning(
            "database.connection",
            found,
            "each write takes several round trips: run servers close to the database, in its zone or on its machine",
        );
    }
    Finding::ok("database.connection", found)
}

fn clock_difference(clock: ClockFacts) -> Finding {
    const NAME: &str = "database.clock";
    let exact = span(clock.round_trip.as_secs_f64() / 2.0);
    let by = span(clock.ahead_s);
    let found = match clock.ahead_s {
        0.0.. => {
            format!("the database's clock is {by} ahead of this machine's, give or take {exact}")
        }
        _ => format!("the database's clock is {by} behind this machine's, give or take {exact}"),
    };
    let advice = "synchronise both clocks (chrony or systemd-timesyncd: `timedatectl status`): reservations expire by the \
                  database's clock, tokens by that of the server's machine, within 5 s";
    match clock.ahead_s.abs() {
        difference if difference > TOKEN_LEEWAY.as_secs_f64() => {
            Finding::problem(NAME, found, advice)
        }
        difference if difference > CLOCK_WARNING_S => Finding::warning(NAME, found, advice),
        _ => Finding::ok(NAME, found),
    }
}

fn version(version: ServerVersion) -> Finding {
    const NAME: &str = "database.version";
    let found = format!("PostgreSQL {}", version.name);
    let (oldest, newest) = (VERSIONS.start(), VERSIONS.end());
    match version.major {
        major if major < *oldest => Finding::problem(
            NAME,
            found,
            format!("Earmark needs PostgreSQL {oldest} to {newest}: upgrade the database server"),
        ),
        major if major > *newest => Finding::warning(
            NAME,
            found,
            format!(
                "Earmark was tested with PostgreSQL {oldest} to {newest}: try it with a copy of the database first"
            ),
        ),
        _ => Finding::ok(NAME, found),
    }
}

fn tls(wanted: Encryption, is_remote: bool, session: &SessionFacts) -> Finding {
    const NAME: &str = "database.tls";
    let version = session.tls_version.as_deref().unwrap_or("TLS");
    let advice = "set sslmode=verify-full in the database URL, with sslrootcert=FILE for a private authority";
    let encrypted = match wanted {
        Encryption::Verified if is_remote || session.is_encrypted => {
            return Finding::ok(NAME, format!("{version}, and the certificate is verified"));
        }
        // A unix socket has no TLS, whatever the URL says.
        Encryption::Verified => false,
        Encryption::Unverified => is_remote || session.is_encrypted,
        // What ends at a pooler or proxy in between is not seen.
        Encryption::IfOffered => session.is_encrypted,
        Encryption::Never => false,
    };
    match (encrypted, is_remote) {
        (true, false) => Finding::ok(NAME, format!("{version}, unverified, on this machine")),
        (false, false) => Finding::ok(NAME, "none is needed on this machine"),
        (true, true) => Finding::warning(
            NAME,
            format!(
                "{version}, but the certificate is not verified: anybody in between can take the server's place"
            ),
            advice,
        ),
        (false, true) => Finding::problem(
            NAME,
            "the connection leaves this machine and is not encrypted: passwords and records can be read on the way",
            advice,
        ),
    }
}

fn encoding(session: &SessionFacts) -> Finding {
    const NAME: &str = "database.encoding";
    match session.encoding.as_str() {
        "UTF8" => Finding::ok(NAME, "UTF8"),
        other => Finding::problem(
            NAME,
            other,
            "create a database with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0, and move the data there",
        ),
    }
}

fn language(session: &SessionFacts) -> Finding {
    const NAME: &str = "database.language";
    let found = format!("errors are in {:?}", session.lc_messages);
    if is_english(&session.lc_messages) {
        return Finding::ok(NAME, found);
    }
    Finding::warning(
        NAME,
        format!("{found}, and some are told apart by their English text"),
        "set lc_messages = 'C' in postgresql.conf, or as a superuser GRANT SET ON PARAMETER lc_messages TO <role>",
    )
}

fn pooler(sharing: Option<Sharing>) -> Finding {
    const NAME: &str = "database.pooler";
    match sharing {
        Some(Sharing::Own) => Finding::ok(
            NAME,
            "none, or one in session mode: each connection has a session of its own",
        ),
        Some(Sharing::SharedPrepared) => Finding::warning(
            NAME,
            "a pooler shares sessions (transaction mode): time limits and other settings of sessions hold by chance",
            "use the pooler's session mode (PgBouncer: pool_mode = session), or connect directly",
        ),
        Some(Sharing::NoTransactions) => Finding::problem(
            NAME,
            "a pooler refuses transactions (statement mode): servers refuse to start",
            "use session mode (PgBouncer: pool_mode = session), or transaction mode of PgBouncer from 1.21 on with \
             max_prepared_statements = 200",
        ),
        Some(Sharing::Breaks) => Finding::problem(
            NAME,
            "a pooler shares sessions (transaction mode) and loses prepared statements: servers refuse to start",
            "use session mode (PgBouncer: pool_mode = session), or PgBouncer from 1.21 on with max_prepared_statements = 200",
        ),
        None => Finding::problem(
            NAME,
            "the check failed: two connections at the same time did not answer",
            "see that at least two connections are free (`capacity.connections`), and run `earmark doctor` again",
        ),
    }
}

/// The findings where there is no connection.
fn unreachable(address: &str, error: &ConnectError) -> Vec<Finding> {
    let advice = match ConnectFailure::of(error) {
        ConnectFailure::Setting => {
            "correct --database-url (DATABASE_URL), or the file that it names"
        }
        ConnectFailure::Password => {
            "give the role's password in the database URL, with %40 for @ and %2F for /; set another one with ALTER ROLE … \
             PASSWORD '…'"
        }
        ConnectFailure::NotAllowed => {
            "add a line for this role, database and address to pg_hba.conf and SELECT pg_reload_conf(), or see that the \
             role exists and has LOGIN"
        }
        ConnectFailure::NoDatabase => {
            "CREATE DATABASE … OWNER …, then run `earmark migrate --grant ROLE`; or correct the name in the URL"
        }
        ConnectFailure::TooMany => {
            "raise max_connections (or the limit of the role or database), or lower --pool-size and --writers of the \
             servers"
        }
        ConnectFailure::NotReady => "wait until the server has started; its log says what it does",
        ConnectFailure::Refused => {
            "start PostgreSQL there (`pg_ctl start`, `systemctl start postgresql`), see that listen_addresses has this \
             address, or correct host and port in the URL"
        }
        ConnectFailure::UnknownHost => {
            "correct the host in the URL, or the machine's DNS (`getent hosts NAME`)"
        }
        ConnectFailure::NoTls => {
            "set ssl = on with a certificate in postgresql.conf; or, on a trusted network, sslmode=prefer"
        }
        ConnectFailure::Certificate => {
            "give the authority's file with sslrootcert=FILE, use the host name that the certificate has, or renew the \
             certificate"
        }
        ConnectFailure::Silent => {
            "nothing answers: see that the server runs, and that no firewall drops packets between (`nc -vz HOST PORT`)"
        }
        ConnectFailure::Other => "look at the database's log",
    };
    vec![
        Finding::problem("database.connection", format!("{address}: {error}"), advice),
        Finding::not_looked_at(
            "database",
            "everything else about the database: there is no connection",
            "see to the connection, then run `earmark doctor` again",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::FindingState;

    fn clock(ahead_s: f64) -> Finding {
        let round_trip = Duration::from_millis(2);
        clock_difference(ClockFacts {
            round_trip,
            ahead_s,
        })
    }

    #[test]
    fn a_clock_that_differs_is_a_warning_and_then_a_problem() {
        let found = clock(0.003);
        assert_eq!(found.state, FindingState::Ok);
        assert!(found.found.contains("3.0 ms ahead"), "{found:?}");
        assert!(found.found.contains("give or take 1.0 ms"), "{found:?}");
        assert_eq!(clock(-1.5).state, FindingState::Warning);
        let found = clock(-61.0);
        assert_eq!(found.state, FindingState::Problem);
        assert!(found.found.contains("1 min 1 s behind"), "{found:?}");
        assert!(found.advice.is_some_and(|advice| advice.contains("chrony")));
    }

    #[test]
    fn versions_out_of_the_range_are_named() {
        let of = |major: i32| {
            let name = format!("{major}.1");
            version(ServerVersion { major, name }).state
        };
        assert_eq!(of(14), FindingState::Problem);
        assert_eq!(of(15), FindingState::Ok);
        assert_eq!(of(18), FindingState::Ok);
        assert_eq!(of(19), FindingState::Warning);
    }

    #[test]
    fn a_connection_that_leaves_the_machine_must_be_encrypted_and_verified() {
        let session = |is_encrypted| SessionFacts {
            encoding: "UTF8".into(),
            lc_messages: "C".into(),
            role: "r".into(),
            database: "d".into(),
            is_encrypted,
            tls_version: None,
            is_standby: false,
            is_local: false,
            sees_others: true,
        };
        let state =
            |wanted, is_remote, is_encrypted| tls(wanted, is_remote, &session(is_encrypted)).state;
        assert_eq!(state(Encryption::Never, true, false), FindingState::Problem);
        assert_eq!(
            state(Encryption::IfOffered, true, false),
            FindingState::Problem
        );
        assert_eq!(
            state(Encryption::IfOffered, true, true),
            FindingState::Warning
        );
        assert_eq!(
            state(Encryption::Unverified, true, false),
            FindingState::Warning
        );
        assert_eq!(state(Encryption::Verified, true, true), FindingState::Ok);
        assert_eq!(state(Encryption::Never, false, false), FindingState::Ok);
    }
}
