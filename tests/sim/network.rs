//! The connections of the world. A pair of sockets of the kernel stands for each: what one end writes is at the other
//! end at once, whatever the clock says. The gateway's end looks to it like any TCP stream.

use std::io;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as Pair;
use std::sync::{Arc, Mutex};

use socket2::SockRef;
use tokio::net::UnixStream;

/// All of it; clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Network(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    is_up: bool,
    dialled: Vec<TcpStream>,
    /// Something that anybody did.
    moves: u64,
}

impl Network {
    /// Whether anybody listens from now on. Who has called and was not heard is forgotten.
    pub(crate) fn is_up(&self, is_up: bool) {
        let mut state = self.0.lock().unwrap();
        state.is_up = is_up;
        state.dialled.clear();
    }

    /// Calls the gateway, which can have so many bytes on the way.
    pub(crate) fn dial(&self, buffer_bytes: usize) -> io::Result<UnixStream> {
        let mut state = self.0.lock().unwrap();
        state.moves += 1;
        if !state.is_up {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (near, far) = Pair::pair()?;
        near.set_nonblocking(true)?;
        far.set_nonblocking(true)?;
        SockRef::from(&far).set_send_buffer_size(buffer_bytes)?;
        state.dialled.push(TcpStream::from(OwnedFd::from(far)));
        UnixStream::from_std(near)
    }

    /// Those who have called since.
    pub(crate) fn arrivals(&self) -> Vec<TcpStream> {
        std::mem::take(&mut self.0.lock().unwrap().dialled)
    }

    pub(crate) fn moved(&self) {
        self.0.lock().unwrap().moves += 1;
    }

    /// Changes whenever something moves.
    pub(crate) fn moves(&self) -> u64 {
        self.0.lock().unwrap().moves
    }
}
