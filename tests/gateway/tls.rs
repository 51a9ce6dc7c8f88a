//! TLS on the public listener.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokencast::config::Config;
use tokencast::server::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::gateway::{Gateway, Journal, config};
use crate::http::{Call, Protocol, within};
use crate::provider::{Hold, Provider, Script};
use crate::says::{DONE, text};

/// A certificate and its key in files.
#[derive(Debug)]
struct Pair {
    directory: PathBuf,
}

impl Pair {
    fn new() -> Self {
        let name = tokencast::crypto::hex(&tokencast::crypto::random::<8>());
        let directory = std::env::temp_dir().join(format!("tokencast-tls-{name}"));
        std::fs::create_dir_all(&directory).unwrap();
        Self { directory }
    }

    fn chain(&self) -> PathBuf {
        self.directory.join("chain.pem")
    }

    fn key(&self) -> PathBuf {
        self.directory.join("key.pem")
    }

    /// Writes another one, which is what clients have to trust from now on.
    fn renew(&self) -> CertificateDer<'static> {
        let identity = wtransport::Identity::self_signed(["localhost", "127.0.0.1"]).unwrap();
        let certificate = &identity.certificate_chain().as_slice()[0];
        put(&self.key(), &identity.private_key().to_secret_pem());
        put(&self.chain(), &certificate.to_pem());
        CertificateDer::from(certificate.der().to_vec())
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// At once, and readable by its owner alone.
fn put(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text).unwrap();
    std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::rename(beside, path).unwrap();
}

async fn secured(pair: &Pair, change: impl FnOnce(&mut Config)) -> (Gateway, Hold, Provider) {
    let hold = Hold::new();
    let script = Script::says(text("a").bytes).wait(&hold).write(text("b").bytes).write(DONE);
    let provider = Provider::with(script).await;
    let mut config = config(Journal::Memory, &provider.base_url());
    (config.http.certificate, config.http.key) = (Some(pair.chain()), Some(pair.key()));
    change(&mut config);
    (Gateway::start(config), hold, provider)
}

async fn connect(
    gateway: &Gateway,
    trusted: &CertificateDer<'static>,
    protocol: &[u8],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![protocol.to_vec()];
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TcpStream::connect(gateway.http).await.unwrap();
    TlsConnector::from(Arc::new(tls)).connect(name, stream).await
}

/// One call on a connection of its own; the whole answer.
async fn h1(gateway: &Gateway, trusted: &CertificateDer<'static>, call: Call) -> String {
    let mut stream = connect(gateway, trusted, b"http/1.1").await.unwrap();
    let bytes = call.header("connection", "close").bytes(gateway.http);
    stream.write_all(&bytes).await.unwrap();
    let mut answer = Vec::new();
    within("an answer", stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8(answer).unwrap()
}

async fn start(gateway: &Gateway, trusted: &CertificateDer<'static>) -> (String, String) {
    let answer = h1(gateway, trusted, Call::post(r#"{"request":{"model":"m"}}"#)).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    let url = body["urls"]["events"].as_str().unwrap().to_owned();
    assert!(url.starts_with(&format!("https://{}/v1/streams/", gateway.http)), "{url}");
    assert!(head.contains(&format!("location: {}", url.trim_end_matches("/events"))), "{head}");
    (body["id"].as_str().unwrap().to_owned(), url)
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_as_it_is_without() {
    let pair = Pair::new();
    let trusted = pair.renew();
    let (gateway, hold, _provider) = secured(&pair, |_| ()).await;
    let (id, _) = start(&gateway, &trusted).await;
    let call = Call::get(format!("/v1/streams/{id}/events"));
    let mut viewers = JoinSet::new();
    for _ in 0..3 {
        let mut stream = connect(&gateway, &trusted, b"http/1.1").await.unwrap();
        stream.write_all(&call.bytes(gateway.http)).await.unwrap();
        viewers.spawn(async move {
            let mut body = Vec::new();
            while !body.ends_with(b"0\r\n\r\n") {
                assert_ne!(stream.read_buf(&mut body).await.unwrap(), 0);
            }
            String::from_utf8(body).unwrap()
        });
    }
    // By HTTP/2 on one connection, as browsers do.
    let stream = connect(&gateway, &trusted, b"h2").await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .handshake::<_, Empty<bytes::Bytes>>(TokioIo::new(stream))
        .await
        .unwrap();
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let url = format!("https://localhost:{}/v1/streams/{id}/events", gateway.http.port());
    let request = http::Request::get(&url).body(Empty::new()).unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!((answer.status(), answer.version()), (http::StatusCode::OK, http::Version::HTTP_2));
    hold.release();
    let body = within("the end", answer.into_body().collect()).await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    assert!(body.contains("event: end"), "{body}");
    for seen in within("the viewers", viewers.join_all()).await {
        assert!(seen.contains("event: end") && seen.contains(r#""text":"a""#), "{seen}");
        assert!(seen.contains(r#""text":"b""#), "{seen}");
    }
    // Operations stay as they are.
    assert_eq!(Call::get("/healthz").send(Protocol::H1, gateway.ops).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_speak_it_is_told_so_or_closed() {
    let pair = Pair::new();
    pair.renew();
    let (gateway, _hold, _provider) = secured(&pair, |config| {
        (config.http.tls_handshake_s, config.http.first_byte_s) = (1, 1);
    })
    .await;
    let refused = gateway.send(&Call::get("/v1/streams")).await;
    let (status, error) = refused.error_json().await;
    assert_eq!((status, error["code"].as_str()), (400, Some("tls_required")));
    assert!(error["message"].as_str().unwrap().contains("https://"));
    let ends = async |bytes: &[u8]| {
        let mut stream = TcpStream::connect(gateway.http).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut heard = Vec::new();
        let _ = within("a close", stream.read_to_end(&mut heard)).await;
        heard
    };
    let (silent, half, garbage) = tokio::join!(ends(b""), ends(b"\x16\x03\x01\x02"), ends(b"\x16garbage!"));
    assert!(silent.is_empty() && half.is_empty(), "{silent:?} {half:?}");
    assert!(garbage.len() < 16, "an alert at most: {garbage:?}");
    let stranger = Pair::new().renew();
    assert!(connect(&gateway, &stranger, b"http/1.1").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_certificate_comes_into_use_under_open_connections() {
    let pair = Pair::new();
    let first = pair.renew();
    let (gateway, hold, _provider) = secured(&pair, |_| ()).await;
    let (id, _) = start(&gateway, &first).await;
    let mut open = connect(&gateway, &first, b"http/1.1").await.unwrap();
    open.write_all(&Call::get(format!("/v1/streams/{id}/text")).bytes(gateway.http)).await.unwrap();
    // One that cannot be used changes nothing.
    put(&pair.key(), "nonsense");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    connect(&gateway, &first, b"http/1.1").await.expect("the old one");
    let second = pair.renew();
    within("the new one", async {
        while connect(&gateway, &second, b"http/1.1").await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert!(connect(&gateway, &first, b"http/1.1").await.is_err());
    hold.release();
    let mut text = Vec::new();
    within("the rest", async {
        while !text.ends_with(b"0\r\n\r\n") {
            assert_ne!(open.read_buf(&mut text).await.unwrap(), 0);
        }
    })
    .await;
    let mut metrics = Call::get("/metrics").send(Protocol::H1, gateway.ops).await;
    let metrics = String::from_utf8(metrics.body.whole().await.0).unwrap();
    assert!(metrics.contains("\ntokencast_http_certificate_expiry_timestamp_seconds "));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_that_cannot_be_used_is_named_before_anything_is_served() {
    let (pair, other) = (Pair::new(), Pair::new());
    pair.renew();
    other.renew();
    let problem = |chain: PathBuf, key: PathBuf| {
        let mut config = config(Journal::Memory, "http://127.0.0.1:1/v1");
        (config.http.certificate, config.http.key) = (Some(chain), Some(key));
        Server::start(&config, |_| None).map(drop).unwrap_err().to_string()
    };
    let wrong = problem(pair.chain(), other.key());
    assert!(wrong.starts_with("http.key = "), "{wrong}");
    let missing = problem(pair.directory.join("none.pem"), pair.key());
    assert!(missing.starts_with("http.certificate = "), "{missing}");
    std::fs::set_permissions(pair.key(), std::fs::Permissions::from_mode(0o644)).unwrap();
    let exposed = problem(pair.chain(), pair.key());
    assert!(exposed.contains(&format!("chmod g-w,o= {}", pair.key().display())), "{exposed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_follows_it() {
    let pair = Pair::new();
    let trusted = pair.renew();
    let (gateway, hold, _provider) = secured(&pair, |config| config.webtransport.enabled = false).await;
    let (_, url) = start(&gateway, &trusted).await;
    hold.release();
    let mut watch = Command::new(env!("CARGO_BIN_EXE_tokencast"));
    watch.args(["watch", "--json", url.as_str()]).env("SSL_CERT_FILE", pair.chain()).stdin(Stdio::null());
    let watching = tokio::task::spawn_blocking(move || watch.output());
    let done = within("watch", watching).await.unwrap().unwrap();
    let (out, said) = (String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap());
    assert!(done.status.success() && out.contains(r#""reason":"completed""#), "{out}\n{said}");
}
