//! A gateway in this process, on free ports, and the table of what every behaviour runs over.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use serde_json::{Value, json};
use tokencast::auth::OPEN_TENANT;
use tokencast::cast::Cast;
use tokencast::cast::id::Id;
use tokencast::config::Config;
use tokencast::journal::Mode;
use tokencast::server::Server;

use crate::http::{Call, PROTOCOLS, Protocol, Reply, within};
use crate::provider::Provider;
use crate::viewing::{Transport, Viewing};

/// Where streams are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Journal {
    Memory,
    Sqlite,
}

impl Journal {
    pub(crate) const ALL: [Self; 2] = [Self::Memory, Self::Sqlite];

    fn configure(self, config: &mut Config) {
        config.journal.mode = match self {
            Self::Memory => Mode::Memory,
            Self::Sqlite => Mode::Sqlite,
        };
        // Keys and certificates stand beside it, whether it is there or not.
        config.journal.path = directory().join("test.db");
    }
}

/// A path for the data of one gateway.
fn directory() -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("tokencast-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    std::env::temp_dir().join(name)
}

/// The data of one gateway, gone with it.
#[derive(Debug)]
struct Data(PathBuf);

impl Drop for Data {
    fn drop(&mut self) {
        // In mode "memory" there is none.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One cell of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) transport: Transport,
    pub(crate) journal: Journal,
}

/// Runs a behaviour over every transport and every journal.
pub(crate) async fn everywhere(behaviour: impl AsyncFn(Case)) {
    for journal in Journal::ALL {
        for transport in Transport::ALL {
            eprintln!("{transport:?} over {journal:?}");
            Box::pin(behaviour(Case { transport, journal })).await;
        }
    }
}

/// Runs what transports do not differ in over every protocol and every journal.
pub(crate) async fn over_http(behaviour: impl AsyncFn(Protocol, Journal)) {
    for journal in Journal::ALL {
        for protocol in PROTOCOLS {
            eprintln!("{protocol:?} over {journal:?}");
            Box::pin(behaviour(protocol, journal)).await;
        }
    }
}

/// A configuration on free ports with one provider, `test`, for every model.
pub(crate) fn config(journal: Journal, base_url: &str) -> Config {
    let mut config = Config::default();
    config.http.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config.ops.listen = config.http.listen;
    config.webtransport.listen = config.http.listen;
    config.providers = vec![
        serde_json::from_value(json!({ "name": "test", "dialect": "openai", "base_url": base_url }))
            .expect("a provider"),
    ];
    journal.configure(&mut config);
    config
}

/// A gateway that serves.
#[derive(Debug)]
pub(crate) struct Gateway {
    server: Server,
    _data: Option<Data>,
    pub(crate) http: SocketAddr,
    pub(crate) ops: SocketAddr,
}

impl Gateway {
    /// How often the public listener has refused for this reason, the gateways of other tests included.
    pub(crate) async fn refused(&self, reason: &str) -> u64 {
        self.refused_at("public", reason).await
    }

    /// The same of any listener.
    pub(crate) async fn refused_at(&self, listener: &str, reason: &str) -> u64 {
        let mut metrics = Call::get("/metrics").send(Protocol::H1, self.ops).await;
        let metrics = String::from_utf8(metrics.body.whole().await.0).unwrap();
        let sample = format!("tokencast_refused_total{{listener=\"{listener}\",reason=\"{reason}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&sample)?.parse().ok()).unwrap_or(0)
    }

    #[expect(clippy::needless_pass_by_value, reason = "it is made for this")]
    pub(crate) fn start(config: Config) -> Self {
        Self::start_with(&config, &[])
    }

    /// With these environment variables.
    pub(crate) fn start_with(config: &Config, variables: &[(&str, &str)]) -> Self {
        let variables: HashMap<String, String> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let data = config.journal.path.parent().map(|path| Data(path.to_owned()));
        let server = Server::start(config, |name| variables.get(name).cloned()).expect("free ports");
        Self { http: server.http(), ops: server.ops(), server, _data: data }
    }

    /// In front of a scripted provider, with the defaults of everything.
    pub(crate) fn before(provider: &Provider, journal: Journal) -> Self {
        Self::start(config(journal, &provider.base_url()))
    }

    /// The server itself, to be run and drained.
    pub(crate) fn into_server(self) -> Server {
        self.server
    }

    /// The stream itself, to see how far it is.
    pub(crate) fn cast(&self, id: &str) -> Cast {
        let id = Id::parse(id).expect("an id");
        let (tenant, mut context) = (Arc::from(OPEN_TENANT), Context::from_waker(Waker::noop()));
        match pin!(self.server.hub().find(&tenant, &id)).poll(&mut context) {
            Poll::Ready(cast) => cast.expect("a stream"),
            Poll::Pending => panic!("{id} is not in memory"),
        }
    }

    /// Waits until the stream has so many blocks, or has ended.
    pub(crate) async fn has_blocks(&self, id: &str, blocks: u64) {
        let cast = self.cast(id);
        let mut watch = cast.watch();
        within(format!("{blocks} blocks"), async {
            loop {
                watch.mark();
                if cast.tail() >= blocks || cast.end().is_some() {
                    return;
                }
                watch.changed().await;
            }
        })
        .await;
    }

    /// Waits until the stream has ended.
    pub(crate) async fn has_ended(&self, id: &str) {
        // It may be in the journal alone by now.
        let cast = self.server.hub().find(&Arc::from(OPEN_TENANT), &Id::parse(id).expect("an id")).await;
        within("the end", cast.expect("a stream").watch().closed()).await;
    }

    pub(crate) fn budget_held(&self) -> usize {
        self.server.hub().budget().held()
    }

    pub(crate) async fn send(&self, call: &Call) -> Reply {
        call.send(Protocol::H1, self.http).await
    }

    /// Starts a stream with this envelope and gives the answer.
    pub(crate) async fn start_stream(&self, envelope: &Value) -> Value {
        let reply = self.send(&Call::post(envelope.to_string())).await;
        let status = reply.status;
        let answer = reply.json().await;
        assert_eq!(status, 201, "{answer}");
        answer
    }

    /// Starts the stream that the provider's script for `model` makes, and gives its id.
    pub(crate) async fn stream(&self, model: &str) -> String {
        let answer = self.start_stream(&json!({ "request": { "model": model, "messages": [1] } })).await;
        answer["id"].as_str().expect("an id").to_owned()
    }

    /// State as `GET /v1/streams/{id}` tells it.
    pub(crate) async fn state(&self, id: &str) -> Value {
        self.send(&Call::get(format!("/v1/streams/{id}"))).await.json().await
    }

    /// A viewer of the native view.
    pub(crate) async fn watch(&self, transport: Transport, id: &str, query: &str) -> Viewing {
        Viewing::open(transport, self.http, &format!("/v1/streams/{id}/events{query}")).await
    }

    /// The end of a stream that a fresh viewer sees.
    pub(crate) async fn end(&self, transport: Transport, id: &str) -> Value {
        let events = self.watch(transport, id, "").await.rest().await;
        let last = events.last().expect("an end").clone();
        assert_eq!(last.name, "end", "{}", last.data);
        last.data
    }
}
