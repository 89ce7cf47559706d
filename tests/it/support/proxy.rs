//! A TCP proxy between server and database with switchable faults.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio_postgres::Config;
use tokio_postgres::config::Host;

/// A fault that meets a COMMIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CommitFault {
    /// The COMMIT never arrives, and both sides lose the connection.
    CutBefore,
    /// The COMMIT arrives but its answer does not: both sides lose the connection.
    CutAfter,
    /// The COMMIT never arrives; the server loses the connection at once, the database [`HALF_OPEN`] later.
    HalfOpen,
    /// The COMMIT is held back until all connections are cut.
    Held,
}

/// How long the database believes in a connection that is half open.
const HALF_OPEN: Duration = Duration::from_secs(60);
/// How long a test waits for a COMMIT to come.
const COMMIT_MAX: Duration = Duration::from_secs(20);

/// A proxy in front of a database; everything passes until a fault is switched on.
pub(crate) struct Proxy {
    /// The database's URL through the proxy.
    pub(crate) url: String,
    network: Arc<Network>,
}

struct Network {
    /// The database's own socket.
    socket: PathBuf,
    state: watch::Sender<State>,
    /// How often the server has waited for an answer.
    round_trips: AtomicU64,
    /// How many connections the server has made.
    connections: AtomicU64,
    /// The statements that the server has had prepared, each with the number of its connection.
    prepared: Mutex<Vec<(u64, String)>>,
    /// How many COMMITs pass before the one that meets the fault.
    armed: Mutex<Option<(u32, CommitFault)>>,
    has_struck: watch::Sender<bool>,
}

#[derive(Clone, Copy, Default)]
struct State {
    /// How often all connections were cut.
    cuts: u32,
    stalled: bool,
    refusing: bool,
    /// How often the connections of the time were stranded.
    strands: u32,
}

impl Proxy {
    pub(crate) async fn before(database_url: &str) -> Self {
        let config: Config = database_url.parse().expect("a URL");
        let Some(Host::Unix(folder)) = config.get_hosts().first() else {
            panic!("the cluster listens on a unix socket");
        };
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let (user, name) = (config.get_user(), config.get_dbname());
        let (user, name) = (user.expect("a user"), name.expect("a database"));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let network = Arc::new(Network {
            socket: folder.join(format!(".s.PGSQL.{port}")),
            state: watch::Sender::default(),
            round_trips: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            prepared: Mutex::default(),
            armed: Mutex::default(),
            has_struck: watch::Sender::default(),
        });
        let shared = Arc::clone(&network);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, Arc::clone(&shared)));
            }
        });
        Self {
            url: format!("postgres://{user}@{address}/{name}?sslmode=disable"),
            network,
        }
    }

    /// How often the server has waited for an answer, of a prepared statement or of a simple one.
    pub(crate) fn round_trips(&self) -> u64 {
        self.network.round_trips.load(Ordering::SeqCst)
    }

    /// The statements that the server has had prepared, each with the number of its connection.
    pub(crate) fn prepared(&self) -> Vec<(u64, String)> {
        self.network.prepared().clone()
    }

    /// Closes every connection, on both sides.
    pub(crate) fn cut(&self) {
        self.network.state.send_modify(|state| state.cuts += 1);
    }

    /// Stops forwarding in both directions without closing anything, or resumes.
    pub(crate) fn stall(&self, stalled: bool) {
        self.network
            .state
            .send_modify(|state| state.stalled = stalled);
    }

    /// Stops forwarding on all connections of now, for good, without closing any: the peers take them for open. New
    /// connections work.
    pub(crate) fn strand(&self) {
        self.network.state.send_modify(|state| state.strands += 1);
    }

    /// Closes every connection and refuses new ones, or accepts new ones again.
    pub(crate) fn refuse(&self, refusing: bool) {
        self.network.state.send_modify(|state| {
            state.refusing = refusing;
            state.cuts += u32::from(refusing);
        });
    }

    /// Sets the fault of the next COMMIT only.
    pub(crate) fn arm(&self, fault: CommitFault) {
        self.arm_after(0, fault);
    }

    /// Sets the fault of the COMMIT after this many others.
    pub(crate) fn arm_after(&self, others: u32, fault: CommitFault) {
        self.network.has_struck.send_replace(false);
        *self.network.armed() = Some((others, fault));
    }

    /// Waits until a COMMIT has met the fault.
    pub(crate) async fn struck(&self) {
        let mut has_struck = self.network.has_struck.subscribe();
        let struck = has_struck.wait_for(|struck| *struck);
        let struck = tokio::time::timeout(COMMIT_MAX, struck).await;
        struck.expect("a COMMIT comes").expect("the network is");
    }
}

impl Network {
    /// Waits until there is no stall, on a connection before which so many were stranded.
    async fn flows(&self, strands: u32) {
        let mut state = self.state.subscribe();
        let flows = state.wait_for(|state| !state.stalled && state.strands == strands);
        _ = flows.await;
    }

    fn armed(&self) -> MutexGuard<'_, Option<(u32, CommitFault)>> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn prepared(&self) -> MutexGuard<'_, Vec<(u64, String)>> {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fault of a COMMIT that arrives now.
    fn strike(&self) -> Option<CommitFault> {
        let mut armed = self.armed();
        let (others, fault) = armed.take()?;
        if others > 0 {
            *armed = Some((others - 1, fault));
            return None;
        }
        self.has_struck.send_replace(true);
        Some(fault)
    }
}

/// Forwards one connection until it ends or is cut.
async fn pass(client: TcpStream, network: Arc<Network>) {
    let mut state = network.state.subscribe();
    let at_first = *state.borrow_and_update();
    if at_first.refusing {
        return;
    }
    tokio::select! {
        _ = state.wait_for(|state| state.cuts != at_first.cuts) => {}
        () = carry(client, &network, at_first.strands) => {}
    }
}

/// Forwards to the database message by message, to recognise each COMMIT.
async fn carry(client: TcpStream, network: &Network, strands: u32) {
    client.set_nodelay(true).expect("set");
    network.flows(strands).await;
    let Ok(database) = UnixStream::connect(&network.socket).await else {
        return;
    };
    let connection = network.connections.fetch_add(1, Ordering::SeqCst);
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_database, mut to_database) = database.into_split();
    let there = async {
        let mut is_startup = true;
        while let Some(message) = read_message(&mut from_client, is_startup).await {
            is_startup = false;
            network.flows(strands).await;
            // Sync, and a simple query.
            if matches!(message[0], b'S' | b'Q') {
                network.round_trips.fetch_add(1, Ordering::SeqCst);
            }
            // Parse: the statement's name, and its text.
            if message[0] == b'P' {
                let text = message[5..].split(|byte| *byte == 0).nth(1);
                let text = String::from_utf8_lossy(text.unwrap_or_default());
                network.prepared().push((connection, text.into_owned()));
            }
            if message[0] == b'Q'
                && message[5..].starts_with(b"COMMIT\0")
                && let Some(fault) = network.strike()
            {
                return Some((fault, message));
            }
            if to_database.write_all(&message).await.is_err() {
                return None;
            }
        }
        None
    };
    let back = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(bytes @ 1..) = from_database.read(&mut buffer).await {
            network.flows(strands).await;
            if to_client.write_all(&buffer[..bytes]).await.is_err() {
                return None;
            }
        }
        None
    };
    let met = tokio::select! { met = there => met, met = back => met };
    match met {
        None | Some((CommitFault::CutBefore, _)) => {}
        Some((CommitFault::CutAfter, message)) => {
            _ = to_database.write_all(&message).await;
            // The answer stands for the COMMIT itself: it is on disk when this arrives.
            _ = from_database.read(&mut [0; 1024]).await;
        }
        Some((CommitFault::HalfOpen, _)) => {
            drop((from_client, to_client));
            tokio::time::sleep(HALF_OPEN).await;
        }
        Some((CommitFault::Held, _)) => std::future::pending().await,
    }
}

/// One message with its head. The first one of a connection has no type.
async fn read_message(from: &mut (impl AsyncReadExt + Unpin), is_startup: bool) -> Option<Vec<u8>> {
    let head = if is_startup { 4 } else { 5 };
    let mut message = vec![0; head];
    from.read_exact(&mut message).await.ok()?;
    let length = message[head - 4..].try_into().expect("four bytes");
    let length = usize::try_from(u32::from_be_bytes(length)).expect("small");
    message.resize(head - 4 + length, 0);
    from.read_exact(&mut message[head..]).await.ok()?;
    Some(message)
}
