//! `tokencast demo`: gateway, simulated provider and an app that starts streams, in one process.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::simulate::{self, Simulator};
use super::{USAGE, fail, say, told_to_stop};
use crate::config::Sources;
use crate::logging;
use crate::server::Server;
use crate::tasks::Tasks;

/// Between two streams of the demo, and after a start that failed.
const PAUSE: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Address of the public listener
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Address of the operations listener
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9464")]
    ops_listen: SocketAddr,
    /// Address (UDP) of the WebTransport listener
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4433")]
    webtransport_listen: SocketAddr,
    /// Address of the simulated provider
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9199")]
    provider_listen: SocketAddr,
}

pub(super) async fn run(options: Options) -> ExitCode {
    let simulator = simulate::Options { listen: options.provider_listen, ..simulate::Options::default() };
    let simulator = match Simulator::bind(simulator).await {
        Ok(simulator) => simulator,
        Err(error) => return fail(1, format_args!("--provider-listen {}: {error}", options.provider_listen)),
    };
    let sources = Sources {
        flags: vec![
            ("http.listen", options.listen.to_string().into()),
            ("ops.listen", options.ops_listen.to_string().into()),
            ("webtransport.listen", options.webtransport_listen.to_string().into()),
            ("log.level", "warn".into()),
            ("journal.mode", "memory".into()),
            // Nothing is left where the demo was started; a page that was open survives its restart.
            ("journal.path", std::env::temp_dir().join("tokencast-demo/none").display().to_string().into()),
        ],
        providers: vec![format!("demo={}", simulator.base_url())],
        ..Sources::default()
    };
    let config = match sources.load() {
        Ok(config) => config,
        Err(problems) => return fail(USAGE, problems),
    };
    if let Err(problem) = logging::init(&config.log) {
        return fail(USAGE, problem);
    }
    let provider = simulator.addr();
    let server = match Server::start(&config, |_| None) {
        Ok(server) => server,
        Err(error) => return fail(1, error),
    };
    let (tasks, stop) = (Tasks::default(), CancellationToken::new());
    tasks.spawn(simulator.run(stop.clone()));
    let base = format!("http://{}", server.http());
    introduce(&base, server.ops(), provider);
    tasks.spawn(stop.clone().run_until_cancelled_owned(keep_talking(base)));

    let stopping = async {
        told_to_stop().await;
        // Nothing in a demo is worth a grace.
        stop.cancel();
    };
    server.run(stopping, std::future::ready(())).await;
    tasks.wait().await;
    ExitCode::SUCCESS
}

fn introduce(base: &str, ops: SocketAddr, provider: SocketAddr) {
    say(format_args!(
        "\
tokencast demo: gateway {base}, metrics http://{ops}/metrics, simulated provider http://{provider}/v1

  Open {base}/ in a browser.

Start a stream of your own (any model will do):
  curl --json '{{\"request\":{{\"model\":\"any\",\"messages\":[{{\"role\":\"user\",\"content\":\"hello\"}}]}},\"id\":\"mine\"}}' {base}/v1/streams

Watch it, from as many terminals as you like, as often as you like, from any position:
  tokencast watch {base}/v1/streams/mine
  curl -N {base}/v1/streams/mine/text
  curl -N '{base}/v1/streams/mine/events?after=0'
  curl {base}/v1/streams/mine

Stop it for everybody:
  curl -X DELETE {base}/v1/streams/mine

There is always one to see meanwhile:"
    ));
}

/// Starts one stream after the other, each when the one before has ended.
async fn keep_talking(base: String) {
    let client = super::client();
    for number in 1_u64.. {
        let request = json!({
            "model": "demo",
            "messages": [{ "role": "user", "content": "Say something long." }],
            "simulate": { "seed": number, "tokens": 600, "reasoning": if number % 2 == 0 { 80 } else { 0 } },
        });
        let envelope = json!({ "id": format!("demo-{number}"), "request": request, "ttl_s": 300 });
        let started = client.post(format!("{base}/v1/streams")).json(&envelope).send().await;
        if started.is_ok_and(|response| response.status().is_success()) {
            let url = format!("{base}/v1/streams/demo-{number}");
            say(format_args!("  curl -N {url}/text"));
            // The answer to this comes with the end of the stream.
            if let Ok(text) = client.get(format!("{url}/text")).send().await {
                let _ = text.bytes().await;
            }
        }
        sleep(PAUSE).await;
    }
}
