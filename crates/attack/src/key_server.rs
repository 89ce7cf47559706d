//! The HTTP server of the issuer's public keys, which can stop to answer.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// It ends with the runtime.
pub(crate) struct KeyServer {
    address: SocketAddr,
    hangs: Arc<AtomicBool>,
}

impl KeyServer {
    /// Serves a JWKS document to whoever asks.
    pub(crate) async fn start(jwks: String) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let hangs = Arc::new(AtomicBool::new(false));
        let answer: Arc<str> = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{jwks}",
            jwks.len()
        )
        .into();
        let hanging = Arc::clone(&hangs);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer_one(
                    stream,
                    Arc::clone(&answer),
                    Arc::clone(&hanging),
                ));
            }
        });
        Ok(Self { address, hangs })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/jwks.json", self.address)
    }

    /// Whether further requests get no answer.
    pub(crate) fn set_hanging(&self, hanging: bool) {
        self.hangs.store(hanging, Ordering::Relaxed);
    }
}

async fn answer_one(mut stream: TcpStream, answer: Arc<str>, hangs: Arc<AtomicBool>) {
    let mut request = [0; 4_096];
    while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
        if !hangs.load(Ordering::Relaxed) {
            _ = stream.write_all(answer.as_bytes()).await;
            return;
        }
    }
}
