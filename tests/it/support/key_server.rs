//! The HTTP server of an issuer: its pages are replaced, and it can leave requests without an answer. The library's own
//! tests use it too.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

/// A server on a thread of its own, which lasts as long as the process.
#[derive(Clone)]
pub(crate) struct KeyServer {
    address: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
    state: Arc<Mutex<KeyServerState>>,
}

#[derive(Default)]
struct KeyServerState {
    /// Status and body by path; others are 404.
    pages: HashMap<String, (String, String)>,
    hangs: bool,
    /// The heads of all requests that have come.
    requests: Vec<String>,
    /// Requests without an answer, each with its path.
    waiting: Vec<(Box<dyn ByteStream>, String)>,
}

trait ByteStream: Read + Write + Send {}
impl<T: Read + Write + Send> ByteStream for T {}

/// The path of the keys.
const KEYS: &str = "/jwks";
/// The path of the discovery document.
const DISCOVERY: &str = "/.well-known/openid-configuration";

impl KeyServer {
    /// A server without any page.
    pub(crate) fn start() -> Self {
        Self::start_with(None)
    }

    /// A server without any page, by https, and the file with the certificate of its authority, which is made in the
    /// folder.
    pub(crate) fn start_https(folder: &Path) -> (Self, PathBuf) {
        let (config, ca) = authority(folder);
        (Self::start_with(Some(config)), ca)
    }

    fn start_with(tls: Option<ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let server = Self {
            address: listener.local_addr().expect("bound"),
            tls: tls.map(Arc::new),
            state: Arc::default(),
        };
        let serving = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serving.serve(stream.expect("a connection"));
            }
        });
        server
    }

    /// The name of the issuer whose server this is.
    pub(crate) fn issuer(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://localhost:{}", self.address.port())
    }

    /// The URL of the keys.
    pub(crate) fn url(&self) -> String {
        format!("{}{KEYS}", self.issuer())
    }

    /// Publishes keys.
    pub(crate) fn publish(&self, jwks: &Value) {
        self.publish_at(KEYS, "200 OK", &jwks.to_string());
    }

    /// Publishes where the keys are.
    pub(crate) fn publish_discovery(&self) {
        let document = json!({"issuer": self.issuer(), "jwks_uri": self.url()});
        self.publish_at(DISCOVERY, "200 OK", &document.to_string());
    }

    /// Publishes any page. A status 302 is followed by the URL that it leads to.
    pub(crate) fn publish_at(&self, path: &str, status: &str, body: &str) {
        let page = (status.into(), body.into());
        self.lock().pages.insert(path.into(), page);
    }

    /// Answers nothing from now on.
    pub(crate) fn hang(&self) {
        self.lock().hangs = true;
    }

    /// Answers what waits, and everything from now on.
    pub(crate) fn go_on(&self) {
        let mut state = self.lock();
        state.hangs = false;
        for (mut stream, path) in std::mem::take(&mut state.waiting) {
            answer(&mut *stream, state.pages.get(&path));
        }
    }

    /// How many requests have come.
    pub(crate) fn reads(&self) -> usize {
        self.requests().len()
    }

    /// The heads of all requests that have come.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.lock().requests.clone()
    }

    fn lock(&self) -> MutexGuard<'_, KeyServerState> {
        self.state.lock().expect("no panic")
    }

    fn serve(&self, stream: TcpStream) {
        let mut stream: Box<dyn ByteStream> = match &self.tls {
            Some(tls) => {
                let session = ServerConnection::new(Arc::clone(tls)).expect("a session");
                Box::new(StreamOwned::new(session, stream))
            }
            None => Box::new(stream),
        };
        // None: a client that does not trust the certificate has gone.
        let Some((head, path)) = request(&mut *stream) else {
            return;
        };
        let mut state = self.lock();
        state.requests.push(head);
        if state.hangs {
            state.waiting.push((stream, path));
        } else {
            answer(&mut *stream, state.pages.get(&path));
        }
    }
}

/// The head of a request, and its path.
fn request(stream: &mut dyn ByteStream) -> Option<(String, String)> {
    let mut buffer = [0; 4096];
    let length = stream.read(&mut buffer).ok()?;
    let head = String::from_utf8_lossy(&buffer[..length]).into_owned();
    let path = head.split(' ').nth(1)?.to_owned();
    Some((head, path))
}

fn answer(stream: &mut dyn ByteStream, page: Option<&(String, String)>) {
    let (status, body) = match page {
        Some((status, body)) => (status.as_str(), body.as_str()),
        None => ("404 Not Found", ""),
    };
    let location = status.strip_prefix("302 ").unwrap_or("/");
    let head = format!(
        "HTTP/1.1 {status}\r\nconnection: close\r\nlocation: {location}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    _ = stream.write_all(format!("{head}{body}").as_bytes());
    _ = stream.flush();
}

/// What a server of `localhost` needs for https, and the file with the certificate of the authority that signed its own.
fn authority(folder: &Path) -> (ServerConfig, PathBuf) {
    let key = || KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new([]).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, key()).expect("a root");
    let file = folder.join("ca.pem");
    std::fs::write(&file, authority.pem()).expect("written");
    let own_key = key();
    let names = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    let certificate = names.signed_by(&own_key, &authority).expect("signed");
    let own_key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(own_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], own_key)
        .expect("a certificate");
    (config, file)
}
