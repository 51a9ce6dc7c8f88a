//! One connection to a server of another kind: whatever is in its body, tokens are told by their mark. A gap is a loss,
//! which is counted by what is missing at the end; anything out of order is a violation.

use super::{Viewing, Wrong};
use crate::clock::now_ns;
use crate::http::{Connection, Progress};
use crate::token;

pub(super) async fn connection(viewing: &mut Viewing<'_>) -> Result<(), Wrong> {
    let job = viewing.crowd.job();
    let script = *viewing.script();
    let mut connection = {
        let _permit = viewing.crowd.may_open().await;
        let mut connection = Connection::open_from(viewing.seat.source, job.addr).await?;
        connection.send("GET", viewing.target(), "accept: text/event-stream\r\n", "").await?;
        connection
    };
    let head = connection.head().await?;
    if let Some(head) = head.filter(|head| head.status != 200) {
        return Err(format!("answered {}", head.status).into());
    }
    let _connected = viewing.crowd.connected(&viewing.seat);
    let (mut bytes, mut next) = (Vec::new(), 0);
    while next < script.tokens {
        let before = bytes.len();
        let progress = connection.body(&mut bytes).await?;
        let now = now_ns();
        viewing.crowd.count(|counts| counts.tally.bytes += (bytes.len() - before) as u64);
        let mut taken = 0;
        while let Some((token, len)) = token::next(&bytes[taken..], script.token_bytes)? {
            if token.stream != script.stream || token.number < next {
                return Err(format!(
                    "token {} of stream {} comes where {next} is next",
                    token.number, token.stream
                )
                .into());
            }
            next = token.number + 1;
            viewing.token(token, now);
            taken += len;
        }
        bytes.drain(..taken);
        if progress == Progress::Over && next < script.tokens {
            return Err("the body ended before the stream".to_owned().into());
        }
    }
    Ok(())
}
