//! Errors of the server's state: overloaded, blocked by locks, shutting down, broken, without its database.

use std::net::SocketAddr;
use std::time::Duration;

use earmark::app::AppSettings;
use earmark::auth::jwks::JwksSource;
use earmark::db::connect::Session;
use earmark::db::migrate;
use earmark::db::pool::PoolSettings;
use earmark::proto::allocation::v1::{GetAllocationRequest, ListClientAllocationsRequest};
use earmark::proto::common::v1::ErrorReason as Reason;
use earmark::proto::network::v1::{ConnectionMode, UpdateEnterpriseRequest};
use earmark::server::ServerSettings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::{Case, case};
use crate::support::cluster::{database, own_cluster};
use crate::support::earmark::{Earmark, NOBODY, Parties, Setup, impatient};
use crate::support::locks::{hold_owner, somebody_waits};
use crate::support::raw::{Raw, frame, frame_bytes};

const CREATE: &str = "/earmark.allocation.v1.AllocationService/CreateAllocation";
const GET: &str = "/earmark.allocation.v1.AllocationService/GetAllocation";
const LIST: &str = "/earmark.allocation.v1.AllocationService/ListClientAllocations";
const UPDATE_ENTERPRISE: &str = "/earmark.network.v1.NetworkService/UpdateEnterprise";

pub(super) async fn all() -> Vec<Case> {
    let (contention, overload, leaving, broken, without_keys) = tokio::join!(
        contention(),
        overload(),
        leaving(),
        broken(),
        without_keys()
    );
    [contention, overload, leaving, broken, without_keys]
        .into_iter()
        .flatten()
        .collect()
}

async fn create(earmark: &Earmark, parties: &Parties, key: &str) -> Result<(), Status> {
    let mut client = earmark.member(&[&parties.enterprise]).allocation;
    let request = parties.allocation("BTC", "1", key);
    client.create_allocation(request).await.map(|_| ())
}

#[track_caller]
fn assert_not_applied(status: &Status) {
    let info = status.get_details_error_info().expect("ErrorInfo");
    assert_eq!(info.metadata["outcome"], "not_applied");
}

/// Another session holds the owner for longer than a lock is waited for, again and again.
async fn contention() -> Vec<Case> {
    let setup = Setup {
        session: Session {
            lock_timeout: Duration::from_millis(40),
            ..Session::default()
        },
        app: AppSettings {
            writer: impatient(Duration::from_millis(40)),
            ..AppSettings::default()
        },
        ..Setup::default()
    };
    let earmark = Earmark::start_with(setup).await;
    let parties = earmark.parties(ConnectionMode::Confirmed).await;
    earmark.deposit(&parties.enterprise, "BTC", "100").await;
    let holder = hold_owner(&earmark.url, &parties.enterprise).await;
    let update = UpdateEnterpriseRequest {
        enterprise_id: parties.enterprise.clone(),
        name: Some("Renamed".into()),
        ..Default::default()
    };
    let mut admin = earmark.admin().network;
    let (created, updated) = tokio::join!(
        create(&earmark, &parties, "a-1"),
        admin.update_enterprise(update.clone())
    );
    let (created, updated) = (created.expect_err("held"), updated.expect_err("held"));
    assert_not_applied(&created);
    assert_not_applied(&updated);
    holder.batch_execute("ROLLBACK").await.expect("released");
    // True: the very same calls succeed, and not as replays.
    create(&earmark, &parties, "a-1").await.expect("free");
    admin.update_enterprise(update).await.expect("free");
    vec![
        case(Reason::Contention, CREATE, created),
        case(Reason::Contention, UPDATE_ENTERPRISE, updated),
    ]
}

/// A server that takes on one call at a time has one, which waits for a lock; its deadline comes first.
async fn overload() -> Vec<Case> {
    let setup = Setup {
        settings: ServerSettings {
            calls_max: 1,
            ..Setup::default().settings
        },
        // So that it is seen to wait: for the whole of its time, not for a moment now and then.
        app: AppSettings {
            writer: impatient(Duration::from_secs(5)),
            ..AppSettings::default()
        },
        ..Setup::default()
    };
    let earmark = Earmark::start_with(setup).await;
    let parties = earmark.parties(ConnectionMode::Confirmed).await;
    earmark.deposit(&parties.enterprise, "BTC", "100").await;
    let holder = hold_owner(&earmark.url, &parties.enterprise).await;
    let token = earmark.token("settlement_network_write", &[&parties.enterprise]);
    let bearer = format!("Bearer {token}");
    let metadata = [("authorization", bearer.as_str()), ("grpc-timeout", "4S")];
    let raw = earmark.raw().await;
    let request = frame(&parties.allocation("BTC", "1", "a-1"));
    let others = async {
        somebody_waits(&earmark.url).await;
        let refused = create(&earmark, &parties, "a-2").await;
        let request = GetAllocationRequest {
            enterprise_id: parties.enterprise.clone(),
            allocation_id: NOBODY.into(),
        };
        let mut client = earmark.member(&[&parties.enterprise]).allocation;
        let got = client.get_allocation(request).await;
        (refused.expect_err("busy"), got.expect_err("busy"))
    };
    let (late, (refused, got)) = tokio::join!(raw.call(CREATE, &metadata, request), others);
    assert_not_applied(&refused);
    holder.batch_execute("ROLLBACK").await.expect("released");
    vec![
        case(Reason::Deadline, CREATE, late.status),
        case(Reason::Overloaded, CREATE, refused),
        case(Reason::Overloaded, GET, got),
    ]
}

/// Records that no server of ours wrote, and a table that is gone.
async fn broken() -> Vec<Case> {
    let earmark = Earmark::start().await;
    let parties = earmark.parties(ConnectionMode::Confirmed).await;
    earmark.deposit(&parties.enterprise, "BTC", "100").await;
    create(&earmark, &parties, "a-1").await.expect("created");
    let sql = earmark.sql().await;
    sql.batch_execute(
        "ALTER TABLE open_allocation DROP CONSTRAINT allocation_type; UPDATE open_allocation SET type = 'SECRET'",
    )
    .await
    .expect("broken");
    let list = ListClientAllocationsRequest {
        enterprise_id: parties.enterprise.clone(),
        ..Default::default()
    };
    let mut client = earmark.member(&[&parties.enterprise]).allocation;
    let listed = client.list_client_allocations(list).await;
    let listed = listed.expect_err("broken");
    sql.batch_execute("ALTER TABLE open_allocation RENAME TO secret")
        .await
        .expect("broken");
    let created = create(&earmark, &parties, "a-2").await.expect_err("broken");
    assert_not_applied(&created);
    for status in [&listed, &created] {
        let told = format!("{status:?}").to_lowercase();
        for secret in ["secret", "relation", "unknown"] {
            assert!(!told.contains(secret), "{told}");
        }
    }
    sql.batch_execute("ALTER TABLE secret RENAME TO open_allocation")
        .await
        .expect("mended");
    create(&earmark, &parties, "a-2").await.expect("mended");
    vec![
        case(Reason::Internal, LIST, listed),
        case(Reason::Internal, CREATE, created),
    ]
}

/// The issuer cannot be reached: no token can be verified, whatever it is.
async fn without_keys() -> Vec<Case> {
    let setup = Setup {
        keys: Some(JwksSource::parse("http://127.0.0.1:1/jwks")),
        ..Setup::default()
    };
    let earmark = Earmark::start_with(setup).await;
    let raw = earmark.raw().await;
    let bearer = format!("Bearer {}", earmark.token("settlement_network_read", &[]));
    let metadata = [("authorization", bearer.as_str())];
    let mut cases = Vec::new();
    for path in [CREATE, GET] {
        let answer = raw.call(path, &metadata, frame_bytes(0, &[])).await;
        cases.push(case(Reason::KeysUnavailable, path, answer.status));
    }
    cases
}

/// Calls on an open connection whose client has not seen GOAWAY yet.
async fn leaving() -> Vec<Case> {
    let earmark = Earmark::start().await;
    let gate = Gate::before(earmark.address).await;
    let raw = Raw::connect(gate.address).await;
    let token = earmark.token("settlement_network_read settlement_network_write", &[]);
    let bearer = format!("Bearer {token}");
    let metadata = [("authorization", bearer.as_str())];
    let body = || frame(&GetAllocationRequest::default());
    let answer = raw.call(GET, &metadata, body()).await;
    assert_eq!(answer.status.code(), Code::InvalidArgument, "still served");

    gate.close();
    earmark.shutdown.ask();
    // The listener is closed at the same moment as new calls are refused.
    while TcpStream::connect(earmark.address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let opened = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        gate.open();
    };
    let (write, read, ()) = tokio::join!(
        raw.call(CREATE, &metadata, body()),
        raw.call(GET, &metadata, body()),
        opened
    );
    assert_not_applied(&write.status);
    vec![
        case(Reason::ShuttingDown, CREATE, write.status),
        case(Reason::ShuttingDown, GET, read.status),
    ]
}

/// Lets everything pass to the server, but back only while it is open.
struct Gate {
    address: SocketAddr,
    open: watch::Sender<bool>,
}

impl Gate {
    async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (open, mut is_open) = watch::channel(true);
        tokio::spawn(async move {
            let (client, _) = listener.accept().await.expect("a client");
            let server = TcpStream::connect(server).await.expect("connected");
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            let back = async {
                let mut buffer = vec![0; 64 * 1024];
                while let Ok(bytes @ 1..) = from_server.read(&mut buffer).await {
                    if is_open.wait_for(|open| *open).await.is_err() {
                        return;
                    }
                    if to_client.write_all(&buffer[..bytes]).await.is_err() {
                        return;
                    }
                }
            };
            let there = tokio::io::copy(&mut from_client, &mut to_server);
            tokio::select! { _ = there => {}, () = back => {} }
        });
        Self { address, open }
    }

    fn close(&self) {
        self.open.send_replace(false);
    }

    fn open(&self) {
        self.open.send_replace(true);
    }
}

/// A server whose cluster was stopped.
pub(super) async fn without_database() -> Vec<Case> {
    let own = own_cluster().await;
    let url = own.database("gone").await;
    let setup = Setup {
        app: AppSettings {
            pool: PoolSettings {
                checkout_timeout: Duration::from_millis(200),
                ..PoolSettings::default()
            },
            ..AppSettings::default()
        },
        ..Setup::default()
    };
    let earmark = Earmark::start_on(&url, setup).await;
    let parties = earmark.parties(ConnectionMode::Confirmed).await;
    earmark.deposit(&parties.enterprise, "BTC", "100").await;
    own.stop().await;

    let get = GetAllocationRequest {
        enterprise_id: parties.enterprise.clone(),
        allocation_id: NOBODY.into(),
    };
    let update = UpdateEnterpriseRequest {
        enterprise_id: parties.enterprise.clone(),
        ..Default::default()
    };
    let mut client = earmark.member(&[&parties.enterprise]).allocation;
    let mut admin = earmark.admin().network;
    let (created, got, updated) = tokio::join!(
        create(&earmark, &parties, "a-1"),
        client.get_allocation(get),
        admin.update_enterprise(update)
    );
    let (created, updated) = (created.expect_err("gone"), updated.expect_err("gone"));
    assert_not_applied(&created);
    assert_not_applied(&updated);
    vec![
        case(Reason::DatabaseUnavailable, CREATE, created),
        case(Reason::DatabaseUnavailable, GET, got.expect_err("gone")),
        case(Reason::DatabaseUnavailable, UPDATE_ENTERPRISE, updated),
    ]
}

/// A database whose migrations were not run.
pub(super) async fn without_migrations() -> Vec<Case> {
    let db = database().await;
    migrate::revert_all(&db.url).await.expect("reverted");
    let earmark = Earmark::start_on(&db.url, Setup::default()).await;
    let update = UpdateEnterpriseRequest {
        enterprise_id: NOBODY.into(),
        ..Default::default()
    };
    let get = GetAllocationRequest {
        enterprise_id: NOBODY.into(),
        allocation_id: NOBODY.into(),
    };
    let mut client = earmark.member(&[NOBODY]).allocation;
    let got = client.get_allocation(get).await.expect_err("no schema");
    let updated = earmark.admin().network.update_enterprise(update).await;
    let updated = updated.expect_err("no schema");
    assert_not_applied(&updated);
    vec![
        case(Reason::SchemaOutdated, GET, got),
        case(Reason::SchemaOutdated, UPDATE_ENTERPRISE, updated),
    ]
}
