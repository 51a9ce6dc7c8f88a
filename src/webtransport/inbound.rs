//! What comes from the client: one control stream, and everything that it should not send. A task of its own, so that
//! the session is woken by messages alone.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use bytes::BytesMut;
use tokio::sync::mpsc;
use wtransport::error::ConnectionError;
use wtransport::{Connection, RecvStream, SendStream};

use super::codes::Code;
use super::control::{self, BadMessage, MESSAGE_BYTES_MAX, Request};
use crate::telemetry::{self, Listener};

/// Messages that wait for the session; the client waits beyond it.
const HEARD_MAX: usize = 16;
/// Why another stream is refused.
const UNEXPECTED: &str = "unexpected_stream";

/// One thing that the client did.
#[derive(Debug)]
pub(super) enum Heard {
    /// It opened the control stream; this is how to answer.
    Control(SendStream),
    Message(Request),
    Bad(BadMessage),
}

/// Gives what the client does, until the session is closed by either side.
pub(super) fn listen(
    connection: Connection,
) -> (impl Future<Output = ConnectionError>, mpsc::Receiver<Heard>) {
    let (heard, inbox) = mpsc::channel(HEARD_MAX);
    (run(connection, heard), inbox)
}

async fn run(connection: Connection, heard: mpsc::Sender<Heard>) -> ConnectionError {
    let mut control: Option<RecvStream> = None;
    let mut has_control = false;
    let mut arrived = BytesMut::new();
    loop {
        tokio::select! {
            stream = connection.accept_bi() => match stream {
                Ok((send, receive)) if !has_control => {
                    has_control = true;
                    control = Some(receive);
                    let _ = heard.send(Heard::Control(send)).await;
                }
                Ok((mut send, receive)) => {
                    telemetry::refused(Listener::WebTransport, UNEXPECTED);
                    let _ = send.reset(Code::UnexpectedStream.wire());
                    receive.stop(Code::UnexpectedStream.wire());
                }
                // The reason of the close stands here, and not in what `closed` gives.
                Err(error) => return error,
            },
            stream = connection.accept_uni() => match stream {
                Ok(stream) => {
                    telemetry::refused(Listener::WebTransport, UNEXPECTED);
                    stream.stop(Code::UnexpectedStream.wire());
                }
                Err(error) => return error,
            },
            // They may come, and mean nothing.
            datagram = connection.receive_datagram() => if let Err(error) = datagram {
                return error;
            },
            is_open = read(&mut control, &mut arrived) => {
                while let Some(message) = control::take(&mut arrived) {
                    let (message, is_last) = match message {
                        Ok(message) => (Heard::Message(message), false),
                        Err(bad @ BadMessage::Unknown(_)) => (Heard::Bad(bad), false),
                        Err(bad) => (Heard::Bad(bad), true),
                    };
                    let _ = heard.send(message).await;
                    if is_last {
                        // Where the next message begins is not known any more.
                        stop(&mut control);
                        break;
                    }
                }
                if !is_open && control.take().is_some() && !arrived.is_empty() {
                    let _ = heard.send(Heard::Bad(BadMessage::Cut)).await;
                }
            }
        }
    }
}

/// Reads some of the control stream; gives whether there can be more.
async fn read(control: &mut Option<RecvStream>, arrived: &mut BytesMut) -> bool {
    let Some(stream) = control else { return std::future::pending().await };
    match stream.quic_stream_mut().read_chunk(MESSAGE_BYTES_MAX, true).await {
        Ok(Some(chunk)) => {
            arrived.extend_from_slice(&chunk.bytes);
            true
        }
        Ok(None) | Err(_) => false,
    }
}

fn stop(control: &mut Option<RecvStream>) {
    if let Some(stream) = control.take() {
        stream.stop(Code::Protocol.wire());
    }
}
