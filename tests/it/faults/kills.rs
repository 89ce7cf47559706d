//! Servers and database killed at random moments: acknowledged writes stay, and none is applied twice.

use std::env;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::support::cluster::own_cluster_with;
use crate::support::earmark::Earmark;
use crate::support::load::Load;
use crate::support::process::{earmark, run};
use crate::support::random::Random;

/// `make kills` asks for more.
const KILLS: u64 = 3;
const CLIENTS: usize = 8;
const CALLERS: usize = 24;

fn number_of(variable: &str) -> Option<u64> {
    let value = env::var(variable).ok().filter(|value| !value.is_empty())?;
    Some(value.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_at_random_moments_lose_no_acknowledged_write_and_repeat_none() {
    let kills = number_of("EARMARK_KILLS").unwrap_or(KILLS);
    let seed = number_of("EARMARK_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        u64::from(now.expect("after 1970").subsec_nanos())
    });
    eprintln!("EARMARK_SEED={seed}");
    let mut random = Random::new(seed);
    // A process that is killed may have written half of a page.
    let own = own_cluster_with(&[("full_page_writes", "on")]).await;
    let url = own.database("shelf").await;
    let (one, other) = tokio::join!(
        Earmark::start_process_on(&url),
        Earmark::start_process_on(&url)
    );
    let mut servers = [one, other];
    let load = Load::start(&[&servers[0], &servers[1]], CLIENTS, CALLERS, seed).await;
    let (mut of_servers, mut of_postgres) = (0, 0);
    let first = random.number(0..4) as u64;
    for kill in first..first + kills {
        load.goes_on(50).await;
        tokio::time::sleep(Duration::from_micros(random.number(0..300_000) as u64)).await;
        // One server, the other, Postgres, Postgres together with a server.
        let server = match kill % 4 {
            0 => Some(0),
            1 => Some(1),
            2 => None,
            _ => Some(random.number(0..2)),
        };
        if kill % 4 >= 2 {
            own.kill();
            of_postgres += 1;
        }
        if let Some(index) = server {
            servers[index].kill();
            of_servers += 1;
            servers[index] = Earmark::start_process_on(&url).await;
            load.replace(index, &servers[index]);
        }
        own.restarted(of_postgres).await;
        load.goes_on(50).await;
        let verified =
            tokio::task::block_in_place(|| run(earmark(&["verify"]).env("DATABASE_URL", &url)));
        assert_eq!(verified.status.code(), Some(0), "{verified:?}");
    }
    eprintln!("{of_servers} kills of servers, {of_postgres} of Postgres");
    load.finish(&servers[0]).await;
    drop(servers);
    own.stop().await;
}
