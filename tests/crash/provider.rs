//! The simulated provider inside of the test, which outlives every gateway, and what is asked of it.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tokencast::cli::simulate::{Options, RequestLog, Simulator};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A provider that serves for as long as the value lives.
#[derive(Debug)]
pub(crate) struct Provider {
    pub(crate) url: String,
    pub(crate) log: Arc<RequestLog>,
    _task: JoinSet<()>,
}

impl Provider {
    pub(crate) async fn start() -> Self {
        let listen = ([127, 0, 0, 1], 0).into();
        let simulator = Simulator::bind(Options { listen, ..Options::default() }).await.unwrap();
        let (url, log) = (simulator.base_url(), simulator.log());
        let mut task = JoinSet::new();
        task.spawn(simulator.run(CancellationToken::new()));
        Self { url, log, _task: task }
    }

    /// How often each marked request arrived, among the last ones.
    pub(crate) fn calls(&self) -> HashMap<String, Vec<u64>> {
        let mut calls: HashMap<String, Vec<u64>> = HashMap::new();
        for record in self.log.records() {
            let body: Value = serde_json::from_slice(&record.body).unwrap_or_default();
            if let Some(marker) = body["user"].as_str() {
                calls.entry(marker.to_owned()).or_default().push(record.number);
            }
        }
        calls
    }
}

/// A request that the provider can be recognised by later: `more` is merged into it.
pub(crate) fn request(marker: &str, more: &str) -> Value {
    let mut request = json!({
        "model": "any",
        "messages": [{ "role": "user", "content": marker }],
        "user": marker,
    });
    let more: Value = serde_json::from_str(more).expect("settings are JSON");
    for (name, value) in more.as_object().expect("settings are an object") {
        request[name] = value.clone();
    }
    request
}
