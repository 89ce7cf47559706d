//! The load client: calls over a few HTTP/2 connections each, in a closed or in an open loop.
//!
//! It speaks HTTP/2 by the `h2` crate itself, with a runtime of one thread for each group of connections: on a machine
//! that client and server share, a client that costs much would be measured instead of the server.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use hdrhistogram::Histogram;
use http::{HeaderValue, Request, Uri};
use prost::Message;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::LocalSet;

/// Threads of the client: one has to be able to keep the server busy from each processor.
const THREADS: usize = 2;

/// The shortest sleep of an open loop.
const TICK: Duration = Duration::from_micros(250);
/// How much a server may send ahead, as hyper's clients let it: a page of records shall not wait for leave.
const STREAM_WINDOW: u32 = 2 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 5 * 1024 * 1024;

/// What the load client calls.
pub(crate) trait LoadWork: Send + Sync + 'static {
    /// The path of the RPC, as HTTP/2 has it.
    fn path(&self) -> &'static str;
    /// What a call counts as: how many allocations it makes, or 1.
    fn items(&self) -> u32 {
        1
    }
    /// The token that calls over a connection bear.
    fn token(&self, connection: usize) -> &str;
    /// The next request over a connection.
    fn request(&self, connection: usize, random: &mut fastrand::Rng) -> Bytes;
}

/// When calls are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// So many callers, each of which sends when it has its answer.
    Closed(usize),
    /// So many calls a second at random times, whether or not earlier ones were answered; who can send only with a
    /// caller at hand has so many.
    Open { per_second: f64, callers: usize },
}

/// How a server is called.
#[derive(Clone)]
pub(crate) struct Load {
    /// Of the processes that serve; connections go to them in turns.
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) connections: usize,
    pub(crate) pace: Pace,
    pub(crate) warm_up: Duration,
    pub(crate) duration: Duration,
    pub(crate) work: Arc<dyn LoadWork>,
}

/// What came of it.
#[derive(Clone)]
pub(crate) struct LoadOutcome {
    /// Calls that ended well after the warm-up, by how long they took in microseconds.
    pub(crate) latency: Histogram<u64>,
    /// The time in which they did.
    pub(crate) seconds: f64,
    /// All calls that ended well.
    pub(crate) done: u64,
    /// Calls that did not.
    pub(crate) failed: u64,
    /// Why the first of them did not.
    pub(crate) failure: Option<String>,
}

impl LoadOutcome {
    pub(crate) fn new(seconds: f64) -> Self {
        Self {
            latency: new_histogram(),
            seconds,
            done: 0,
            failed: 0,
            failure: None,
        }
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.latency.len() as f64 / self.seconds
    }

    /// Takes what ran at the same time.
    pub(crate) fn add(&mut self, other: Self) -> Result<()> {
        self.latency.add(other.latency)?;
        self.done += other.done;
        self.failed += other.failed;
        self.failure = self.failure.take().or(other.failure);
        Ok(())
    }
}

/// From a microsecond to a minute, with three digits.
pub(crate) fn new_histogram() -> Histogram<u64> {
    let mut histogram = Histogram::new_with_bounds(1, 60_000_000, 3).expect("constant bounds");
    histogram.auto(true);
    histogram
}

/// Calls the server for as long as the load says.
pub(crate) async fn run(load: Load) -> Result<LoadOutcome> {
    let start = Instant::now() + Duration::from_millis(50);
    let threads: Vec<_> = (0..THREADS.min(load.connections))
        .map(|thread| {
            let load = load.clone();
            tokio::task::spawn_blocking(move || run_thread(&load, thread, start))
        })
        .collect();
    let mut outcome = LoadOutcome::new(load.duration.as_secs_f64());
    for thread in threads {
        outcome.add(thread.await??)?;
    }
    Ok(outcome)
}

fn run_thread(load: &Load, thread: usize, start: Instant) -> Result<LoadOutcome> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, async {
        let threads = THREADS.min(load.connections);
        let mut connections = Vec::new();
        for index in (thread..load.connections).step_by(threads) {
            connections.push(Rc::new(LoadConnection::open(load, index).await?));
        }
        let tally = Rc::new(Tally::new(load, start));
        match load.pace {
            Pace::Closed(callers) => {
                let callers = share(callers, threads, thread);
                closed(&connections, callers, &tally).await;
            }
            Pace::Open { per_second, .. } => {
                open(&connections, per_second / threads as f64, &tally).await;
            }
        }
        drop(connections);
        Ok(Rc::into_inner(tally)
            .context("all callers have ended")?
            .outcome
            .into_inner())
    })
}

/// The part of a whole that falls to one of several.
fn share(whole: usize, parts: usize, part: usize) -> usize {
    whole / parts + usize::from(part < whole % parts)
}

async fn closed(connections: &[Rc<LoadConnection>], callers: usize, tally: &Rc<Tally>) {
    let callers: Vec<_> = (0..callers)
        .map(|caller| {
            let connection = Rc::clone(&connections[caller % connections.len()]);
            let tally = Rc::clone(tally);
            tokio::task::spawn_local(async move {
                let mut random = fastrand::Rng::new();
                loop {
                    let sent = Instant::now();
                    if sent >= tally.end {
                        return;
                    }
                    let result = connection.call(&mut random).await;
                    let failed = result.is_err();
                    tally.count(sent, result);
                    if failed {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                }
            })
        })
        .collect();
    for caller in callers {
        // Only a panic, which the tally's missing calls would tell of as well.
        _ = caller.await;
    }
}

/// Sends calls at random times. A thread of its own sleeps until each of them, since the runtime's timer counts in
/// milliseconds. It never sleeps for less than [`TICK`], so that it takes little from the server's processors. The latency
/// of a call counts from the time at which it was to be sent.
async fn open(connections: &[Rc<LoadConnection>], per_second: f64, tally: &Rc<Tally>) {
    let (ticks, mut due) = mpsc::unbounded_channel();
    let (start, end) = (tally.start, tally.end);
    let pacer = std::thread::spawn(move || {
        let mut random = fastrand::Rng::new();
        let mut next = start;
        while next < end && !ticks.is_closed() {
            std::thread::sleep(next.saturating_duration_since(Instant::now()).max(TICK));
            let now = Instant::now();
            while next <= now {
                _ = ticks.send(next);
                next += Duration::from_secs_f64(-(1.0 - random.f64()).ln() / per_second);
            }
        }
    });
    let mut calls = Vec::new();
    let mut turn = 0;
    while let Some(intended) = due.recv().await {
        turn += 1;
        let connection = Rc::clone(&connections[turn % connections.len()]);
        let tally = Rc::clone(tally);
        calls.push(tokio::task::spawn_local(async move {
            let result = connection.call(&mut fastrand::Rng::new()).await;
            tally.count(intended, result);
        }));
    }
    for call in calls {
        _ = call.await;
    }
    _ = pacer.join();
}

struct Tally {
    start: Instant,
    measured_from: Instant,
    end: Instant,
    outcome: RefCell<LoadOutcome>,
}

impl Tally {
    fn new(load: &Load, start: Instant) -> Self {
        let measured_from = start + load.warm_up;
        Self {
            start,
            measured_from,
            end: measured_from + load.duration,
            outcome: RefCell::new(LoadOutcome::new(load.duration.as_secs_f64())),
        }
    }

    fn count(&self, since: Instant, result: Result<()>) {
        let mut outcome = self.outcome.borrow_mut();
        let now = Instant::now();
        match result {
            Ok(()) => {
                outcome.done += 1;
                if (self.measured_from..self.end).contains(&now) {
                    let micros = now.duration_since(since).as_micros();
                    outcome
                        .latency
                        .saturating_record(u64::try_from(micros).unwrap_or(u64::MAX));
                }
            }
            Err(error) => {
                outcome.failed += 1;
                outcome.failure.get_or_insert_with(|| format!("{error:#}"));
            }
        }
    }
}

struct LoadConnection {
    index: usize,
    sender: SendRequest<Bytes>,
    uri: Uri,
    token: HeaderValue,
    work: Arc<dyn LoadWork>,
}

impl LoadConnection {
    async fn open(load: &Load, index: usize) -> Result<Self> {
        let address = load.addresses[index % load.addresses.len()];
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .handshake(stream)
            .await?;
        // Its end is every call's end too.
        tokio::task::spawn_local(async move { connection.await.ok() });
        Ok(Self {
            index,
            sender,
            uri: format!("http://{address}{}", load.work.path()).parse()?,
            token: format!("Bearer {}", load.work.token(index)).parse()?,
            work: Arc::clone(&load.work),
        })
    }

    async fn call(&self, random: &mut fastrand::Rng) -> Result<()> {
        let mut sender = self.sender.clone().ready().await?;
        let request = Request::post(self.uri.clone())
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("authorization", self.token.clone())
            .body(())?;
        let (response, mut body) = sender.send_request(request, false)?;
        body.send_data(self.work.request(self.index, random), true)?;
        let response = response.await?;
        if response.headers().contains_key("grpc-status") {
            return judge(response.headers());
        }
        let mut body = response.into_body();
        while let Some(chunk) = body.data().await {
            let len = chunk?.len();
            body.flow_control().release_capacity(len)?;
        }
        judge(&body.trailers().await?.context("no trailers")?)
    }
}

fn judge(headers: &http::HeaderMap) -> Result<()> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match text("grpc-status") {
        Some("0") => Ok(()),
        status => bail!(
            "gRPC status {}: {}",
            status.unwrap_or("missing"),
            text("grpc-message").unwrap_or_default()
        ),
    }
}

/// A message as gRPC frames it.
pub(crate) fn frame(message: &impl Message) -> Bytes {
    let len = message.encoded_len();
    let mut buffer = BytesMut::with_capacity(5 + len);
    buffer.put_u8(0);
    buffer.put_u32(u32::try_from(len).unwrap_or(u32::MAX));
    message.encode(&mut buffer).expect("a buffer grows");
    buffer.freeze()
}
