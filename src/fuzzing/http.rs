//! The whole HTTP surface, from the bytes of a connection on.

use std::convert::Infallible;
use std::sync::LazyLock;
use std::time::Duration;

use axum::body::Body;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use reqwest::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower_service::Service;

use crate::auth::Keyring;
use crate::config::Config;
use crate::gateway::Gateway;
use crate::http::{App, router};
use crate::journal::{self, Prepared};
use crate::upstream;

/// What providers are called with.
const KEY: &str = "sk-of-the-provider";

/// Providers of all families, whose addresses nobody has.
static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let providers = ["openai", "anthropic", "gemini", "ollama"].map(|dialect| {
        format!(
            "[[providers]]\nname = \"{dialect}\"\ndialect = \"{dialect}\"\nbase_url = \"http://127.0.0.1:1\"\n\
             api_key_env = \"KEY\"\nmodels = [\"{dialect}-*\", \"m\"]\n"
        )
    });
    let more = "[http]\ncors_origins = [\"https://app.example\"]\n[ai_sdk]\nmodel = \"m\"\n\
        [upstream]\nconnect_attempts = 1\n[journal]\nmode = \"memory\"\n";
    toml::from_str(&[more, &providers.concat()].concat()).expect("a configuration")
});

static CLIENT: LazyLock<Client> = LazyLock::new(|| upstream::client(&CONFIG.upstream, |builder| builder));

/// Before everything that the fuzzer says, so that there is a stream to ask for.
const STREAM: &[u8] = b"POST /v1/streams HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
    content-length: 54\r\n\r\n{\"id\":\"a\",\"provider\":\"openai\",\"request\":{\"model\":\"m\"}}";

/// Whatever a client sends, it gets an answer that is no failure of ours and has no key in it; and the connection ends.
pub fn http(bytes: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let answers = runtime.expect("a runtime").block_on(answers(bytes));
    let answers = String::from_utf8_lossy(&answers);
    let (begun, rest) = answers.split_once("\r\n").expect("the first request is ours");
    assert!(begun.starts_with("HTTP/1.1 201"), "{answers}");
    assert!(!rest.contains("HTTP/1.1 500") || bytes.windows(3).any(|part| part == b"500"), "{answers}");
    assert!(!answers.contains(KEY) || String::from_utf8_lossy(bytes).contains("sk-"), "{answers}");
}

async fn answers(bytes: &[u8]) -> Vec<u8> {
    let router = router(app());
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let mut router = router.clone();
        async move {
            Ok::<_, Infallible>(router.call(request.map(Body::new)).await.unwrap_or_else(|e| match e {}))
        }
    });
    let (client, server) = tokio::io::duplex(1 << 20);
    let serving = async move {
        let mut connection = hyper::server::conn::http1::Builder::new();
        // How it ends is the client's doing.
        let _ = connection
            .half_close(true)
            .max_headers(100)
            .serve_connection(TokioIo::new(server), service)
            .await;
    };
    let asking = async move {
        let (mut reading, mut writing) = tokio::io::split(client);
        let (mut answers, request) = (Vec::new(), [STREAM, bytes].concat());
        let write = async {
            let _ = writing.write_all(&request).await;
            let _ = writing.shutdown().await;
        };
        let (_, read) = tokio::join!(write, reading.read_to_end(&mut answers));
        read.expect("a pipe can be read");
        answers
    };
    let (_, answers) = tokio::time::timeout(Duration::from_secs(20), async { tokio::join!(serving, asking) })
        .await
        .expect("the connection ends");
    answers
}

fn app() -> App {
    let opened = journal::prepare(&CONFIG.journal).and_then(Prepared::recover).expect("it is memory");
    let variable = |_: &str| Some(KEY.to_owned());
    let keyring = Keyring::open(&CONFIG.auth, variable).expect("there is nothing to read");
    let gateway = Gateway::new(&CONFIG, variable, CLIENT.clone(), keyring, opened);
    App::new(CONFIG.http.clone(), CONFIG.ai_sdk.clone(), gateway.edge)
}
