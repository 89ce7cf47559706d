//! What lies between a connection's stream and hyper: the preface, which is read before hyper starts, and a look at the
//! frames that are sent.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use crate::server::calls_in_progress::CallsInProgress;

/// The first bytes of each HTTP/2 connection that a client opens without an upgrade (RFC 9113, 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes of the header of each frame: length (3), type (1), flags (1), stream (4).
const FRAME_HEADER_BYTES: usize = 9;
/// The type of a frame that carries a part of a message.
const DATA_FRAME: u8 = 0;
/// The first byte of each TLS connection: the type of a record that carries a part of the handshake.
const TLS_HANDSHAKE: u8 = 22;

/// Reads the preface, and nothing behind it. It has no time limit of its own, and may be dropped at any point.
///
/// # Errors
/// `InvalidData` with the first byte that differs; `UnexpectedEof` if the client closes the connection before.
pub(super) async fn read_preface(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut received = [0; PREFACE.len()];
    let mut length = 0;
    while length < PREFACE.len() {
        let read = stream.read(&mut received[length..]).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        length += read;
        if received[..length] != PREFACE[..length] {
            let why = match received[0] {
                TLS_HANDSHAKE => {
                    "the client speaks TLS, which this port does not: start the server with --tls-cert and --tls-key, or let \
                     the client connect without TLS (grpcurl: -plaintext)"
                }
                _ => {
                    "the connection does not begin with the preface of HTTP/2: gRPC needs HTTP/2 from the first byte on"
                }
            };
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
    }
    Ok(())
}

/// A stream whose preface has been read already; reading begins with the preface once more. It reports to the count of
/// calls when a part of an answer is sent.
pub(super) struct ConnectionIo<S> {
    stream: S,
    /// Bytes of the preface that have been read once more.
    replayed: usize,
    sent: SentFrames,
    calls: Arc<CallsInProgress>,
}

impl<S> ConnectionIo<S> {
    /// A stream that [`read_preface`] has read from.
    pub(super) fn after_preface(stream: S, calls: Arc<CallsInProgress>) -> Self {
        Self {
            stream,
            replayed: 0,
            sent: SentFrames::default(),
            calls,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ConnectionIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let rest = &PREFACE[self.replayed..];
        if rest.is_empty() {
            return Pin::new(&mut self.stream).poll_read(task, buffer);
        }
        let length = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..length]);
        self.replayed += length;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ConnectionIo<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(task, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write_vectored(task, slices))?;
        let (mut left, mut has_data) = (written, false);
        for slice in slices {
            let length = left.min(slice.len());
            has_data |= this.sent.pass(&slice[..length]);
            left -= length;
        }
        if has_data {
            this.calls.touch();
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(task)
    }
}

/// Follows the frames that the server sends, to tell parts of answers from frames that a client can cause without a
/// call, such as the answer to a PING.
#[derive(Debug, Default)]
struct SentFrames {
    header: [u8; FRAME_HEADER_BYTES],
    /// Bytes of the header that have passed; the header is complete while its frame's payload passes.
    header_length: usize,
    payload_left: usize,
}

impl SentFrames {
    /// Takes note of the next bytes; whether bytes of a DATA frame's payload are among them.
    fn pass(&mut self, mut bytes: &[u8]) -> bool {
        let mut has_data = false;
        while !bytes.is_empty() {
            if self.header_length < FRAME_HEADER_BYTES {
                let length = bytes.len().min(FRAME_HEADER_BYTES - self.header_length);
                let (part, rest) = bytes.split_at(length);
                self.header[self.header_length..][..length].copy_from_slice(part);
                self.header_length += length;
                bytes = rest;
                if self.header_length < FRAME_HEADER_BYTES {
                    break;
                }
                let [a, b, c, ..] = self.header;
                self.payload_left = u32::from_be_bytes([0, a, b, c]) as usize;
            }
            let length = bytes.len().min(self.payload_left);
            has_data |= length > 0 && self.header[3] == DATA_FRAME;
            self.payload_left -= length;
            bytes = &bytes[length..];
            if self.payload_left == 0 {
                self.header_length = 0;
            }
        }
        has_data
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn the_preface_is_read_in_any_pieces_and_then_read_again() {
        for piece in [1, 7, 24, 30] {
            let (mut client, mut server) = duplex(64);
            let mut sent = PREFACE.to_vec();
            sent.extend(b"behind");
            let writing = async {
                for part in sent.chunks(piece) {
                    client.write_all(part).await.expect("written");
                    tokio::task::yield_now().await;
                }
            };
            let (read, ()) = tokio::join!(read_preface(&mut server), writing);
            read.expect("the preface");
            drop(client);
            let calls = Arc::new(CallsInProgress::new());
            let mut io = ConnectionIo::after_preface(server, calls);
            let mut all = Vec::new();
            io.read_to_end(&mut all).await.expect("readable");
            assert_eq!(all, sent, "in pieces of {piece}");
        }
    }

    #[tokio::test]
    async fn another_protocol_is_noticed_by_its_first_byte_that_differs() {
        for sent in [
            "G",
            "\x16\x03\x01",
            "PRI * HTTP/1",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\r\n",
        ] {
            let (mut client, mut server) = duplex(64);
            client.write_all(sent.as_bytes()).await.expect("written");
            let read = read_preface(&mut server).await;
            if sent.as_bytes().starts_with(PREFACE) {
                read.expect("what follows is not the preface's");
            } else {
                let error = read.expect_err(sent);
                assert_eq!(error.kind(), io::ErrorKind::InvalidData);
                let is_tls = error.to_string().contains("the client speaks TLS");
                assert_eq!(is_tls, sent.starts_with('\x16'), "{error}");
            }
        }
        let (client, mut server) = duplex(64);
        drop(client);
        let error = read_preface(&mut server).await.expect_err("closed");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    fn frame(kind: u8, length: usize) -> Vec<u8> {
        let mut frame = (length as u32).to_be_bytes()[1..].to_vec();
        frame.extend([kind, 0, 0, 0, 0, 1]);
        frame.resize(FRAME_HEADER_BYTES + length, DATA_FRAME);
        frame
    }

    #[test]
    fn only_the_payload_of_data_frames_counts_as_a_part_of_an_answer() {
        const PING: u8 = 6;
        const HEADERS: u8 = 1;
        let frames = [
            (PING, 8),
            (DATA_FRAME, 0),
            (DATA_FRAME, 3),
            (HEADERS, 300),
            (DATA_FRAME, 16_384),
            (PING, 8),
        ];
        let bytes: Vec<u8> = frames
            .iter()
            .flat_map(|(kind, length)| frame(*kind, *length))
            .collect();
        for piece in [1, 2, 8, 9, 10, 4_096, bytes.len()] {
            let mut sent = SentFrames::default();
            let mut expected = Vec::new();
            for (kind, length) in frames {
                expected.extend([false; FRAME_HEADER_BYTES]);
                expected.extend(vec![kind == DATA_FRAME; length]);
            }
            for (part, is_data) in bytes.chunks(piece).zip(expected.chunks(piece)) {
                assert_eq!(sent.pass(part), is_data.contains(&true), "{piece}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn sending_a_part_of_an_answer_counts_as_activity() {
        let (_client, server) = duplex(64);
        let calls = Arc::new(CallsInProgress::new());
        let mut io = ConnectionIo::after_preface(server, Arc::clone(&calls));
        let second = std::time::Duration::from_secs(1);
        let started = tokio::time::Instant::now();
        let sending = async {
            tokio::time::sleep(second / 2).await;
            io.write_all(&frame(DATA_FRAME, 3)).await.expect("written");
            tokio::time::sleep(second / 4).await;
            io.write_all(&frame(6, 8)).await.expect("written");
        };
        tokio::join!(calls.idle_for(second), sending);
        let idle_after = started.elapsed();
        assert!(idle_after >= second * 3 / 2, "{idle_after:?}");
        assert!(idle_after < second * 7 / 4, "{idle_after:?}");
    }
}
