//! HTTP/2 as an attacker speaks it: it decides itself what it sends of a request and reads of an answer.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::{BufMut, Bytes, BytesMut};
use h2::RecvStream;
use h2::client::{Connection, ResponseFuture, SendRequest};
use http::{HeaderMap, Request};
use prost::Message;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::attack::AttackTarget;

/// How long an attacker waits for a connection.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Bytes of overhead that small DATA frames may cost this client: as good as without a limit.
const DATA_FRAME_BUDGET: usize = 1 << 40;
/// The code of a call that ended without one.
const NO_CODE: u32 = 2;

pub(crate) type CallSender = SendRequest<Bytes>;

/// Connects from the attacker's own address.
pub(crate) async fn connect(target: &AttackTarget) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((target.source, 0)))?;
    let connected = timeout(CONNECT_MAX, socket.connect(target.address)).await;
    let stream = connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Opens an HTTP/2 connection. `window` is what the server may send of each answer, and in all, before the attacker
/// has read it; the connection's future has to be polled.
pub(crate) async fn open(
    target: &AttackTarget,
    window: u32,
) -> Result<(CallSender, Connection<TcpStream, Bytes>)> {
    let stream = connect(target).await?;
    let shaken = h2::client::Builder::new()
        .initial_window_size(window)
        .initial_connection_window_size(window)
        // Thousands of streams, each with an answer of a few bytes, are what an attacker wants.
        .data_frame_budget(DATA_FRAME_BUDGET)
        .handshake(stream);
    Ok(timeout(CONNECT_MAX, shaken).await??)
}

/// The head of a call. Without a token it has none.
pub(crate) fn head(target: &AttackTarget, path: &str, token: Option<&str>) -> Result<Request<()>> {
    let mut request = Request::post(format!("http://{}{path}", target.address))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    Ok(request.body(())?)
}

/// A message as gRPC frames it.
pub(crate) fn frame(message: &impl Message) -> Bytes {
    frame_bytes(&message.encode_to_vec())
}

/// An encoded message as gRPC frames it.
pub(crate) fn frame_bytes(message: &[u8]) -> Bytes {
    let mut buffer = BytesMut::with_capacity(5 + message.len());
    buffer.put_u8(0);
    buffer.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    buffer.put_slice(message);
    buffer.freeze()
}

/// Calls as a client should, and answers the gRPC code.
pub(crate) async fn call(sender: &mut CallSender, head: Request<()>, body: Bytes) -> Result<u32> {
    let (response, mut stream) = sender.send_request(head, false)?;
    stream.send_data(body, true)?;
    read(response).await
}

/// Reads an answer to its end, and answers its gRPC code.
pub(crate) async fn read(response: ResponseFuture) -> Result<u32> {
    let response = response.await?;
    if let Some(code) = code(response.headers()) {
        return Ok(code);
    }
    let mut body = response.into_body();
    while let Some(chunk) = body.data().await {
        let len = chunk?.len();
        body.flow_control().release_capacity(len)?;
    }
    let trailers = body.trailers().await?.context("no trailers")?;
    Ok(code(&trailers).unwrap_or(NO_CODE))
}

fn code(headers: &HeaderMap) -> Option<u32> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

/// Waits for the head of an answer and then for the server to give the call up, without reading anything.
pub(crate) async fn hold_unread(
    response: ResponseFuture,
    stream: &mut h2::SendStream<Bytes>,
) -> Result<()> {
    let response = response.await?;
    if code(response.headers()).is_some() {
        return Ok(());
    }
    let _unread: RecvStream = response.into_body();
    poll_fn(|context| stream.poll_reset(context)).await?;
    Ok(())
}
