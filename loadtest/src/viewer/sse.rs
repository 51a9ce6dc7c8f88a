//! One connection over SSE.

use serde::Deserialize;

use super::check::{Delta, End, Event, Open};
use super::{Viewing, Wrong};
use crate::clock::now_ns;
use crate::http::{Connection, Progress};
use crate::sse;

/// Up to the end of the stream, or the cut.
pub(super) async fn connection(viewing: &mut Viewing<'_>) -> Result<(), Wrong> {
    let job = viewing.crowd.job();
    let mut connection = {
        let _permit = viewing.crowd.may_open().await;
        let mut connection =
            Connection::open_from(viewing.seat.source, job.addr).await.map_err(Wrong::Unopened)?;
        connection.budget = viewing.budget();
        let mut headers = job.headers.clone();
        if viewing.checker.cursor() > 0 {
            headers += &format!("last-event-id: {}\r\n", viewing.checker.cursor());
        }
        connection.send("GET", &format!("{}/events", viewing.target()), &headers, "").await?;
        connection
    };
    let Some(head) = connection.head().await? else { return Ok(()) };
    match head.status {
        200 => {}
        // A gateway that has just come back may not be ready.
        503 if job.interruptible => return Ok(()),
        status => {
            let body = connection.rest().await.unwrap_or_default();
            return Err(format!("answered {status}: {}", String::from_utf8_lossy(&body)).into());
        }
    }
    let _connected = viewing.crowd.connected(&viewing.seat);
    let mut bytes = Vec::new();
    loop {
        let before = bytes.len();
        let progress = connection.body(&mut bytes).await?;
        let now = now_ns();
        viewing.crowd.count(|counts| counts.tally.bytes += (bytes.len() - before) as u64);
        let mut taken = 0;
        while let Some((block, len)) = sse::block(&bytes[taken..]) {
            if let Some(block) = sse::event(block)? {
                viewing.hear(&event(block)?, now)?;
            }
            taken += len;
        }
        bytes.drain(..taken);
        match progress {
            Progress::More => {}
            Progress::Cut => return Ok(()),
            Progress::Over if viewing.checker.end().is_some() && bytes.is_empty() => return Ok(()),
            Progress::Over => return Err("the body ended before the stream".to_owned().into()),
        }
    }
}

fn event(block: sse::Event<'_>) -> Result<Event<'_>, String> {
    let sse::Event { name, id, data } = block;
    match name {
        "open" => Ok(Event::Open { id: Some(id.ok_or("open has no id")?), open: read::<Open>(data)? }),
        "end" => Ok(Event::End { id, end: read::<End>(data)? }),
        "bye" => Err(format!("bye: {data}")),
        name => Ok(Event::Delta { name, id, delta: read::<Delta<'_>>(data)? }),
    }
}

fn read<'a, T: Deserialize<'a>>(data: &'a str) -> Result<T, String> {
    serde_json::from_str(data).map_err(|error| format!("{error}: {data}"))
}
