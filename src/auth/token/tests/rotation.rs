//! Keys that the issuer replaces, and a key server that does not answer.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::limits::{JWKS_AGE_MAX, JWKS_REFRESH_MIN, JWKS_WAIT_MAX, JWKS_WAITS_MAX};

/// A key server whose document is replaced, and that can leave requests without an answer.
#[derive(Clone)]
struct KeyServer(Arc<Mutex<KeyServerState>>);

struct KeyServerState {
    document: String,
    hangs: bool,
    reads: usize,
    waiting: Vec<TcpStream>,
}

impl KeyServer {
    /// A server on a thread of its own, which lasts as long as the process, and its URL.
    fn start(jwks: &Value) -> (Self, JwksSource) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/jwks", listener.local_addr().expect("bound"));
        let server = Self(Arc::new(Mutex::new(KeyServerState {
            document: jwks.to_string(),
            hangs: false,
            reads: 0,
            waiting: Vec::new(),
        })));
        let serving = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                _ = stream.read(&mut [0; 4096]);
                let mut state = serving.0.lock().expect("no panic");
                state.reads += 1;
                if state.hangs {
                    state.waiting.push(stream);
                } else {
                    answer(&mut stream, &state.document);
                }
            }
        });
        (server, JwksSource::Url(url))
    }

    fn publish(&self, jwks: &Value) {
        self.0.lock().expect("no panic").document = jwks.to_string();
    }

    fn hang(&self) {
        self.0.lock().expect("no panic").hangs = true;
    }

    /// Answers what waits, and everything from now on.
    fn go_on(&self) {
        let mut state = self.0.lock().expect("no panic");
        state.hangs = false;
        let document = state.document.clone();
        for mut stream in state.waiting.drain(..) {
            answer(&mut stream, &document);
        }
    }

    fn reads(&self) -> usize {
        self.0.lock().expect("no panic").reads
    }
}

fn answer(stream: &mut TcpStream, document: &str) {
    let head = format!(
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        document.len()
    );
    _ = stream.write_all(format!("{head}{document}").as_bytes());
}

/// A key, and what it signs under one `kid` or without any.
struct NamedKey {
    key: DevKey,
    id: Option<&'static str>,
}

impl NamedKey {
    fn new(id: Option<&'static str>) -> Self {
        let key = DevKey::generate().expect("a key");
        Self { key, id }
    }

    fn jwks(&self) -> Value {
        self.key.jwks_named(self.id)
    }

    fn token(&self) -> String {
        self.key.sign_named(self.id, &claims()).expect("signed")
    }
}

async fn verifier(source: JwksSource) -> Arc<TokenVerifier> {
    let keys = Jwks::open(source).await.expect("readable");
    Arc::new(TokenVerifier::new(ISSUER, AUDIENCE, keys))
}

fn is_refused(verified: &Result<Arc<Caller>>) -> bool {
    matches!(verified, Err(Error::TokenInvalid(_)))
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_replaced_under_its_name_works_after_a_minute_at_the_latest() {
    for id in [Some("current"), None] {
        let (first, second, third) = (NamedKey::new(id), NamedKey::new(id), NamedKey::new(id));
        let (server, source) = KeyServer::start(&first.jwks());
        let verifier = verifier(source).await;
        let remembered = first.token();
        assert!(verifier.verify(&remembered).await.is_ok());

        server.publish(&second.jwks());
        assert!(verifier.verify(&remembered).await.is_ok(), "from memory");
        assert!(verifier.verify(&second.token()).await.is_ok(), "read again");
        let forgotten = verifier.verify(&remembered).await;
        assert!(is_refused(&forgotten), "{forgotten:?}");
        assert_eq!(server.reads(), 2);

        server.publish(&third.jwks());
        let early = verifier.verify(&third.token()).await;
        assert!(is_refused(&early), "{early:?}");
        assert_eq!(server.reads(), 2, "at most once a minute");
        tokio::time::advance(JWKS_REFRESH_MIN).await;
        assert!(verifier.verify(&third.token()).await.is_ok());
        assert!(is_refused(&verifier.verify(&second.token()).await));
        assert_eq!(server.reads(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_of_another_type_replaces_one_under_its_name() {
    let fixture: Value =
        serde_json::from_str(include_str!("../foreign_tokens.json")).expect("valid JSON");
    let (case, token) = fixture["good"]
        .as_object()
        .and_then(|good| good.iter().find(|(case, _)| case.contains("RS256")))
        .expect("a token signed with RS256");
    let token = token.as_str().expect("a text");
    let id = decode_header(token).expect("a header").kid.expect("a kid");
    let before = DevKey::generate().expect("a key");
    let (server, source) = KeyServer::start(&before.jwks_named(Some(&id)));
    let verifier = verifier(source).await;
    server.publish(&fixture["jwks"]);
    let verified = verifier.verify(token).await;
    assert!(verified.is_ok(), "{case}: {verified:?}");
}

#[tokio::test(start_paused = true)]
async fn a_burst_at_a_rotation_is_not_refused() {
    let (old, new) = (NamedKey::new(Some("old")), NamedKey::new(Some("new")));
    let (server, source) = KeyServer::start(&old.jwks());
    let verifier = verifier(source).await;
    server.publish(&new.jwks());
    let token = new.token();
    let calls = (0..JWKS_WAITS_MAX).map(|_| {
        let (verifier, token) = (Arc::clone(&verifier), token.clone());
        tokio::spawn(async move { verifier.verify(&token).await })
    });
    for call in calls.collect::<Vec<_>>() {
        let verified = call.await.expect("no panic");
        assert!(verified.is_ok(), "{verified:?}");
    }
    assert_eq!(server.reads(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_key_server_that_hangs_holds_up_few_calls_and_not_for_long() {
    let (old, new) = (NamedKey::new(Some("old")), NamedKey::new(Some("new")));
    let (server, source) = KeyServer::start(&old.jwks());
    let verifier = verifier(source).await;
    server.publish(&new.jwks());
    server.hang();

    let begun = tokio::time::Instant::now();
    let refused = Arc::new(AtomicUsize::new(0));
    let extra = 300;
    let calls = (0..JWKS_WAITS_MAX + extra).map(|_| {
        let (verifier, refused) = (Arc::clone(&verifier), Arc::clone(&refused));
        let token = new.token();
        tokio::spawn(async move {
            assert!(is_refused(&verifier.verify(&token).await));
            refused.fetch_add(1, Ordering::Relaxed);
        })
    });
    let calls: Vec<_> = calls.collect();
    // The clock stands still meanwhile: these calls wait for nothing.
    while refused.load(Ordering::Relaxed) < extra || server.reads() < 2 {
        tokio::task::yield_now().await;
    }
    assert!(verifier.verify(&old.token()).await.is_ok(), "a known key");
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(refused.load(Ordering::Relaxed), extra);

    tokio::time::advance(JWKS_WAIT_MAX).await;
    for call in calls {
        call.await.expect("no panic");
    }
    assert_eq!(begun.elapsed(), JWKS_WAIT_MAX);
    assert!(verifier.verify(&old.token()).await.is_ok(), "a known key");

    // The read was given up by its calls, but goes on.
    server.go_on();
    assert!(verifier.verify(&new.token()).await.is_ok());
    assert!(is_refused(&verifier.verify(&old.token()).await));
    assert_eq!(server.reads(), 2, "one read for all of them");
}

#[tokio::test(start_paused = true)]
async fn a_withdrawn_key_is_dropped_without_a_token_of_the_new_one() {
    let (old, new) = (NamedKey::new(Some("old")), NamedKey::new(Some("new")));
    let (server, source) = KeyServer::start(&old.jwks());
    let verifier = verifier(source).await;
    server.publish(&new.jwks());
    tokio::time::advance(JWKS_AGE_MAX + Duration::from_secs(1)).await;
    // The call itself is judged by the keys at hand; the read runs beside it.
    assert!(verifier.verify(&old.token()).await.is_ok());
    while verifier.keys.generation() == 0 {
        tokio::task::yield_now().await;
    }
    assert!(is_refused(&verifier.verify(&old.token()).await));
    assert_eq!(server.reads(), 2);
}
