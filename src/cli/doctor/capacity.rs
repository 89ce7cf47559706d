//! What a server can use up: connections to the database, disk, open files.

use std::path::Path;

use nix::sys::statvfs::statvfs;

use crate::app::AppSettings;
use crate::cli::doctor::finding::Finding;
use crate::cli::doctor::looks::Looks;
use crate::cli::doctor::words::{bytes, first_few};
use crate::cli::open_files::limit_and_need;
use crate::db::inspect::activity::{self, ConnectionFacts};
use crate::db::inspect::settings::data_directory;
use crate::db::inspect::tables::{self, TableSize};
use crate::server::ServerSettings;

/// The part of a disk that should stay free, in percent: less is a warning, and then a problem.
const FREE_WARNING_PERCENT: u64 = 20;
const FREE_PROBLEM_PERCENT: u64 = 5;

pub(super) async fn connections(looks: &mut Looks, needed: u32) {
    looks
        .add("capacity.connections", activity::connections, |facts| {
            judge_connections(&facts, i64::from(needed))
        })
        .await;
}

fn judge_connections(facts: &ConnectionFacts, needed: i64) -> Finding {
    const NAME: &str = "capacity.connections";
    let usable = facts.max - facts.reserved;
    let found = format!(
        "a server with these settings needs up to {needed}; max_connections is {}, {} of which are reserved; {} are in use, {} \
         of them by servers of Earmark",
        facts.max, facts.reserved, facts.in_use, facts.of_earmark
    );
    let lower = "or lower --pool-size and --writers";
    if needed > usable {
        let least = needed + facts.reserved;
        return Finding::problem(
            NAME,
            found,
            format!(
                "ALTER SYSTEM SET max_connections = {least} for one server and {needed} more for each other one, and \
                     restart PostgreSQL; {lower}"
            ),
        );
    }
    let own_limits = [
        ("the role", "ROLE <role>", facts.role_max, facts.of_role),
        (
            "the database",
            "DATABASE <database>",
            facts.database_max,
            facts.of_database,
        ),
    ];
    for (what, kind, limit, used) in own_limits {
        if let Some(limit) = limit.filter(|limit| *limit < needed) {
            return Finding::problem(
                NAME,
                format!("{found}; {what} has a limit of {limit}, {used} of it in use"),
                format!("ALTER {kind} CONNECTION LIMIT -1; {lower}"),
            );
        }
    }
    // Room for one more server, or that it runs already.
    let free = usable - facts.in_use;
    let has_room = free + facts.of_earmark >= needed;
    if !has_room || free * 10 < usable {
        return Finding::warning(
            NAME,
            format!("{found}; {free} are free"),
            format!(
                "find out what holds them (SELECT usename, application_name, count(*) FROM pg_stat_activity GROUP BY 1, \
                     2), raise max_connections, {lower}"
            ),
        );
    }
    Finding::ok(NAME, found)
}

/// The open files of a server on this machine.
pub(super) fn open_files(server: &ServerSettings, app: &AppSettings) -> Finding {
    const NAME: &str = "capacity.open_files";
    let (limit, needed) = match limit_and_need(server, app) {
        Ok(both) => both,
        Err(error) => {
            return Finding::problem(
                NAME,
                format!("the check failed: {error}"),
                "look at `ulimit -Hn` of the user that the server runs as",
            );
        }
    };
    let found = format!(
        "the limit of this process's user is {limit} (ulimit -Hn); a server with --connections-max {} can need {needed}",
        server.connections_max
    );
    if limit < needed {
        return Finding::warning(
            NAME,
            found,
            format!(
                "LimitNOFILE={needed} in the unit of systemd, `ulimits` of the container; or lower --connections-max"
            ),
        );
    }
    Finding::ok(NAME, found)
}

/// The sizes of the tables, and the free space where it can be known.
pub(super) async fn disk(looks: &mut Looks, is_local: bool) {
    looks
        .add("tables.size", tables::sizes, |found| sizes(&found))
        .await;
    if !is_local {
        looks.push(Finding::not_looked_at(
            "capacity.disk",
            "the disk is another machine's, and PostgreSQL does not say how full it is",
            "watch it there: alarm at 80 % full",
        ));
        return;
    }
    looks
        .add("capacity.disk", data_directory, |folder| {
            free_space(folder.as_deref().map(Path::new))
        })
        .await;
}

fn sizes(tables: &[TableSize]) -> Finding {
    let total = tables.iter().map(|table| table.total_bytes).sum();
    let each: Vec<String> = tables
        .iter()
        .take(3)
        .map(|table| {
            let (all, indexes) = (bytes(table.total_bytes), bytes(table.index_bytes));
            format!("{} {all} ({indexes} of indexes)", table.name)
        })
        .collect();
    let found = format!(
        "{} in {} tables: {}",
        bytes(total),
        tables.len(),
        first_few(&each)
    );
    Finding::ok("tables.size", found)
}

fn free_space(folder: Option<&Path>) -> Finding {
    const NAME: &str = "capacity.disk";
    let Some(folder) = folder else {
        return Finding::not_looked_at(
            NAME,
            "the role may not see where the server's files are",
            "GRANT pg_read_all_settings TO <role>, or look at `df` there",
        );
    };
    let shown = folder.display();
    match statvfs(folder) {
        Ok(disk) => {
            // Their types differ between operating systems.
            let block = u128::from(disk.fragment_size());
            let [free, all] = [disk.blocks_available(), disk.blocks()]
                .map(|blocks| u64::try_from(u128::from(blocks) * block).unwrap_or(u64::MAX));
            judge_space(&shown.to_string(), free, all)
        }
        Err(error) => Finding::not_looked_at(
            NAME,
            format!(
                "{shown}: {error}: the server may run in a container, or this user may not see the folder"
            ),
            "look at `df` there",
        ),
    }
}

fn judge_space(folder: &str, free: u64, all: u64) -> Finding {
    const NAME: &str = "capacity.disk";
    let percent = free.saturating_mul(100) / all.max(1);
    let [free, all] = [free, all].map(|size| bytes(i64::try_from(size).unwrap_or(i64::MAX)));
    let found = format!("{free} of {all} are free ({percent} %) where {folder} is");
    let advice = "make room before writes are refused: enlarge the disk, look for idle replication slots and a failing \
                  archive (both keep the write-ahead log), and remove old backups";
    if percent < FREE_PROBLEM_PERCENT {
        return Finding::problem(NAME, found, advice);
    }
    if percent < FREE_WARNING_PERCENT {
        return Finding::warning(NAME, found, advice);
    }
    Finding::ok(NAME, found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::FindingState;

    fn facts() -> ConnectionFacts {
        ConnectionFacts {
            max: 100,
            reserved: 3,
            in_use: 10,
            ..ConnectionFacts::default()
        }
    }

    #[test]
    fn a_server_needs_room_for_its_connections() {
        assert_eq!(judge_connections(&facts(), 33).state, FindingState::Ok);
        let few = judge_connections(&facts(), 98);
        assert_eq!(few.state, FindingState::Problem);
        let advice = few.advice.expect("advice");
        assert!(advice.contains("max_connections = 101"), "{advice}");

        let mut full = facts();
        full.in_use = 70;
        assert_eq!(judge_connections(&full, 33).state, FindingState::Warning);
        full.of_earmark = 33;
        assert_eq!(judge_connections(&full, 33).state, FindingState::Ok);

        let mut limited = facts();
        limited.role_max = Some(20);
        let found = judge_connections(&limited, 33);
        assert_eq!(found.state, FindingState::Problem);
        assert!(
            found
                .advice
                .is_some_and(|advice| advice.contains("ALTER ROLE"))
        );
    }

    #[test]
    fn a_disk_fills_up_in_two_steps() {
        let of = |free: u64| judge_space("/data", free << 30, 100 << 30).state;
        assert_eq!(of(50), FindingState::Ok);
        assert_eq!(of(19), FindingState::Warning);
        assert_eq!(of(4), FindingState::Problem);
        assert_eq!(free_space(None).state, FindingState::NotLookedAt);
        let nowhere = free_space(Some(Path::new("/none/at/all")));
        assert_eq!(nowhere.state, FindingState::NotLookedAt);
        let here = free_space(Some(Path::new("/")));
        assert!(here.found.contains("are free"), "{here:?}");
    }
}
