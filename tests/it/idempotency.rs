//! One key has one effect, with cancelled and with concurrent calls.

use std::time::{Duration, Instant};

use earmark::proto::allocation::v1::AllocationStatus;
use earmark::proto::balance::v1::AdjustBalanceRequest;
use earmark::proto::network::v1::{ConnectionMode, CreateEnterpriseRequest};
use futures_util::future::join_all;
use tonic::{Code, Response, Status};

use crate::support::earmark::{Earmark, Parties, Setup, balance, refusal};
use crate::support::ledger_dump::assert_sound;
use crate::support::locks::{hold_owner, somebody_waits};
use crate::support::random::Random;
use crate::support::raw::frame;
use crate::support::service::is_replayed;

const CREATE: &str = "/earmark.allocation.v1.AllocationService/CreateAllocation";

/// Two processes on one database, and a client with 1,000 BTC.
struct World {
    servers: [Earmark; 2],
    parties: Parties,
}

impl World {
    async fn make() -> Self {
        Self::with(Setup::default()).await
    }

    /// The first server is set up in another way.
    async fn with(setup: Setup) -> Self {
        let first = Earmark::start_with(setup).await;
        let second = Earmark::start_on(&first.url, Setup::default()).await;
        let parties = first.parties(ConnectionMode::Confirmed).await;
        first.deposit(&parties.enterprise, "BTC", "1000").await;
        Self {
            servers: [first, second],
            parties,
        }
    }

    fn first(&self) -> &Earmark {
        &self.servers[0]
    }

    async fn custody(&self) -> (String, String) {
        let sql = "SELECT available::text, held::text FROM account WHERE account_id::text LIKE '%-000000000001'";
        let row = self.first().sql().await.query_one(sql, &[]).await;
        let row = row.expect(sql);
        (row.get(0), row.get(1))
    }
}

/// Fifty calls, one half to each process.
async fn fifty<T, F: Future<Output = Result<Response<T>, Status>>>(
    world: &World,
    call: impl Fn(&Earmark, usize) -> F,
) -> Vec<Result<Response<T>, Status>> {
    join_all((0..50).map(|index| call(&world.servers[index % 2], index))).await
}

/// Asserts that one call was carried out and that all others are told the same.
fn assert_one_effect<T: PartialEq + std::fmt::Debug>(
    answers: Vec<Result<Response<T>, Status>>,
) -> T {
    let answers: Vec<_> = answers
        .into_iter()
        .map(|answer| answer.expect("answered"))
        .collect();
    let done = answers.iter().filter(|answer| !is_replayed(answer)).count();
    assert_eq!(done, 1);
    let mut messages = answers.into_iter().map(Response::into_inner);
    let first = messages.next().expect("fifty");
    assert!(messages.all(|message| message == first), "all alike");
    first
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_calls_with_one_key_have_one_effect() {
    let world = World::make().await;
    let enterprise = world.parties.enterprise.as_str();
    let allocated = fifty(&world, |server, _| {
        let mut client = server.member(&[enterprise]).allocation;
        let request = world.parties.allocation("BTC", "7", "a-1");
        async move { client.create_allocation(request).await }
    })
    .await;
    let allocated = assert_one_effect(allocated);
    assert_eq!(allocated.custody_balance, balance("993", "7", 2));

    let adjusted = fifty(&world, |server, _| {
        let mut admin = server.admin().balance;
        let request = AdjustBalanceRequest {
            enterprise_id: enterprise.into(),
            currency: "BTC".into(),
            quantity: "-3".into(),
            external_id: "w-1".into(),
            reason: "a test".into(),
            validate_only: false,
        };
        async move { admin.adjust_balance(request).await }
    })
    .await;
    let adjusted = assert_one_effect(adjusted);
    assert_eq!(adjusted.custody_balance, balance("990", "7", 3));

    let created = fifty(&world, |server, _| {
        let mut admin = server.admin().network;
        let request = CreateEnterpriseRequest {
            name: "Once".into(),
            request_id: "e-1".into(),
            ..Default::default()
        };
        async move { admin.create_enterprise(request).await }
    })
    .await;
    assert_one_effect(created);
    let once = "SELECT count(*) FROM enterprise WHERE name = 'Once'";
    assert_eq!(world.first().count(once).await, 1);
    assert_sound(world.first()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_one_of_two_contents_under_one_key_is_applied() {
    let world = World::make().await;
    let answers = fifty(&world, |server, index| {
        let mut client = server.member(&[&world.parties.enterprise]).allocation;
        let quantity = if index % 4 < 2 { "1" } else { "2" };
        let request = world.parties.allocation("BTC", quantity, "a-1");
        async move { client.create_allocation(request).await }
    })
    .await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert!([24, 26].contains(&won.len()), "{}", won.len());
    assert_one_effect(won);
    for refused in lost {
        let refused = refusal(refused).expect(Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
        assert_eq!(refused.metadata["outcome"], "not_applied");
    }
    assert_sound(world.first()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_never_spend_a_unit_twice() {
    let world = World::make().await;
    let answers = fifty(&world, |server, index| {
        let mut client = server.member(&[&world.parties.enterprise]).allocation;
        let request = world.parties.allocation("BTC", "30", &format!("a-{index}"));
        async move { client.create_allocation(request).await }
    })
    .await;
    let (done, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(done.len(), 33, "33 times 30 of 1000");
    for refused in refused {
        let refused = refusal(refused).expect(Code::FailedPrecondition, "INSUFFICIENT_BALANCE");
        assert_eq!(refused.metadata["available"], "10");
    }
    assert_eq!(world.custody().await, ("10".into(), "990".into()));
    assert_sound(world.first()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_applied_in_whole_or_not_at_all_when_its_caller_disconnects() {
    const SEED: u64 = 5;
    let world = World::make().await;
    let server = world.first();
    let mut random = Random::new(SEED);
    let client = server.member(&[&world.parties.enterprise]).allocation;
    let admin = server.admin().network;
    let enterprise = |index: usize| CreateEnterpriseRequest {
        name: format!("left {index}"),
        request_id: format!("e-{index}"),
        ..Default::default()
    };
    // How long such a call takes on this machine: about half of those that follow leave before they are answered.
    let begun = Instant::now();
    for warm in 1_000..1_010 {
        let request = CreateEnterpriseRequest {
            name: "warm".into(),
            ..enterprise(warm)
        };
        let made = admin.clone().create_enterprise(request).await;
        made.expect("created");
    }
    let mut usual = begun.elapsed() / 10;
    let (mut made, mut left) = (0, 0);
    while made < 80 || left < 20 {
        assert!(made < 900, "{left} have left");
        let patience = usual * random.number(0..2_000) as u32 / 1_000;
        let (mut client, mut admin) = (client.clone(), admin.clone());
        let request = world.parties.allocation("BTC", "1", &format!("a-{made}"));
        let call = async {
            tokio::join!(
                client.create_allocation(request),
                admin.create_enterprise(enterprise(made))
            )
        };
        let begun = Instant::now();
        match tokio::time::timeout(patience, call).await {
            Ok(_) => usual = begun.elapsed(),
            Err(_) => left += 1,
        }
        made += 1;
    }
    // Whatever the outcome was, a repeat finds each of them applied once.
    let mut replayed = 0;
    for index in 0..made {
        let request = world.parties.allocation("BTC", "1", &format!("a-{index}"));
        let again = client.clone().create_allocation(request).await;
        replayed += u32::from(is_replayed(&again.expect("there or free")));
        let again = admin.clone().create_enterprise(enterprise(index)).await;
        again.expect("there or free");
    }
    assert!(replayed > 0, "some were done though nobody waited");
    let available = (1_000 - made).to_string();
    assert_eq!(world.custody().await, (available, made.to_string()));
    let count = "SELECT count(*) FROM enterprise WHERE name LIKE 'left %'";
    let all = i64::try_from(made).expect("few");
    assert_eq!(server.count(count).await, all);
    assert_eq!(server.count("SELECT count(*) FROM allocation").await, all);
    assert_sound(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_error_reports_correctly_whether_the_write_may_have_been_applied() {
    // A batch that waits for the lock for longer than its callers do.
    let mut setup = Setup::default();
    setup.app.writer.lock_wait = Duration::from_secs(5);
    let world = World::with(setup).await;
    let server = world.first();
    let enterprise = world.parties.enterprise.as_str();
    let token = server.token("settlement_network_write", &[enterprise]);
    let bearer = format!("Bearer {token}");
    let metadata = [("authorization", bearer.as_str()), ("grpc-timeout", "1S")];
    let raw = server.raw().await;
    let call = async |key: &str| {
        let request = frame(&world.parties.allocation("BTC", "1", key));
        raw.call(CREATE, &metadata, request).await
    };
    let holder = hold_owner(&server.url, enterprise).await;
    let queued = async {
        // The writer has the first one, and waits with it for the lock.
        somebody_waits(&server.url).await;
        call("queued").await
    };
    let (taken, queued) = tokio::join!(call("taken"), queued);
    let outcome = taken.expect(Code::DeadlineExceeded, "DEADLINE");
    assert_eq!(outcome.as_deref(), Some("unknown"));
    let outcome = queued.expect(Code::DeadlineExceeded, "DEADLINE");
    assert_eq!(outcome.as_deref(), Some("not_applied"));
    assert_eq!(server.count("SELECT count(*) FROM allocation").await, 0);
    holder.batch_execute("ROLLBACK").await.expect("released");

    let mut client = server.member(&[enterprise]).allocation;
    let mut again = async |key: &str| {
        let request = world.parties.allocation("BTC", "1", key);
        let answer = client.create_allocation(request).await;
        is_replayed(&answer.expect("there or free"))
    };
    assert!(again("taken").await, "its caller was gone, it was not");
    assert!(!again("queued").await, "it was withdrawn");
    assert_eq!(world.custody().await, ("998".into(), "2".into()));
    assert_sound(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_sees_what_the_previous_lock_holder_committed() {
    let world = World::make().await;
    let server = world.first();
    let parties = &world.parties;
    // What the other session does under the lock, the quantity of the call, and its result.
    let move_value = |quantity: i32| {
        format!(
            "WITH moved AS (
                UPDATE account SET version = version + 1, available = available
                    + CASE WHEN account_id::text LIKE '%1' THEN {quantity} ELSE {} END
                 WHERE owner_id = '{1}' AND account_id::text LIKE '00000000-%' RETURNING *)
             INSERT INTO entry (owner_id, account_id, unit, version, available_delta, held_delta, available, held, cause,
                                cause_id, time)
             SELECT owner_id, account_id, unit, version,
                    CASE WHEN account_id::text LIKE '%1' THEN {quantity} ELSE {0} END, 0, available, held, 'ADJUST',
                    '00000000-0000-0000-0000-00000000000a', clock_timestamp() FROM moved",
            -quantity, parties.enterprise
        )
    };
    let set = |table: &str, change: &str, id: &str| {
        format!("UPDATE {table} SET {change} WHERE id = '{id}'")
    };
    let (connection, enterprise) = (&parties.connection, &parties.enterprise);
    let disable = "allocations_enabled = false, allocations_disabled_reason = 'theirs'";
    let enable = "allocations_enabled = true, allocations_disabled_reason = NULL";
    let steps = [
        (move_value(500), 1_400, Ok("100")),
        (move_value(-60), 50, Err("INSUFFICIENT_BALANCE")),
        (
            set("connection", disable, connection),
            1,
            Err("CONNECTION_INACTIVE"),
        ),
        (set("connection", enable, connection), 1, Ok("39")),
        (
            set("enterprise", "oes_licensed = false", enterprise),
            1,
            Err("NO_OES_LICENSE"),
        ),
        (
            set("enterprise", "oes_licensed = true", enterprise),
            1,
            Ok("38"),
        ),
    ];
    for (index, (theirs, quantity, expected)) in steps.into_iter().enumerate() {
        let holder = hold_owner(&server.url, enterprise).await;
        let request = parties.allocation("BTC", &quantity.to_string(), &format!("a-{index}"));
        let mut client = server.member(&[enterprise]).allocation;
        let waiting = tokio::spawn(async move { client.create_allocation(request).await });
        somebody_waits(&server.url).await;
        holder.batch_execute(&theirs).await.expect("theirs");
        assert!(!waiting.is_finished());
        holder.batch_execute("COMMIT").await.expect("let go");
        let answer = waiting.await.expect("no panic");
        match expected {
            Ok(available) => {
                let answer = answer.expect("created").into_inner();
                let record = answer.allocation.expect("set");
                assert_eq!(record.status(), AllocationStatus::Reserved);
                let custody = answer.custody_balance.expect("set");
                assert_eq!(custody.available, available, "step {index}");
            }
            Err(reason) => assert_eq!(refusal(answer).reason, reason, "step {index}"),
        }
    }
}
