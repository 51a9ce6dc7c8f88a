//! What the provider says: asked of the simulator itself, so that what a viewer got can be compared.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokencast::cli::simulate::{self, Simulator};
use tokencast::crypto;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Fault;
use crate::http::Connection;
use crate::tap::MARK;

/// A simulated provider in this process.
#[derive(Debug)]
pub(crate) struct Provider {
    pub(crate) addr: SocketAddr,
    _task: JoinSet<()>,
}

/// What one answer must look like at every viewer.
#[derive(Debug)]
pub(crate) struct Expected {
    pub(crate) body: Vec<u8>,
    pub(crate) text: String,
    pub(crate) blocks: u64,
    pub(crate) hash: String,
}

impl Provider {
    pub(crate) async fn start() -> Result<Self, Fault> {
        let options = simulate::Options {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            rate: 0.0,
            ..simulate::Options::default()
        };
        let simulator = Simulator::bind(options).await?;
        let (addr, mut task) = (simulator.addr(), JoinSet::new());
        task.spawn(simulator.run(CancellationToken::new()));
        Ok(Self { addr, _task: task })
    }

    /// The whole answer to a request, as fast as it comes.
    pub(crate) async fn expect(&self, number: usize, simulate: &Value) -> Result<Expected, Fault> {
        let mut fast = simulate.clone();
        fast["rate"] = json!(0);
        let mut connection = Connection::open(self.addr).await?;
        let request = request(number, &fast);
        let (status, body) = connection.ask("POST", "/v1/chat/completions", "", &request).await?;
        if status != 200 {
            return Err(format!("the provider answers {status}: {}", String::from_utf8_lossy(&body)).into());
        }
        let mut expected = Expected {
            hash: crypto::hex(&crypto::sha256(&body)),
            text: String::new(),
            blocks: 0,
            body: Vec::new(),
        };
        for block in std::str::from_utf8(&body)?.split_terminator("\n\n") {
            expected.blocks += 1;
            let Some(Ok(chunk)) = block.strip_prefix("data: ").map(serde_json::from_str::<Value>) else {
                continue;
            };
            if let Some(text) = chunk["choices"][0]["delta"]["content"].as_str() {
                expected.text.push_str(text);
            }
        }
        expected.body = body;
        Ok(expected)
    }
}

/// A request that goes through the gateway as it is: it asks for streaming and usage by itself, so that the provider
/// gets and says the same bytes either way.
pub(crate) fn request(number: usize, simulate: &Value) -> String {
    format!(
        r#"{{"model":"load","stream":true,"stream_options":{{"include_usage":true}},"messages":[{{"role":"user","content":"Say something long."}}],{MARK}{number}","simulate":{simulate}}}"#
    )
}
