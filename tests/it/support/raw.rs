//! An HTTP/2 client that can send what tonic's client cannot, and returns the whole response.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tonic::{Code, Status};
use tonic_types::{ErrorInfo, StatusExt};

use crate::support::certificates::connect_tls;

/// The body of a request, which may come in pieces or never end.
pub(crate) type RequestBody = UnsyncBoxBody<Bytes, Infallible>;

pub(crate) struct Raw {
    connection: SendRequest<RequestBody>,
    address: SocketAddr,
}

/// A response with its headers, body and trailers.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) status: Status,
}

impl Answer {
    #[track_caller]
    pub(crate) fn error_info(&self) -> ErrorInfo {
        self.status
            .get_details_error_info()
            .unwrap_or_else(|| panic!("no ErrorInfo in {self:?}"))
    }

    /// Asserts code and reason, and returns the metadata's `outcome`.
    #[track_caller]
    pub(crate) fn expect(&self, code: Code, reason: &str) -> Option<String> {
        let info = self.error_info();
        assert_eq!(
            (self.status.code(), info.reason.as_str()),
            (code, reason),
            "{self:?}"
        );
        assert_eq!(info.domain, "earmark");
        info.metadata.get("outcome").cloned()
    }
}

/// A message in gRPC's frame.
pub(crate) fn frame(message: &impl Message) -> Bytes {
    frame_bytes(0, &message.encode_to_vec())
}

pub(crate) fn frame_bytes(flag: u8, message: &[u8]) -> Bytes {
    let mut framed = BytesMut::new();
    framed.put_u8(flag);
    framed.put_u32(u32::try_from(message.len()).expect("small"));
    framed.put_slice(message);
    framed.freeze()
}

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        // HTTP/2's own default.
        Self::connect_with_window(address, 65_535).await
    }

    /// Connects; the server may send at most so many bytes of each answer before they are read.
    pub(crate) async fn connect_with_window(address: SocketAddr, window: u32) -> Self {
        let stream = TcpStream::connect(address).await.expect("connected");
        stream.set_nodelay(true).expect("no delay");
        Self::over(stream, address, window).await.expect("HTTP/2")
    }

    /// Connects with TLS.
    pub(crate) async fn connect_tls(address: SocketAddr, config: ClientConfig) -> Self {
        let stream = connect_tls(address, config).await.expect("a handshake");
        Self::over(stream, address, 65_535).await.expect("HTTP/2")
    }

    /// Begins HTTP/2 on a stream.
    pub(crate) async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        address: SocketAddr,
        window: u32,
    ) -> Result<Self, hyper::Error> {
        let (connection, driver) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(window)
            .handshake(TokioIo::new(stream))
            .await?;
        tokio::spawn(driver);
        Ok(Self {
            connection,
            address,
        })
    }

    pub(crate) async fn call(&self, path: &str, metadata: &[(&str, &str)], body: Bytes) -> Answer {
        self.try_call(path, metadata, body)
            .await
            .expect("an answer")
    }

    pub(crate) async fn try_call(
        &self,
        path: &str,
        metadata: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Answer, hyper::Error> {
        let body = Full::new(body).boxed_unsync();
        let response = self.send(path, metadata, body).await?;
        let (http, headers) = (response.status(), response.headers().clone());
        let collected = response.into_body().collect().await?;
        let trailers = collected.trailers().cloned().unwrap_or_default();
        let status = Status::from_header_map(&headers)
            .or_else(|| Status::from_header_map(&trailers))
            .unwrap_or_else(|| Status::unknown(http.to_string()));
        Ok(Answer {
            headers,
            body: collected.to_bytes(),
            status,
        })
    }

    /// Sends a request, and returns the response whose body is not read yet.
    pub(crate) async fn send(
        &self,
        path: &str,
        metadata: &[(&str, &str)],
        body: RequestBody,
    ) -> Result<Response<Incoming>, hyper::Error> {
        let grpc = Some("application/grpc");
        self.send_as(grpc, path, metadata, body).await
    }

    /// The same with another content type, or with none.
    pub(crate) async fn send_as(
        &self,
        content_type: Option<&str>,
        path: &str,
        metadata: &[(&str, &str)],
        body: RequestBody,
    ) -> Result<Response<Incoming>, hyper::Error> {
        let mut request =
            Request::post(format!("http://{}{path}", self.address)).header("te", "trailers");
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        for (name, value) in metadata {
            request = request.header(*name, *value);
        }
        let request = request.body(body).expect("a request");
        self.connection.clone().send_request(request).await
    }
}
