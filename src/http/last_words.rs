//! Refusals of what never became a request: the connection is told why, in one answer, and closed.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::error::{self, Error};
use super::gate::EVERYWHERE;
use crate::crypto;

/// How long the client may take to hear it.
const WITHIN: Duration = Duration::from_secs(1);
/// What it may still say meanwhile: a socket that is closed over unread bytes takes the answer with it.
const UNHEARD_MAX: usize = 256 * 1024;

/// The whole answer.
pub(super) fn of(refusal: &Error) -> Vec<u8> {
    let Error { status, .. } = refusal;
    let body = error::body(refusal).to_string();
    let retry = error::retry_after_s(refusal).map(|seconds| format!("retry-after: {seconds}\r\n"));
    let retry = retry.unwrap_or_default();
    let everywhere = EVERYWHERE.map(|(name, value)| format!("{name}: {value}\r\n")).concat();
    let (id, len) = (crypto::hex(&crypto::random::<8>()), body.len());
    let reason = status.canonical_reason().unwrap_or_default();
    format!(
        "HTTP/1.1 {} {reason}\r\ncontent-type: application/json\r\ncache-control: no-store\r\n{retry}\
         tokencast-request-id: {id}\r\n{everywhere}connection: close\r\ncontent-length: {len}\r\n\r\n{body}",
        status.as_str()
    )
    .into_bytes()
}

/// The same for a peer that speaks HTTP/2 and says too much: GOAWAY, with the error as its data.
pub(super) fn go_away(refusal: &Error) -> Vec<u8> {
    const GOAWAY: u8 = 7;
    const ENHANCE_YOUR_CALM: u32 = 0xb;
    const LAST_STREAM: u32 = 0x7fff_ffff;
    let body = error::body(refusal).to_string();
    let len = u32::try_from(8 + body.len()).unwrap_or(u32::MAX).to_be_bytes();
    let head = [len[1], len[2], len[3], GOAWAY, 0, 0, 0, 0, 0];
    [&head[..], &LAST_STREAM.to_be_bytes(), &ENHANCE_YOUR_CALM.to_be_bytes(), body.as_bytes()].concat()
}

/// Says it, and hears out what was on its way.
pub(super) async fn say<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, refusal: &Error) {
    let _ = timeout(WITHIN, async {
        stream.write_all(&of(refusal)).await?;
        stream.shutdown().await?;
        let (mut unheard, mut buffer) = (0, [0; 1024]);
        while unheard < UNHEARD_MAX {
            match stream.read(&mut buffer).await? {
                0 => break,
                len => unheard += len,
            }
        }
        std::io::Result::Ok(())
    })
    .await;
}
