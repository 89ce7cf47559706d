//! A client that sends and reads single frames of HTTP/2, and acknowledges nothing unless a test says so.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// The first bytes of each connection.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// An empty frame of type SETTINGS, which each client sends behind its preface.
pub(crate) const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
/// The types of frames that tests look for.
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const SETTINGS_TYPE: u8 = 4;
/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Frames(TcpStream);

impl Frames {
    /// Connects, and sends nothing.
    pub(crate) async fn silent(server: SocketAddr) -> Self {
        Self::silent_from([127, 0, 0, 1].into(), server).await
    }

    /// Connects from this address, and sends nothing.
    pub(crate) async fn silent_from(address: IpAddr, server: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((address, 0).into()).expect("bound");
        Self(socket.connect(server).await.expect("connected"))
    }

    /// Connects, and begins HTTP/2.
    pub(crate) async fn begin(server: SocketAddr) -> Self {
        Self::begin_from([127, 0, 0, 1].into(), server).await
    }

    /// Connects from this address, and begins HTTP/2.
    pub(crate) async fn begin_from(address: IpAddr, server: SocketAddr) -> Self {
        let mut connection = Self::silent_from(address, server).await;
        // Fails if the server has closed the connection already, which the next frame that is read says.
        _ = connection.0.write_all(&[PREFACE, SETTINGS].concat()).await;
        connection
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.expect("sent");
    }

    /// The type of the next frame; `None` if the connection was closed.
    pub(crate) async fn next(&mut self) -> Option<u8> {
        let next = async {
            let mut header = [0; 9];
            self.0.read_exact(&mut header).await.ok()?;
            let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
            let mut payload = vec![0; length as usize];
            self.0.read_exact(&mut payload).await.ok()?;
            Some(header[3])
        };
        let in_time = tokio::time::timeout(PATIENCE, next).await;
        in_time.expect("neither a frame nor the end of the connection")
    }

    /// The types of all frames up to the end of the connection.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut types = Vec::new();
        while let Some(kind) = self.next().await {
            types.push(kind);
        }
        types
    }

    /// Whether the server serves HTTP/2 on this connection; false if it has closed it.
    pub(crate) async fn is_served(&mut self) -> bool {
        match self.next().await {
            Some(kind) => {
                assert_eq!(kind, SETTINGS_TYPE, "the first frame of a server");
                true
            }
            None => false,
        }
    }
}
