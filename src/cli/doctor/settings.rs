//! The settings of the database server that durability, isolation and speed depend on.

use crate::cli::doctor::finding::Finding;
use crate::cli::doctor::looks::Looks;
use crate::cli::doctor::replication::archive;
use crate::cli::doctor::words::{bytes, span};
use crate::db::inspect::replication::archiver;
use crate::db::inspect::server::database_bytes;
use crate::db::inspect::settings::{self, ServerSettingMap};
use crate::limits::{DB_IDLE_IN_TRANSACTION_MAX, DB_LOCK_WAIT_MAX, DB_STATEMENT_MAX};

/// The default of `shared_buffers`, and likewise small values.
const SMALL_BUFFERS_BYTES: i64 = 128 << 20;
/// A database from this size on needs more memory than the default, and more room for its log between two checkpoints.
const LARGE_DATABASE_BYTES: i64 = 1 << 30;
/// The default of `max_wal_size`.
const SMALL_WAL_BYTES: i64 = 1 << 30;

pub(super) async fn all(looks: &mut Looks, is_shared: bool, is_standby: bool) {
    let Some(map) = looks.ask("settings", settings::all).await else {
        return;
    };
    looks.push(read_only(&map));
    looks.push(synchronous_commit(&map, is_shared));
    looks.push(must_be_on(
        &map,
        "settings.fsync",
        "fsync",
        "a crash of the machine can lose acknowledged writes and destroy the database",
    ));
    looks.push(must_be_on(
        &map,
        "settings.full_page_writes",
        "full_page_writes",
        "a crash of the machine can leave pages that are half written",
    ));
    looks.push(isolation(&map, is_shared));
    looks.push(time_limits(&map, is_shared));
    looks.push(must_be_on(
        &map,
        "settings.autovacuum",
        "autovacuum",
        "dead rows stay, statistics grow old, and every statement becomes slower",
    ));
    looks.push(must_be_on(
        &map,
        "settings.track_counts",
        "track_counts",
        "autovacuum does not see which tables need it",
    ));
    looks.push(track_activities(&map));
    looks.push(jit(&map, is_shared));
    let size = looks.ask("settings.memory", database_bytes).await;
    if let Some(size) = size {
        looks.push(memory(&map, size));
        looks.push(checkpoints(&map, size));
    }
    if is_standby {
        return;
    }
    if let Some(finding) = no_archive(&map) {
        looks.push(finding);
    } else {
        looks
            .add("replication.archive", archiver, |facts| archive(&facts))
            .await;
    }
}

/// How a setting of the whole server is changed.
fn alter_system(name: &str, value: &str) -> String {
    format!("ALTER SYSTEM SET {name} = {value}; SELECT pg_reload_conf()")
}

fn shown(map: &ServerSettingMap, name: &str) -> String {
    match map.get(name) {
        // Earmark has set it for this session; the value is that from before.
        Some(setting) if setting.source == "session" => {
            map.text(name).unwrap_or_default().to_owned()
        }
        Some(setting) => format!(
            "{} ({})",
            map.text(name).unwrap_or_default(),
            setting.source
        ),
        None => "not visible".into(),
    }
}

fn must_be_on(map: &ServerSettingMap, check: &'static str, name: &str, otherwise: &str) -> Finding {
    let found = shown(map, name);
    if map.is_off(name) {
        let advice = alter_system(name, "on");
        return Finding::problem(check, format!("{found}: {otherwise}"), advice);
    }
    Finding::ok(check, found)
}

fn read_only(map: &ServerSettingMap) -> Finding {
    const NAME: &str = "settings.default_transaction_read_only";
    let setting = "default_transaction_read_only";
    let found = shown(map, setting);
    if map.text(setting) != Some("on") {
        return Finding::ok(NAME, found);
    }
    let reset = match map.get(setting).map(|setting| setting.source.as_str()) {
        Some("database") => "ALTER DATABASE <database> RESET default_transaction_read_only",
        Some("user" | "database user") => "ALTER ROLE <role> RESET default_transaction_read_only",
        Some("client") => "take default_transaction_read_only out of the database URL's options",
        _ => "ALTER SYSTEM RESET default_transaction_read_only; SELECT pg_reload_conf()",
    };
    Finding::problem(
        NAME,
        format!("{found}: writes are refused, and health is NOT_SERVING"),
        format!("if it is not meant: {reset}, then end the sessions of the servers"),
    )
}

fn synchronous_commit(map: &ServerSettingMap, is_shared: bool) -> Finding {
    const NAME: &str = "settings.synchronous_commit";
    let found = shown(map, "synchronous_commit");
    let value = map.text("synchronous_commit").unwrap_or_default();
    if ["on", "remote_apply"].contains(&value) {
        return Finding::ok(NAME, found);
    }
    if is_shared {
        return Finding::problem(
            NAME,
            format!("{found}, and a pooler shares sessions: servers refuse to start"),
            "ALTER ROLE <role> SET synchronous_commit = on, or use the pooler's session mode",
        );
    }
    Finding::ok(
        NAME,
        format!("{found}; Earmark sets it to on for its sessions"),
    )
}

fn isolation(map: &ServerSettingMap, is_shared: bool) -> Finding {
    const NAME: &str = "settings.default_transaction_isolation";
    let setting = "default_transaction_isolation";
    let found = shown(map, setting);
    if map.text(setting) == Some("read committed") {
        return Finding::ok(NAME, found);
    }
    if is_shared {
        return Finding::problem(
            NAME,
            format!("{found}, and a pooler shares sessions: writes may end with CONTENTION"),
            "ALTER ROLE <role> SET default_transaction_isolation = 'read committed', or use the pooler's session mode",
        );
    }
    Finding::ok(
        NAME,
        format!("{found}; Earmark sets read committed for its sessions"),
    )
}

fn time_limits(map: &ServerSettingMap, is_shared: bool) -> Finding {
    const NAME: &str = "settings.time_limits";
    let ends = ["idle_session_timeout", "transaction_timeout"].map(|name| {
        let limit = map.seconds(name).filter(|limit| *limit > 0.0);
        limit.map(|limit| (name, limit))
    });
    if let Some((name, limit)) = ends.into_iter().flatten().next() {
        return Finding::warning(
            NAME,
            format!(
                "{name} is {}: it ends connections that servers keep, or verifications",
                span(limit)
            ),
            format!("ALTER ROLE <role> SET {name} = 0"),
        );
    }
    if is_shared {
        let role = map.seconds("statement_timeout").unwrap_or_default();
        let max = DB_STATEMENT_MAX.as_secs();
        if role == 0.0 {
            return Finding::warning(
                NAME,
                "none by default, and a pooler shares sessions: those that Earmark sets hold by chance",
                format!(
                    "ALTER ROLE <role> SET statement_timeout = '{max}s'; ALTER ROLE <role> SET lock_timeout = '{}s'; ALTER ROLE <role> SET \
                     idle_in_transaction_session_timeout = '{}s'",
                    DB_LOCK_WAIT_MAX.as_secs(),
                    DB_IDLE_IN_TRANSACTION_MAX.as_secs()
                ),
            );
        }
    }
    Finding::ok(
        NAME,
        format!(
            "statement_timeout {} s, lock_timeout {} s, idle_in_transaction_session_timeout {} s: Earmark sets them for its \
             sessions",
            DB_STATEMENT_MAX.as_secs(),
            DB_LOCK_WAIT_MAX.as_secs(),
            DB_IDLE_IN_TRANSACTION_MAX.as_secs()
        ),
    )
}

fn track_activities(map: &ServerSettingMap) -> Finding {
    const NAME: &str = "settings.track_activities";
    let found = shown(map, "track_activities");
    if map.is_off("track_activities") {
        return Finding::warning(
            NAME,
            format!("{found}: nobody sees what sessions do, and old transactions are not found"),
            alter_system("track_activities", "on"),
        );
    }
    Finding::ok(NAME, found)
}

fn jit(map: &ServerSettingMap, is_shared: bool) -> Finding {
    const NAME: &str = "settings.jit";
    let found = shown(map, "jit");
    if is_shared && map.text("jit") == Some("on") {
        return Finding::warning(
            NAME,
            format!(
                "{found}, and a pooler shares sessions: short statements may be compiled, which takes longer than they do"
            ),
            "ALTER ROLE <role> SET jit = off",
        );
    }
    Finding::ok(
        NAME,
        format!("{found}; Earmark sets it to off for its sessions"),
    )
}

fn memory(map: &ServerSettingMap, database_bytes: i64) -> Finding {
    const NAME: &str = "settings.memory";
    let buffers = map.bytes("shared_buffers").unwrap_or_default();
    let found = format!(
        "shared_buffers {}, the database has {}",
        bytes(buffers),
        bytes(database_bytes)
    );
    if buffers <= SMALL_BUFFERS_BYTES && database_bytes > LARGE_DATABASE_BYTES {
        return Finding::warning(
            NAME,
            found,
            "ALTER SYSTEM SET shared_buffers = a quarter of the machine's memory, such as '4GB', and restart PostgreSQL",
        );
    }
    Finding::ok(NAME, found)
}

fn checkpoints(map: &ServerSettingMap, database_bytes: i64) -> Finding {
    const NAME: &str = "settings.checkpoints";
    let size = map.bytes("max_wal_size").unwrap_or_default();
    let every = map.seconds("checkpoint_timeout").unwrap_or_default();
    let found = format!(
        "every {}, or {} of the write-ahead log",
        span(every),
        bytes(size)
    );
    if size <= SMALL_WAL_BYTES && database_bytes > LARGE_DATABASE_BYTES {
        return Finding::warning(
            NAME,
            format!(
                "{found}: under load they follow each other closely, and each page is written whole after each"
            ),
            alter_system("max_wal_size", "'16GB'"),
        );
    }
    Finding::ok(NAME, found)
}

/// What is to be said where the write-ahead log is not archived.
fn no_archive(map: &ServerSettingMap) -> Option<Finding> {
    const NAME: &str = "replication.archive";
    let level = map.text("wal_level").unwrap_or_default();
    let mode = map.text("archive_mode").unwrap_or_default();
    let is_archived = level != "minimal" && mode != "off";
    (!is_archived).then(|| {
        Finding::warning(
            NAME,
            format!("wal_level = {level}, archive_mode = {mode}: without an archive there is no restore to a moment in time"),
            "set archive_mode = on and an archive_command, and take base backups; a tool that streams the log \
             (pg_receivewal, Barman) or a provider that does so serves as well",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::FindingState;

    fn map(settings: &[(&str, &str, Option<&str>)]) -> ServerSettingMap {
        ServerSettingMap::of(settings)
    }

    #[test]
    fn what_the_session_sets_matters_only_behind_a_pooler() {
        let off = map(&[("synchronous_commit", "off", None)]);
        assert_eq!(synchronous_commit(&off, false).state, FindingState::Ok);
        assert_eq!(synchronous_commit(&off, true).state, FindingState::Problem);
        let strict = map(&[("default_transaction_isolation", "serializable", None)]);
        assert_eq!(isolation(&strict, false).state, FindingState::Ok);
        assert_eq!(isolation(&strict, true).state, FindingState::Problem);
        let jit_on = map(&[("jit", "on", None)]);
        assert_eq!(jit(&jit_on, true).state, FindingState::Warning);
        let none = map(&[("statement_timeout", "0", Some("ms"))]);
        assert_eq!(time_limits(&none, true).state, FindingState::Warning);
        assert_eq!(time_limits(&none, false).state, FindingState::Ok);
        let idle = map(&[("idle_session_timeout", "60000", Some("ms"))]);
        let found = time_limits(&idle, false);
        assert!(
            found.found.contains("idle_session_timeout is 1 min"),
            "{found:?}"
        );
        assert_eq!(found.state, FindingState::Warning);
    }

    #[test]
    fn defaults_are_too_small_for_a_large_database() {
        let small = map(&[
            ("shared_buffers", "16384", Some("8kB")),
            ("max_wal_size", "1024", Some("MB")),
        ]);
        assert_eq!(memory(&small, 1 << 20).state, FindingState::Ok);
        assert_eq!(memory(&small, 2 << 30).state, FindingState::Warning);
        assert_eq!(checkpoints(&small, 1 << 20).state, FindingState::Ok);
        assert_eq!(checkpoints(&small, 2 << 30).state, FindingState::Warning);
    }

    #[test]
    fn no_restore_to_a_moment_without_an_archive() {
        let of = |level, mode| {
            let settings = [("wal_level", level, None), ("archive_mode", mode, None)];
            no_archive(&map(&settings)).map(|finding| finding.state)
        };
        assert_eq!(of("replica", "off"), Some(FindingState::Warning));
        assert_eq!(of("minimal", "on"), Some(FindingState::Warning));
        assert_eq!(of("replica", "on"), None);
    }

    #[test]
    fn a_setting_that_must_be_on_says_how() {
        let off = map(&[("fsync", "off", None)]);
        let found = must_be_on(&off, "settings.fsync", "fsync", "loss");
        assert_eq!(found.state, FindingState::Problem);
        let advice = found.advice.expect("advice");
        assert_eq!(
            advice,
            "ALTER SYSTEM SET fsync = on; SELECT pg_reload_conf()"
        );
    }
}
