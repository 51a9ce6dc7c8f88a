//! What any process between a client and a provider adds to the first token: a server that hands on bytes, and knows
//! nothing else. As the gateway does, it opens a connection to the provider for every request.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use clap::Args;

use crate::{Fault, http};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Where the provider is
    #[arg(long)]
    provider: SocketAddr,
}

#[expect(clippy::print_stdout, reason = "whoever starts it reads where it is")]
pub(crate) fn run(options: &Options) -> Result<(), Fault> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    println!("{}", listener.local_addr()?);
    let provider = options.provider;
    for client in listener.incoming() {
        let client = client?;
        // Whoever hangs up has heard enough.
        thread::spawn(move || drop(relay(client, provider)));
    }
    Ok(())
}

fn relay(mut client: TcpStream, provider: SocketAddr) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut bytes = [0; 8192];
    loop {
        let mut request = Vec::new();
        while http::request_len(&request).is_none_or(|len| request.len() < len) {
            match client.read(&mut bytes)? {
                0 => return Ok(()),
                read => request.extend_from_slice(&bytes[..read]),
            }
        }
        let mut answer = TcpStream::connect(provider)?;
        answer.set_nodelay(true)?;
        answer.write_all(&request)?;
        let mut tail = Vec::new();
        // The provider goes on listening: where its answer ends is said in the answer.
        while !tail.ends_with(b"\r\n0\r\n\r\n") {
            let read = answer.read(&mut bytes)?;
            client.write_all(&bytes[..read])?;
            tail.extend_from_slice(&bytes[..read]);
            tail.drain(..tail.len().saturating_sub(16));
            if read == 0 {
                return Ok(());
            }
        }
    }
}
