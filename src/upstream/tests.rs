//! What a panic in one stream does to others.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::provider::Registry;
use super::{Config, Limits, client};
use crate::cast::Cast;
use crate::cast::end::Why;
use crate::cast::hub::order::{Ask, Order};
use crate::cast::hub::{Hub, Settings};
use crate::dialect::planted;
use crate::journal::memory::Memory;
use crate::tasks::Tasks;
use crate::telemetry;

const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\ndata: {}\n\ndata: [DONE]\n\n";

async fn start(hub: &Hub, path: Option<&str>) -> Cast {
    let order = Order {
        tenant: "tenant".into(),
        ask: Ask {
            provider: Some("p".into()),
            path: path.map(str::to_owned),
            request: serde_json::value::RawValue::from_string("{}".into()).unwrap(),
            ask_usage: false,
            passed: Vec::new(),
            dialect: None,
            query: None,
            wants_head: false,
        },
        fingerprint: [0; 32],
        id: None,
        key: None,
        metadata: None,
        ttl: None,
        cancel_after: None,
        is_watched: false,
    };
    hub.start(order).await.unwrap().cast
}

#[tokio::test]
async fn a_dialect_that_panics_ends_its_stream_and_no_other() {
    let metrics = telemetry::install();
    let (tasks, provider) = (Tasks::default(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let config = serde_json::json!([{
        "name": "p",
        "dialect": "openai",
        "base_url": format!("http://{}", provider.local_addr().unwrap()),
        "paths": [planted::PATH],
    }]);
    let limits = Limits { config: Config::default(), stream_bytes_max: 1 << 20 };
    let providers: Vec<_> = serde_json::from_value(config).unwrap();
    let client = client(&limits.config, |builder| builder);
    let registry = Registry::new(&providers, |_| None, client, limits, Default::default(), tasks.clone());
    let hub = Hub::new(Settings::default(), Arc::new(Memory), Arc::new(registry), tasks.clone());
    let serving = Tasks::default();
    serving.spawn(async move {
        while let Ok((mut stream, _)) = provider.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(ANSWER.as_bytes()).await;
        }
    });
    let (planted, other) = tokio::join!(start(&hub, Some(planted::PATH)), start(&hub, None));
    for (cast, why) in [(&planted, Why::Internal), (&other, Why::Completed)] {
        cast.watch().closed().await;
        assert_eq!(cast.end().unwrap().why, why, "{:?}", cast.end());
    }
    assert_eq!((hub.budget().running(), hub.account(&"tenant".into()).running()), (0, 0));
    tasks.wait().await;
    assert!(metrics.render().contains("tokencast_panics_total{where=\"upstream\"} 1"));
}
