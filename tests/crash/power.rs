//! Power losses, from a trace of what a gateway wrote and synced: every prefix of it, with whatever was not synced there,
//! not there, or torn, has to open, and to have what viewers had seen by then.

use std::collections::HashMap;
use std::path::Path;

use fastrand::Rng;
use serde_json::json;
use tokencast::cast::durable::{Content, State};
use tokencast::journal::Durability;
use tokencast::journal::sqlite::Sqlite;
use tokio::task::JoinSet;

use crate::gateway::{Directory, Gateway};
use crate::provider::{Provider, request};
use crate::shim::{Step, after_power_loss, steps};

const STREAMS: usize = 12;
const LOSSES: usize = 300;
const KIND: &str = r#"{"simulate": {"rate": 300, "tokens": 120}}"#;

/// So much of a stream had been seen when the trace was so long.
struct Seen {
    trace: usize,
    stream: String,
    bytes: usize,
}

/// A run of a gateway: its trace, what was seen when, and what the streams said in the end.
async fn run() -> (Vec<u8>, Vec<Seen>, HashMap<String, Vec<u8>>) {
    let provider = Provider::start().await;
    let mut gateway = Gateway::new(&provider.url, "").on_a_disk();
    gateway.start().await;
    let mut viewers = JoinSet::new();
    for number in 0..STREAMS {
        let (client, trace) = (gateway.client(), gateway.trace());
        viewers.spawn(async move {
            let id = format!("s{number}");
            let length = || std::fs::metadata(&trace).unwrap().len() as usize;
            let order = json!({ "id": id, "request": request(&id, KIND) });
            client.start(&order, None).await.unwrap().want(201);
            let mut seen = vec![Seen { trace: length(), stream: id.clone(), bytes: 0 }];
            let mut response =
                client.request(reqwest::Method::GET, &format!("/v1/streams/{id}/raw")).send().await.unwrap();
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await.unwrap() {
                body.extend_from_slice(&chunk);
                seen.push(Seen { trace: length(), stream: id.clone(), bytes: body.len() });
            }
            (id, seen, body)
        });
    }
    let (mut seen, mut bodies) = (Vec::new(), HashMap::new());
    for (id, some, body) in viewers.join_all().await {
        seen.extend(some);
        bodies.insert(id, body);
    }
    // What comes behind the ends: sealing, and a checkpoint when it closes.
    gateway.terminate().await;
    (std::fs::read(gateway.trace()).unwrap(), seen, bodies)
}

/// What of each stream is there after a power loss; an error says what was not right.
async fn recovered(files: &HashMap<String, Vec<u8>>) -> Result<HashMap<String, Vec<u8>>, String> {
    let directory = Directory::new();
    for (name, bytes) in files.iter().filter(|(name, _)| !name.ends_with("-shm")) {
        std::fs::write(directory.0.join(name), bytes).unwrap();
    }
    let path = directory.0.join("tokencast.db");
    let opened = Sqlite::open(Path::new(&path), Durability::Process).map_err(|error| error.to_string())?;
    let mut streams = HashMap::new();
    for known in &opened.known {
        let State::Ended(ended) = &known.state else { return Err("something is gone".into()) };
        let mut bytes = Vec::new();
        let content = opened.journal.content(known.about.number).await.map_err(|error| error.0)?;
        let Content::Pieces(marks) = content else { return Err("it is not in pieces".into()) };
        for mark in marks {
            let frames =
                opened.journal.piece(known.about.number, mark.first).await.map_err(|error| error.0)?;
            let shown = frames.into_iter().filter(|frame| frame.last() <= ended.end.blocks);
            shown.for_each(|frame| bytes.extend_from_slice(&frame.bytes));
        }
        if tokencast::crypto::hex(&tokencast::crypto::sha256(&bytes)) != ended.end.hash {
            return Err(format!("{}: the hash is another one", known.about.id));
        }
        streams.insert(known.about.id.to_string(), bytes);
    }
    Ok(streams)
}

/// What one loss has taken of what was seen.
async fn lost(
    steps: &[Step],
    seen: &[Seen],
    bodies: &HashMap<String, Vec<u8>>,
    rng: &mut Rng,
    syncs: bool,
) -> Result<(), String> {
    let end = steps.last().map_or(0, |step| step.end);
    let there = recovered(&after_power_loss(steps, rng, syncs)).await?;
    for Seen { stream, bytes, .. } in seen.iter().filter(|seen| seen.trace <= end) {
        let body = there.get(stream).ok_or_else(|| format!("{stream} was answered, and is not there"))?;
        if body.len() < *bytes || !bodies[stream].starts_with(body) {
            return Err(format!("{stream}: {bytes} bytes were seen, and {} are there", body.len()));
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_seen_is_there_after_a_power_loss() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = Rng::with_seed(seed);
    let (trace, seen, bodies) = run().await;
    let steps = steps(&trace);
    // Not before the tables are there: a gateway that died while it made them starts again from nothing.
    let first = seen.iter().map(|seen| seen.trace).min().unwrap();
    let begin = steps.iter().position(|step| step.end >= first).unwrap();
    let mut without_syncs = 0;
    for loss in 0..LOSSES {
        let upto = rng.usize(begin..=steps.len());
        let result = lost(&steps[..upto], &seen, &bodies, &mut rng, true).await;
        assert_eq!(result, Ok(()), "seed {seed}, loss {loss}, behind step {upto} of {}", steps.len());
        if loss % 4 == 0 {
            without_syncs +=
                usize::from(lost(&steps[..upto], &seen, &bodies, &mut rng, false).await.is_err());
        }
    }
    assert!(without_syncs > LOSSES / 8, "this proves nothing: without syncs {without_syncs} were lost");
}
