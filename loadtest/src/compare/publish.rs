//! Publishes a script to a server that has no provider's side: each token at its time, whether or not the one before it
//! was taken in time. A token that had to wait says so by its due time.

use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::peer::{Peer, Publish};
use crate::Fault;
use crate::clock::{now_ns, until};
use crate::http::Connection;
use crate::script::Script;
use crate::token::Token;

/// Streams share so many connections.
const CONNECTIONS_MAX: usize = 8;

enum Way {
    Post(Connection),
    Redis(BufReader<TcpStream>),
}

/// One task per connection, each to its last token.
pub(crate) fn publish(
    peer: Peer,
    to: Publish,
    scripts: &[Script],
    begin_ns: u64,
) -> JoinSet<Result<(), Fault>> {
    let mut publishing = JoinSet::new();
    let connections = scripts.len().min(CONNECTIONS_MAX);
    for number in 0..connections {
        let scripts: Vec<Script> = scripts.iter().skip(number).step_by(connections).copied().collect();
        publishing.spawn(async move { some(peer, to, &scripts, begin_ns).await });
    }
    publishing
}

async fn some(peer: Peer, to: Publish, scripts: &[Script], begin_ns: u64) -> Result<(), Fault> {
    let mut plan: Vec<(u64, Script, u64)> = scripts
        .iter()
        .flat_map(|script| {
            (0..script.tokens).map(|number| (script.due(number).as_nanos() as u64, *script, number))
        })
        .collect();
    plan.sort_by_key(|(due, ..)| *due);
    let mut way = match to {
        Publish::Post(addr) => Way::Post(Connection::open(addr).await?),
        Publish::Redis(addr) => Way::Redis(redis(addr).await?),
    };
    for (due, script, number) in plan {
        let due_ns = begin_ns + due;
        until(due_ns).await;
        let late_us = u32::try_from(now_ns().saturating_sub(due_ns) / 1000).unwrap_or(u32::MAX);
        let mut said = Vec::new();
        Token { stream: script.stream, number, due_ns, late_us }.write(script.token_bytes, &mut said);
        way.say(peer, script.stream, &String::from_utf8(said)?).await?;
    }
    Ok(())
}

async fn redis(addr: SocketAddr) -> Result<BufReader<TcpStream>, Fault> {
    let socket = TcpStream::connect(addr).await?;
    socket.set_nodelay(true)?;
    Ok(BufReader::new(socket))
}

impl Way {
    async fn say(&mut self, peer: Peer, stream: u32, text: &str) -> Result<(), Fault> {
        match self {
            Self::Post(connection) => {
                let path = peer.publish_path(stream);
                let (status, said) =
                    connection.ask("POST", &path, "content-type: text/plain\r\n", text).await?;
                if !(200..300).contains(&status) {
                    return Err(format!("POST {path}: {status} {}", String::from_utf8_lossy(&said)).into());
                }
            }
            Self::Redis(redis) => {
                let channel = format!("s{stream}");
                let command = format!(
                    "*3\r\n$7\r\nPUBLISH\r\n${}\r\n{channel}\r\n${}\r\n{text}\r\n",
                    channel.len(),
                    text.len()
                );
                redis.write_all(command.as_bytes()).await?;
                let mut answer = String::new();
                redis.read_line(&mut answer).await?;
                if !answer.starts_with(':') {
                    return Err(format!("PUBLISH: {answer}").into());
                }
            }
        }
        Ok(())
    }
}
