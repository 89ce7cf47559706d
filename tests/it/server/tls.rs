//! TLS of the listener: who may connect, and what those are told who may not.

use std::time::Duration;

use earmark::server::tls::{ServerTls, TlsClientAuth, TlsFiles};
use earmark::server::{Listeners, ServerSettings};
use rcgen::ExtendedKeyUsagePurpose;
use rustls::{ClientConfig, version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;

use crate::server::access_log::Log;
use crate::server::running::{ADJUST, Running, adjust, settings};
use crate::support::certificates::{Authority, Pair, SecretVolume, Wanted, connect_tls};
use crate::support::frames::Frames;
use crate::support::raw::Raw;

/// Longer than any test lasts.
const NEVER: Duration = Duration::from_secs(3_600);

/// A server with TLS, whose certificate an authority has signed.
struct TlsServer {
    running: Running,
    authority: Authority,
    _volume: SecretVolume,
}

impl TlsServer {
    async fn start() -> Self {
        Self::start_with(settings(), None).await
    }

    /// One whose clients need certificates of an authority.
    async fn start_for(clients: &Authority, auth: TlsClientAuth) -> Self {
        Self::start_with(settings(), Some((clients, auth))).await
    }

    async fn start_with(
        settings: ServerSettings,
        clients: Option<(&Authority, TlsClientAuth)>,
    ) -> Self {
        let authority = Authority::new();
        let pair = authority.server();
        let client_ca = clients.map(|(clients, _)| clients.pem());
        let volume = SecretVolume::new(&[
            ("tls.crt", &pair.certificate),
            ("tls.key", &pair.key),
            ("ca.crt", &client_ca.clone().unwrap_or_default()),
        ]);
        let mut files = TlsFiles::new(volume.path("tls.crt"), volume.path("tls.key"));
        if let Some((_, auth)) = clients {
            files.client_ca = Some(volume.path("ca.crt"));
            files.client_auth = auth;
        }
        let tls = ServerTls::open(files).expect("good files");
        let listeners = |calls| Listeners {
            tls: Some(tls),
            ..Listeners::from(calls)
        };
        Self {
            running: Running::start_listening(settings, listeners).await,
            authority,
            _volume: volume,
        }
    }

    async fn raw(&self, config: ClientConfig) -> Raw {
        Raw::connect_tls(self.running.address, config).await
    }

    /// The code of a call on a new connection, with a token and this request id.
    async fn call(&self, pair: Option<&Pair>, request_id: &str) -> Code {
        let raw = self.raw(self.authority.trusting(pair)).await;
        let bearer = self.running.bearer("network-admin");
        let metadata = [
            ("authorization", bearer.as_str()),
            ("x-request-id", request_id),
        ];
        raw.call(ADJUST, &metadata, adjust("x")).await.status.code()
    }

    /// What a client reads whose connection is refused: the error of its own TLS library.
    async fn refusal(&self, config: ClientConfig) -> String {
        let mut stream = match connect_tls(self.running.address, config).await {
            Ok(stream) => stream,
            Err(error) => return error.to_string(),
        };
        // With TLS 1.3 a client's handshake ends before the server has judged its certificate.
        let mut byte = [0];
        match stream.read(&mut byte).await {
            Ok(0) => "the end".into(),
            Ok(_) => panic!("it is served"),
            Err(error) => error.to_string(),
        }
    }
}

#[tokio::test]
async fn both_versions_of_tls_serve_calls() {
    let server = TlsServer::start().await;
    let bearer = server.running.bearer("network-admin");
    for version in [&version::TLS12, &version::TLS13] {
        let config = server.authority.trusting_with(None, &[version]);
        let raw = server.raw(config).await;
        let metadata = [("authorization", bearer.as_str())];
        for _ in 0..3 {
            let answer = raw.call(ADJUST, &metadata, adjust("x")).await;
            assert_eq!(answer.status.code(), Code::Ok, "{version:?}");
        }
        // A certificate replaces no token, and neither does TLS.
        let refused = raw.call(ADJUST, &[], adjust("x")).await;
        refused.expect(Code::Unauthenticated, "TOKEN_MISSING");
    }
}

#[tokio::test]
async fn only_http2_is_served() {
    let log = Log::capture();
    let server = TlsServer::start().await;
    let mut http1 = server.authority.trusting(None);
    http1.alpn_protocols = vec![b"http/1.1".into()];
    let refused = server.refusal(http1).await;
    assert!(refused.contains("NoApplicationProtocol"), "{refused}");
    log.wait_for_text("does not offer `h2` by ALPN").await;

    let server = TlsServer::start().await;
    let mut none = server.authority.trusting(None);
    none.alpn_protocols = vec![];
    server.refusal(none).await;
    log.wait_for_text("offers no protocol by ALPN").await;
}

#[tokio::test]
async fn whoever_mixes_tls_and_plain_text_is_told_so_by_the_log() {
    let log = Log::capture();
    for plain in ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"] {
        let server = TlsServer::start().await;
        let mut stream = TcpStream::connect(server.running.address)
            .await
            .expect("connected");
        stream.write_all(plain.as_bytes()).await.expect("sent");
        let mut alert = Vec::new();
        _ = stream.read_to_end(&mut alert).await;
        assert_eq!(alert.first(), Some(&21), "an alert of TLS, to {plain}");
    }
    log.wait_for_text("the client does not speak TLS").await;

    let plain = Running::start().await;
    let config = Authority::new().trusting(None);
    assert!(connect_tls(plain.address, config).await.is_err());
    log.wait_for_text("the client speaks TLS, which this port does not")
        .await;
}

#[tokio::test]
async fn a_client_needs_a_certificate_of_the_right_authority() {
    let log = Log::capture();
    let clients = Authority::new();
    let required = TlsServer::start_for(&clients, TlsClientAuth::Required).await;
    let good = clients.client("spiffe://test/client");
    assert_eq!(required.call(Some(&good), "with-identity").await, Code::Ok);
    let line = log.wait_for("with-identity").await;
    assert_eq!(line["peer_identity"], "spiffe://test/client");
    assert_eq!(line["subject"], "somebody", "the token's");

    let trusting = |pair: Option<&Pair>| required.authority.trusting(pair);
    let refused = required.refusal(trusting(None)).await;
    assert!(refused.contains("CertificateRequired"), "{refused}");
    log.wait_for_text("the client has no certificate").await;

    // One server for each, since a kind of warning has one line a second.
    let expired = clients.sign(Wanted {
        is_expired: true,
        ..Wanted::default()
    });
    let for_servers = clients.sign(Wanted {
        usage: Some(ExtendedKeyUsagePurpose::ServerAuth),
        ..Wanted::default()
    });
    for (pair, alert, logged) in [
        (
            Authority::new().client("spiffe://other/client"),
            "UnknownCA",
            "leads to no authority in --tls-client-ca",
        ),
        (expired, "Expired", "the client's certificate has expired"),
        (for_servers, "Certificate", "extended key usage clientAuth"),
    ] {
        let server = TlsServer::start_for(&clients, TlsClientAuth::Required).await;
        let refused = server.refusal(server.authority.trusting(Some(&pair))).await;
        assert!(refused.contains(alert), "{refused}");
        log.wait_for_text(logged).await;
    }
}

#[tokio::test]
async fn a_certificate_may_be_optional_but_not_wrong() {
    let log = Log::capture();
    let clients = Authority::new();
    let server = TlsServer::start_for(&clients, TlsClientAuth::Optional).await;
    assert_eq!(server.call(None, "nobody").await, Code::Ok);
    let line = log.wait_for("nobody").await;
    assert!(line.get("peer_identity").is_none(), "{line}");
    let by_name = clients.sign(Wanted {
        dns: vec!["client.test"],
        ..Wanted::default()
    });
    assert_eq!(server.call(Some(&by_name), "named").await, Code::Ok);
    assert_eq!(log.wait_for("named").await["peer_identity"], "client.test");

    let other = Authority::new().client("spiffe://other/client");
    let config = server.authority.trusting(Some(&other));
    let refused = server.refusal(config).await;
    assert!(refused.contains("UnknownCA"), "{refused}");
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_server_is_explained() {
    let log = Log::capture();
    let server = TlsServer::start().await;
    let stranger = Authority::new().trusting(None);
    let refused = connect_tls(server.running.address, stranger).await;
    refused.expect_err("another authority");
    log.wait_for_text("does not accept the certificate of this server")
        .await;
}

#[tokio::test]
async fn a_handshake_has_its_own_time() {
    let log = Log::capture();
    let server = TlsServer::start_with(
        ServerSettings {
            handshake_max: Duration::from_millis(200),
            preface_max: NEVER,
            ..settings()
        },
        None,
    )
    .await;
    // Nothing, and the header of a record that does not come.
    for sent in [&[][..], &[22, 3, 1, 2, 0]] {
        let mut slow = Frames::silent(server.running.address).await;
        slow.send(sent).await;
        assert_eq!(slow.next().await, None, "{sent:?}");
    }
    log.wait_for_text("the handshake of TLS did not end within")
        .await;
}

/// Linux has all addresses of 127.0.0.0/8; other systems have the first one only.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn slow_handshakes_take_connections_of_their_own_peer_only() {
    let server = TlsServer::start_with(
        ServerSettings {
            connections_max: 8,
            connections_per_peer_max: 4,
            handshake_max: NEVER,
            ..settings()
        },
        None,
    )
    .await;
    let mut slow = Vec::new();
    for _ in 0..4 {
        let mut connection =
            Frames::silent_from([127, 0, 0, 2].into(), server.running.address).await;
        connection.send(&[22, 3, 1, 2, 0]).await;
        slow.push(connection);
    }
    // The connections are accepted in their order.
    let mut surplus = Frames::silent_from([127, 0, 0, 2].into(), server.running.address).await;
    assert_eq!(surplus.next().await, None, "the fifth of this peer");
    assert_eq!(server.call(None, "meanwhile").await, Code::Ok);

    server.running.shutdown.ask();
    let served = tokio::time::timeout(Duration::from_secs(20), server.running.served).await;
    served
        .expect("a shutdown does not wait for handshakes")
        .expect("no panic")
        .expect("served");
}
