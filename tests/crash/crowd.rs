//! Viewers by the thousand: a socket, a cursor, and what it takes to notice a gap. A whole HTTP client each would be
//! more than the gateway under test.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::gateway::{KEY, LOOK, PATIENCE};

/// Connections that are being made at the same time.
const AT_ONCE: usize = 256;
/// Read at once.
const READ_BYTES: usize = 4096;

/// One of a crowd.
#[derive(Debug)]
pub(crate) struct Fan {
    id: String,
    pub(crate) cursor: u64,
    pub(crate) has_ended: bool,
    stream: Option<TcpStream>,
    text: Vec<u8>,
    /// Between events.
    pub(crate) gaps: Vec<Duration>,
    last: Option<Instant>,
}

impl Fan {
    pub(crate) fn new(id: &str) -> Self {
        let (cursor, has_ended, stream, text) = (0, false, None, Vec::new());
        Self { id: id.to_owned(), cursor, has_ended, stream, text, gaps: Vec::new(), last: None }
    }

    /// Asks for events behind the cursor, until somebody listens.
    pub(crate) async fn connect(&mut self, addr: SocketAddr) {
        let begun = Instant::now();
        let request = request(&self.id, self.cursor, addr);
        self.text.clear();
        loop {
            if let Ok(mut stream) = TcpStream::connect(addr).await
                && stream.write_all(request.as_bytes()).await.is_ok()
            {
                self.stream = Some(stream);
                return;
            }
            assert!(begun.elapsed() < PATIENCE * 4, "nobody listens");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Reads once. Gives whether there may be more.
    pub(crate) async fn read(&mut self) -> bool {
        let Some(stream) = &mut self.stream else { return false };
        self.text.reserve(READ_BYTES);
        match stream.read_buf(&mut self.text).await {
            Ok(len) if len > 0 => {}
            _ => {
                self.stream = None;
                return false;
            }
        }
        while let Some(at) = self.text.windows(2).position(|pair| pair == b"\n\n") {
            let rest = self.text.split_off(at + 2);
            let block = std::mem::replace(&mut self.text, rest);
            self.hear(&String::from_utf8_lossy(&block));
        }
        !self.has_ended
    }

    /// Reads until the connection is over.
    pub(crate) async fn read_on(&mut self) {
        while self.read().await {}
    }

    fn hear(&mut self, block: &str) {
        let id = block.lines().find_map(|line| line.strip_prefix("id: "));
        let Some(id) = id.map(|id| id.parse::<u64>().unwrap()) else { return };
        if block.contains("event: open") {
            assert_eq!(id, self.cursor, "{}: it begins elsewhere", self.id);
            return;
        }
        let digits = |rest: &str| rest.chars().take_while(char::is_ascii_digit).collect::<String>();
        if let Some(from) = block.split_once("\"from\":").map(|(_, rest)| digits(rest)) {
            let from: u64 = from.parse().unwrap();
            assert_eq!(from, self.cursor + 1, "{}: a gap before {block}", self.id);
        }
        self.cursor = id;
        self.has_ended = block.contains("event: end");
        let now = Instant::now();
        self.gaps.extend(self.last.replace(now).map(|last| now - last));
    }
}

/// One who listens beside everything else that happens, on a thread of its own: whoever brings a crowd is busy.
#[derive(Debug)]
pub(crate) struct Witness {
    gaps: Arc<Mutex<Vec<Duration>>>,
    thread: JoinHandle<()>,
    /// How long the machine let somebody wait who only slept.
    stood_still: Arc<Mutex<Duration>>,
}

impl Witness {
    /// Comes to a stream that is under way.
    pub(crate) fn come(id: &str, addr: SocketAddr) -> Self {
        let mut fan = Fan::new(id);
        let gaps = Arc::new(Mutex::new(Vec::new()));
        let heard = gaps.clone();
        let thread = std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                fan.connect(addr).await;
                while fan.read().await {
                    heard.lock().unwrap().append(&mut fan.gaps);
                }
            });
        });
        let stood_still = Arc::<Mutex<Duration>>::default();
        let watched = Arc::downgrade(&stood_still);
        std::thread::spawn(move || {
            let mut last = Instant::now();
            while let Some(longest) = watched.upgrade() {
                std::thread::sleep(NAP);
                let late = last.elapsed().saturating_sub(NAP);
                last = Instant::now();
                let mut longest = longest.lock().unwrap();
                *longest = late.max(*longest);
            }
        });
        Self { gaps, thread, stood_still }
    }

    /// How long it heard nothing each time, since it was asked last.
    pub(crate) fn gaps(&mut self) -> Vec<Duration> {
        assert!(!self.thread.is_finished(), "it was cut off");
        std::mem::take(&mut self.gaps.lock().unwrap())
    }
}

/// The setting that spares viewers the waits for a disk, which are nobody's fault.
pub(crate) const NO_DISK: (&str, &str) = ("TOKENCAST_JOURNAL__DURABILITY", "process");
/// How long a healthy viewer may hear nothing: nearly always, and once.
const NEARLY_ALWAYS: Duration = Duration::from_millis(100);
const ONCE: Duration = Duration::from_millis(400);
/// Between two looks at whether the machine stands still.
const NAP: Duration = Duration::from_millis(10);

impl Witness {
    /// From now on it is looked whether it is held up.
    pub(crate) fn begin(&mut self) {
        self.gaps();
        *self.stood_still.lock().unwrap() = Duration::ZERO;
    }

    /// It was hardly held up since, but by a machine that held up everybody.
    pub(crate) fn went_on(&mut self, beside: &str) {
        let (p50, p99, most) = percentiles(self.gaps());
        let stood_still = *self.stood_still.lock().unwrap();
        println!(
            "{beside}: a healthy viewer hears every {p50:?}, p99 {p99:?}, at most {most:?}; a sleeper was {stood_still:?} late"
        );
        assert!(p99 < NEARLY_ALWAYS, "{beside}: p99 {p99:?}");
        assert!(most < ONCE + stood_still, "{beside}: nothing for {most:?}");
    }
}

/// Brings so many who ask and then never read; the kernel keeps so few bytes for each. As fast as it goes, and on no
/// runtime, so that nobody else's time is taken but the gateway's.
pub(crate) fn silent(count: usize, id: &str, addr: SocketAddr, receive_bytes: usize) -> Vec<Socket> {
    let request = request(id, 0, addr);
    let come = |_| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(receive_bytes).unwrap();
        socket.connect(&addr.into()).unwrap();
        socket.send(request.as_bytes()).unwrap();
        socket
    };
    (0..count).map(come).collect()
}

fn request(id: &str, cursor: u64, addr: SocketAddr) -> String {
    format!(
        "GET /v1/streams/{id}/events HTTP/1.1\r\nhost: {addr}\r\nauthorization: Bearer {KEY}\r\nlast-event-id: {cursor}\r\nconnection: close\r\n\r\n"
    )
}

/// Brings all of them to the gateway, some at a time.
pub(crate) async fn connect(fans: Vec<Fan>, addr: SocketAddr) -> Vec<Fan> {
    let turnstile = Arc::new(Semaphore::new(AT_ONCE));
    let mut coming = JoinSet::new();
    for mut fan in fans {
        let turnstile = turnstile.clone();
        coming.spawn(async move {
            let _turn = turnstile.acquire().await.unwrap();
            fan.connect(addr).await;
            fan
        });
    }
    coming.join_all().await
}

/// Some of many, in order: the middle, nearly all, the last.
pub(crate) fn percentiles(mut all: Vec<Duration>) -> (Duration, Duration, Duration) {
    all.sort_unstable();
    let at = |part: usize| all[(all.len() - 1) * part / 100];
    (at(50), at(99), at(100))
}
