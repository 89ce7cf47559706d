//! Certificates, keys and authorities are replaced while a server runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use earmark::server::Listeners;
use earmark::server::tls::{ServerTls, TlsFiles};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tonic::Code;

use crate::server::access_log::Log;
use crate::server::running::{ADJUST, Running, adjust, settings};
use crate::support::certificates::{Authority, Pair, SecretVolume, Wanted, connect_tls};
use crate::support::raw::Raw;

/// A server whose files change.
struct Renewable {
    running: Running,
    tls: ServerTls,
    volume: SecretVolume,
}

fn contents<'a>(pair: &'a Pair, client_ca: &'a str) -> [(&'static str, &'a str); 3] {
    [
        ("tls.crt", &pair.certificate),
        ("tls.key", &pair.key),
        ("ca.crt", client_ca),
    ]
}

impl Renewable {
    async fn start(pair: &Pair, client_ca: Option<&Authority>) -> Self {
        let authority = client_ca.map(Authority::pem).unwrap_or_default();
        let volume = SecretVolume::new(&contents(pair, &authority));
        let tls = ServerTls::open(TlsFiles {
            client_ca: client_ca.map(|_| volume.path("ca.crt")),
            reload_interval: Duration::from_millis(50),
            ..TlsFiles::new(volume.path("tls.crt"), volume.path("tls.key"))
        });
        let tls = tls.expect("good files");
        let listeners = |calls| Listeners {
            tls: Some(tls.clone()),
            ..Listeners::from(calls)
        };
        Self {
            running: Running::start_listening(settings(), listeners).await,
            tls,
            volume,
        }
    }

    /// The certificate that a new connection is shown.
    async fn shown(&self, authority: &Authority) -> CertificateDer<'static> {
        let config = authority.trusting(None);
        let stream = connect_tls(self.running.address, config).await;
        let stream = stream.expect("a handshake");
        let shown = stream.get_ref().1.peer_certificates().expect("shown");
        shown[0].clone().into_owned()
    }

    /// Waits until new connections are shown this certificate.
    async fn wait_for(&self, authority: &Authority, pair: &Pair) {
        let expected = der(pair);
        eventually(async || self.shown(authority).await == expected).await;
    }
}

fn der(pair: &Pair) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pair.certificate.as_bytes()).expect("a certificate")
}

async fn eventually(mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    in_time.expect("it comes about");
}

/// Makes calls until it is told to stop, each on the connection that `raw` makes for it. All must succeed.
async fn call_until(
    stop: &AtomicBool,
    bearer: &str,
    mut raw: impl AsyncFnMut() -> Arc<Raw>,
) -> u32 {
    let mut calls = 0;
    while !stop.load(Ordering::SeqCst) {
        let metadata = [("authorization", bearer)];
        let answer = raw().await.call(ADJUST, &metadata, adjust("x")).await;
        assert_eq!(answer.status.code(), Code::Ok);
        calls += 1;
    }
    calls
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_renewed_under_load_without_a_dropped_call() {
    let authority = Authority::new();
    let first = authority.server();
    let mut server = Renewable::start(&first, None).await;
    let address = server.running.address;
    let bearer = server.running.bearer("network-admin");
    let stop = AtomicBool::new(false);
    let old = Arc::new(Raw::connect_tls(address, authority.trusting(None)).await);
    let on_the_old_connection = call_until(&stop, &bearer, async || Arc::clone(&old));
    let on_new_connections = call_until(&stop, &bearer, async || {
        Arc::new(Raw::connect_tls(address, authority.trusting(None)).await)
    });
    let renewing = async {
        for _ in 0..3 {
            let next = authority.server();
            server.volume.replace(&contents(&next, ""));
            server.wait_for(&authority, &next).await;
        }
        stop.store(true, Ordering::SeqCst);
    };
    let (old, new, ()) = tokio::join!(on_the_old_connection, on_new_connections, renewing);
    assert!(old > 3 && new > 3, "{old} and {new} calls");
    assert_eq!(server.tls.status().reloads_failed, 0);
}

#[tokio::test]
async fn files_that_cannot_be_used_leave_those_before_in_use() {
    let log = Log::capture();
    let authority = Authority::new();
    let first = authority.server();
    let mut server = Renewable::start(&first, None).await;
    let expired = authority.sign(Wanted {
        is_expired: true,
        ..Wanted::default()
    });
    let mismatched = Pair {
        key: authority.server().key,
        ..authority.server()
    };
    let empty = Pair {
        certificate: String::new(),
        ..first.clone()
    };
    let not_after = server.tls.status().not_after;
    for (pair, why) in [
        (mismatched, "it is not the key of the first certificate"),
        (empty, "it has no certificate in PEM"),
        (expired, "it has expired at 2021-01-01T00:00:00Z"),
    ] {
        let before = server.tls.status().reloads_failed;
        server.volume.replace(&contents(&pair, ""));
        // It is tried again and again.
        eventually(async || server.tls.status().reloads_failed > before + 1).await;
        log.wait_for_text(why).await;
        assert_eq!(server.shown(&authority).await, der(&first));
        assert_eq!(server.tls.status().not_after, not_after);
    }
    let next = authority.server();
    server.volume.replace(&contents(&next, ""));
    server.wait_for(&authority, &next).await;
}

#[tokio::test]
async fn a_certificate_that_has_expired_is_used_at_the_start_and_replaced_later() {
    let log = Log::capture();
    let authority = Authority::new();
    let expired = authority.sign(Wanted {
        is_expired: true,
        dns: vec!["expired.test"],
        ..Wanted::default()
    });
    let mut server = Renewable::start(&expired, None).await;
    log.wait_for_text("the certificate is not valid, and clients will refuse it")
        .await;
    assert_eq!(server.tls.status().not_after, 1_609_459_200);
    let config = authority.trusting(None);
    let refused = connect_tls(server.running.address, config).await;
    let refused = refused.expect_err("expired").to_string();
    assert!(refused.to_lowercase().contains("expired"), "{refused}");

    let next = authority.server();
    server.volume.replace(&contents(&next, ""));
    eventually(async || server.tls.status().not_after > 1_609_459_200).await;
    server.wait_for(&authority, &next).await;
}

#[tokio::test]
async fn the_authorities_of_clients_are_replaced_too() {
    let authority = Authority::new();
    let pair = authority.server();
    let (before, after) = (Authority::new(), Authority::new());
    let mut server = Renewable::start(&pair, Some(&before)).await;
    let (old, new) = (
        before.client("spiffe://test/old"),
        after.client("spiffe://test/new"),
    );
    let address = server.running.address;
    let bearer = server.running.bearer("network-admin");
    let call = async |raw: &Raw| {
        let metadata = [("authorization", bearer.as_str())];
        let answer = raw.try_call(ADJUST, &metadata, adjust("x")).await;
        answer.is_ok_and(|answer| answer.status.code() == Code::Ok)
    };
    let serves = async |client: &Pair| {
        let config = authority.trusting(Some(client));
        let Ok(stream) = connect_tls(address, config).await else {
            return false;
        };
        match Raw::over(stream, address, 65_535).await {
            Ok(raw) => call(&raw).await,
            Err(_) => false,
        }
    };
    let open = Raw::connect_tls(address, authority.trusting(Some(&old))).await;
    assert!(call(&open).await);
    assert!(!serves(&new).await);

    server.volume.replace(&contents(&pair, &after.pem()));
    eventually(async || serves(&new).await).await;
    assert!(!serves(&old).await, "no longer trusted");
    assert!(call(&open).await, "a connection that is open goes on");
}
