//! Answers Prometheus: the metrics as text, by HTTP/1.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use prometheus::{Registry, TEXT_FORMAT, TextEncoder};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::limits::{ACCEPT_RETRY, METRICS_CONNECTIONS_MAX, METRICS_REQUEST_MAX};

const PATH: &str = "/metrics";

/// Answers requests for metrics until it is dropped. Each has a connection of its own: they come a few times a minute.
pub(crate) async fn serve(listener: TcpListener, registry: Registry) {
    let permits = Arc::new(Semaphore::new(METRICS_CONNECTIONS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let registry = registry.clone();
                tokio::spawn(async move {
                    answer(stream, registry, METRICS_REQUEST_MAX).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "cannot accept a connection for metrics");
                sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// Answers the request of one connection, which is closed after the answer or when the time is over.
async fn answer(stream: TcpStream, registry: Registry, limit: Duration) {
    let service = service_fn(move |request: Request<Incoming>| {
        let registry = registry.clone();
        async move { Ok::<_, Infallible>(respond(&request, registry).await) }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    if let Ok(Err(error)) = timeout(limit, connection).await {
        tracing::debug!(%error, "a request for metrics failed");
    }
}

async fn respond(request: &Request<Incoming>, registry: Registry) -> Response<Full<Bytes>> {
    if request.uri().path() != PATH {
        return plain(StatusCode::NOT_FOUND, "The metrics are at /metrics.\n");
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "Ask with GET.\n");
        let allowed = http::HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(ALLOW, allowed);
        return response;
    }
    // Some milliseconds of work, which calls need not wait for.
    let rendered = tokio::task::spawn_blocking(move || {
        TextEncoder::new().encode_to_string(&registry.gather())
    });
    match rendered.await {
        Ok(Ok(text)) => of_type(StatusCode::OK, TEXT_FORMAT, text),
        Ok(Err(error)) => {
            tracing::error!(%error, "the metrics cannot be written as text");
            plain(
                StatusCode::INTERNAL_SERVER_ERROR,
                "The metrics cannot be written as text: see the log.\n",
            )
        }
        Err(error) => {
            tracing::error!(%error, "the metrics cannot be collected");
            plain(
                StatusCode::INTERNAL_SERVER_ERROR,
                "The metrics cannot be collected: see the log.\n",
            )
        }
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    of_type(status, "text/plain; charset=utf-8", text)
}

fn of_type(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let content_type = http::HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
