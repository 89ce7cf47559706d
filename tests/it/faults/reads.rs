//! Reads beside heavy searches, past their time limits, on a backend that stands still, and of a database that answers
//! nobody.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use earmark::app::AppSettings;
use earmark::db::pools::ReadLimits;
use earmark::proto::allocation::v1::GetAllocationRequest;
use earmark::proto::cas::v1::SearchAllocationsRequest;
use earmark::proto::network::v1::{
    CreateEnterpriseRequest, GetEnterpriseRequest, ListEnterprisesRequest,
};
use futures_util::future::{BoxFuture, FutureExt, join_all};
use tokio::time::timeout;
use tokio_postgres::Client;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

use super::{SLACK, World};
use crate::support::cluster::{Frozen, SERVER_ROLE, own_cluster};
use crate::support::earmark::{Earmark, Setup, refusal};
use crate::support::locks::session;

const NOBODY: &str = "00000000-0000-7000-8000-000000000000";

/// Puts a view in the place of a table, which reads it after so many seconds.
async fn slow_down(sql: &Client, table: &str, seconds: f64) {
    let view = format!(
        "ALTER TABLE {table} RENAME TO {table}_stored;
         CREATE FUNCTION slow_{table}() RETURNS SETOF {table}_stored LANGUAGE plpgsql AS
             $$ BEGIN PERFORM pg_sleep({seconds}); RETURN QUERY SELECT * FROM {table}_stored; END $$;
         CREATE VIEW {table} AS SELECT * FROM slow_{table}();
         GRANT SELECT ON {table} TO {SERVER_ROLE}"
    );
    sql.batch_execute(&view).await.expect(&view);
}

/// Takes the delay away.
async fn speed_up(sql: &Client, table: &str) {
    let function = format!(
        "CREATE OR REPLACE FUNCTION slow_{table}() RETURNS SETOF {table}_stored LANGUAGE sql AS
             $$ SELECT * FROM {table}_stored $$"
    );
    sql.batch_execute(&function).await.expect(&function);
}

/// How many statements of the server sleep; waits until their number fits.
async fn sleeping(sql: &Client, fits: impl Fn(i64) -> bool) -> i64 {
    let count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
         AND application_name = 'earmark' AND wait_event = 'PgSleep'";
    let look = async {
        loop {
            let number = sql.query_one(count, &[]).await.expect(count).get(0);
            if fits(number) {
                return number;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SLACK, look).await.expect("soon")
}

/// The process of a connection that is idle, and whose last statement had this in its text.
async fn idle_backend(sql: &Client, text: &str) -> i32 {
    let find = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()
         AND application_name = 'earmark' AND state = 'idle' AND strpos(query, $1) > 0
         ORDER BY state_change DESC LIMIT 1";
    sql.query_one(find, &[&text]).await.expect(text).get(0)
}

async fn search(
    earmark: &Earmark,
    firm: &str,
    deadline: Option<Duration>,
) -> Result<Response<earmark::proto::cas::v1::SearchAllocationsResponse>, Status> {
    let mut request = Request::new(SearchAllocationsRequest::default());
    if let Some(deadline) = deadline {
        request.set_timeout(deadline);
    }
    earmark.firm(firm).search_allocations(request).await
}

/// One of each class of reads that the database can answer: by id, by key, and a list.
fn reads(earmark: &Earmark) -> [(&'static str, BoxFuture<'_, Result<(), Status>>); 3] {
    let by_id = async {
        let request = GetAllocationRequest {
            enterprise_id: NOBODY.into(),
            allocation_id: NOBODY.into(),
        };
        let mut client = earmark.member(&[NOBODY]).allocation;
        found(client.get_allocation(request).await)
    };
    let by_key = async {
        let request = GetEnterpriseRequest {
            enterprise_id: NOBODY.into(),
        };
        found(earmark.admin().network.get_enterprise(request).await)
    };
    let list = async {
        let request = ListEnterprisesRequest::default();
        found(earmark.admin().network.list_enterprises(request).await)
    };
    [
        ("by id", by_id.boxed()),
        ("by key", by_key.boxed()),
        ("list", list.boxed()),
    ]
}

/// That there is no such record is an answer of the database too.
fn found<T>(answer: Result<Response<T>, Status>) -> Result<(), Status> {
    match answer {
        Err(status) if status.code() != Code::NotFound => Err(status),
        _ => Ok(()),
    }
}

async fn health(earmark: &Earmark) -> ServingStatus {
    let url = format!("http://{}", earmark.address);
    let channel = Channel::from_shared(url).expect("a URI").connect().await;
    let mut client = HealthClient::new(channel.expect("connected"));
    let answer = client.check(HealthCheckRequest::default()).await;
    answer.expect("health").into_inner().status()
}

async fn serves(earmark: &Earmark) {
    let begun = Instant::now();
    while health(earmark).await != ServingStatus::Serving {
        assert!(begun.elapsed() < 2 * SLACK, "health never healed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn heavy_searches_of_one_firm_keep_no_other_read_waiting() {
    let setup = Setup {
        app: AppSettings {
            reads: ReadLimits {
                search: Duration::from_secs(30),
                ..ReadLimits::default()
            },
            ..AppSettings::default()
        },
        ..Setup::default()
    };
    let earmark = Earmark::start_with(setup).await;
    let sql = earmark.sql().await;
    slow_down(&sql, "cas_allocation", 60.0).await;
    let searches = async {
        join_all((0..10).map(|_| search(&earmark, "1", None))).await;
    };
    let others = async {
        let running = sleeping(&sql, |running| running >= 2).await;
        assert_eq!(running, 2, "half of the lane");
        for _ in 0..5 {
            for (name, read) in reads(&earmark) {
                read.await
                    .unwrap_or_else(|status| panic!("{name}: {status:?}"));
            }
        }
        assert!(sleeping(&sql, |_| true).await > 0, "they are still running");
    };
    tokio::select! { () = searches => panic!("they end later"), () = others => {} }
}

#[tokio::test(flavor = "multi_thread")]
async fn searches_that_nobody_waits_for_end_in_the_database() {
    let earmark = Earmark::start().await;
    let sql = earmark.sql().await;
    slow_down(&sql, "cas_allocation", 60.0).await;
    let with_deadlines = (0..40).map(async |number: u32| {
        let deadline = Some(Duration::from_millis(100));
        let late = search(&earmark, &format!("{}", number % 4), deadline).await;
        late.expect_err("it sleeps for a minute").code()
    });
    for code in join_all(with_deadlines).await {
        assert!(
            matches!(code, Code::DeadlineExceeded | Code::Cancelled),
            "{code:?}"
        );
    }
    sleeping(&sql, |running| running == 0).await;
    let cancelled =
        (0..10).map(|_| timeout(Duration::from_millis(300), search(&earmark, "1", None)));
    assert!(join_all(cancelled).await.iter().all(Result::is_err));
    sleeping(&sql, |running| running == 0).await;
    speed_up(&sql, "cas_allocation").await;
    for firm in ["1", "2"] {
        search(&earmark, firm, None)
            .await
            .expect("as if nothing had been");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_past_their_limits_name_them_and_end_in_the_database() {
    let limits = ReadLimits {
        by_key: Duration::from_millis(300),
        list: Duration::from_millis(400),
        search: Duration::from_millis(1_500),
    };
    let setup = Setup {
        app: AppSettings {
            reads: limits,
            ..AppSettings::default()
        },
        ..Setup::default()
    };
    let earmark = Earmark::start_with(setup).await;
    let sql = earmark.sql().await;
    // The time that a connection takes to be made counts.
    let begun = Instant::now();
    for turn in 0.. {
        let all = reads(&earmark).map(|(_, read)| read);
        if join_all(all).await.iter().all(Result::is_ok) && turn > 0 {
            break;
        }
        assert!(begun.elapsed() < 2 * SLACK, "it never answers in time");
    }
    slow_down(&sql, "cas_allocation", 60.0).await;
    slow_down(&sql, "enterprise", 60.0).await;
    let assert_limit = |status: Status, limit: &str| {
        let text = status.message().to_owned();
        let refused = refusal(Err::<(), _>(status));
        assert_eq!(refused.code, Code::DeadlineExceeded, "{text}");
        assert_eq!(refused.reason, "DEADLINE");
        assert_eq!(refused.metadata["limit"], limit);
        assert!(text.contains(limit), "{text}");
    };
    for ((name, read), limit) in reads(&earmark).into_iter().zip(["300ms", "300ms", "400ms"]) {
        assert_limit(read.await.expect_err(name), limit);
    }
    assert_limit(
        search(&earmark, "1", None).await.expect_err("slow"),
        "1s 500ms",
    );
    sleeping(&sql, |running| running == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_stands_still_costs_reads_by_key_no_error_and_health_heals() {
    let own = own_cluster().await;
    let url = own.database("shelf").await;
    let earmark = Earmark::start_on(&url, Setup::default()).await;
    serves(&earmark).await;
    let sql = session(&url).await;
    for text in [
        // GetAllocation, GetEnterprise, and the probe.
        "SELECT k.n, statement_timestamp()",
        r#""enterprise"."id" = $1"#,
        "__diesel_schema_migrations",
    ] {
        for (name, read) in reads(&earmark) {
            read.await.expect(name);
        }
        let pid = idle_backend(&sql, text).await;
        let frozen = Frozen::new(vec![pid]);
        for _ in 0..3 {
            let all = (0..10).flat_map(|_| reads(&earmark).into_iter().take(2));
            let all = all.map(async |(name, read)| (name, read.await));
            for (name, answer) in join_all(all).await {
                answer.unwrap_or_else(|status| panic!("{text}: {name}: {status:?}"));
            }
        }
        serves(&earmark).await;
        drop(frozen);
    }
    own.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_on_a_backend_that_stands_still_delays_no_other_list() {
    let own = own_cluster().await;
    let url = own.database("shelf").await;
    let setup = Setup {
        app: AppSettings {
            reads: ReadLimits {
                list: Duration::from_secs(2),
                ..ReadLimits::default()
            },
            ..AppSettings::default()
        },
        ..Setup::default()
    };
    let earmark = Earmark::start_on(&url, setup).await;
    let list = async || {
        let [.., (_, list)] = reads(&earmark);
        list.await
    };
    list().await.expect("a list");
    let sql = session(&url).await;
    let pid = idle_backend(&sql, r#"ORDER BY "enterprise"."id""#).await;
    let frozen = Frozen::new(vec![pid]);
    let mut late = 0;
    for _ in 0..10 {
        if let Err(status) = list().await {
            assert_eq!(refusal(Err::<(), _>(status)).reason, "DEADLINE");
            late += 1;
        }
    }
    assert!(late <= 1, "{late} lists met the one backend");
    drop(frozen);
    own.stop().await;
}

async fn unavailable<T: Debug>(call: impl Future<Output = Result<T, Status>>) -> Duration {
    let begun = Instant::now();
    let answer = call.await;
    let retry = answer
        .as_ref()
        .err()
        .and_then(|status| status.get_details_retry_info());
    let refused = refusal(answer);
    assert_eq!(refused.code, Code::Unavailable, "{refused:?}");
    assert_eq!(refused.reason, "DATABASE_UNAVAILABLE");
    assert!(retry.is_some_and(|retry| retry.retry_delay.is_some()));
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_who_wait_for_a_database_that_answers_nobody_hear_so_soon() {
    // As long as a read waits before the server asks, and as long as it then waits for the answer.
    let promised = Duration::from_secs(6);
    let world = World::make(Setup::default()).await;
    let earmark = &world.earmark;
    for (name, read) in reads(earmark) {
        read.await.expect(name);
    }
    search(earmark, "1", None).await.expect("a search");
    world.proxy.stall(true);
    let all = (0..20).map(async |number| {
        let firm = number.to_string();
        let [(_, by_id), (_, by_key), (_, list)] = reads(earmark);
        let mut admin = earmark.admin().network;
        let write = admin.create_enterprise(CreateEnterpriseRequest {
            name: "Shelf".into(),
            ..Default::default()
        });
        tokio::join!(
            unavailable(by_id),
            unavailable(by_key),
            unavailable(list),
            unavailable(search(earmark, &firm, None)),
            unavailable(write)
        )
    });
    for waits in join_all(all).await {
        let limit = promised + SLACK;
        let (by_id, by_key, list, search, write) = waits;
        assert!(
            [by_id, by_key, list, search, write]
                .iter()
                .all(|waited| *waited < limit),
            "{waits:?}"
        );
    }
    world.proxy.stall(false);
    serves(earmark).await;
    for (name, read) in reads(earmark) {
        read.await.expect(name);
    }
    search(earmark, "1", None).await.expect("a search");
}
