//! The floor: a loop of `send()`. Each event is encoded once and written once to each viewer; there is nothing else that
//! a server could leave out.

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::{Fault, http};

const HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
const TAKEN: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

type Viewers = Arc<Mutex<Vec<TcpStream>>>;
type Rooms = Arc<Mutex<HashMap<String, Viewers>>>;

#[expect(clippy::print_stdout, reason = "whoever starts it reads where it is")]
pub(crate) fn run() -> Result<(), Fault> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    println!("{}", listener.local_addr()?);
    let rooms = Rooms::default();
    for socket in listener.incoming() {
        let mut caller = Caller { socket: socket?, arrived: Vec::new() };
        caller.socket.set_nodelay(true)?;
        // Whoever hangs up before it has asked was nobody.
        let Ok(Some(request)) = caller.request() else { continue };
        if request.starts_with(b"POST") {
            let rooms = rooms.clone();
            thread::spawn(move || caller.publish(request, &rooms));
        } else {
            caller.socket.write_all(HEAD)?;
            locked(&room(&rooms, &request)).push(caller.socket);
        }
    }
    Ok(())
}

struct Caller {
    socket: TcpStream,
    arrived: Vec<u8>,
}

impl Caller {
    /// The next whole request; none at the end of the connection.
    fn request(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut chunk = [0; 8192];
        loop {
            if let Some(len) = http::request_len(&self.arrived).filter(|len| self.arrived.len() >= *len) {
                return Ok(Some(self.arrived.drain(..len).collect()));
            }
            match self.socket.read(&mut chunk)? {
                0 => return Ok(None),
                read => self.arrived.extend_from_slice(&chunk[..read]),
            }
        }
    }

    /// The loop itself.
    fn publish(mut self, first: Vec<u8>, rooms: &Rooms) -> io::Result<()> {
        let mut next = Some(first);
        while let Some(request) = next {
            let body = memchr::memmem::find(&request, b"\r\n\r\n").map_or(request.len(), |at| at + 4);
            let event = event(&request[body..]);
            let room = room(rooms, &request);
            locked(&room).retain_mut(|viewer| viewer.write_all(&event).is_ok());
            self.socket.write_all(TAKEN)?;
            next = self.request()?;
        }
        Ok(())
    }
}

/// Those of the room that the last part of the path names.
fn room(rooms: &Rooms, request: &[u8]) -> Viewers {
    let path = request.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    locked(rooms).entry(String::from_utf8_lossy(name).into_owned()).or_default().clone()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As one chunk.
fn event(data: &[u8]) -> Vec<u8> {
    let mut event = format!("{:x}\r\ndata: ", data.len() + 8).into_bytes();
    event.extend_from_slice(data);
    event.extend_from_slice(b"\n\n\r\n");
    event
}
