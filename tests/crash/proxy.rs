//! A network that is worse than loopback, for TCP and for UDP: it is slow, breaks off after any byte, falls silent,
//! loses, doubles and mixes up.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// What befalls one connection, from the server's side.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Weather {
    /// Before anything goes on, in both directions, and up to so much more.
    pub(crate) latency: Duration,
    pub(crate) jitter: Duration,
    /// Of the server's bytes.
    pub(crate) bytes_per_s: Option<u64>,
    /// After so many of the server's bytes.
    pub(crate) end: Option<(usize, End)>,
}

/// How a connection ends before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// RST
    Reset,
    /// FIN: the server seems to have nothing more to say.
    Fin,
    /// Nothing is said any more, and nothing is closed.
    BlackHole,
}

impl Weather {
    async fn wait(&self) {
        let jitter = self.jitter.mul_f64(fastrand::f64());
        if !(self.latency + jitter).is_zero() {
            sleep(self.latency + jitter).await;
        }
    }
}

/// TCP by a detour, for as long as the value lives.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) addr: SocketAddr,
    weather: Arc<Mutex<Weather>>,
    /// What each connection has let through of the server's bytes.
    passed: Arc<Mutex<Vec<Vec<u8>>>>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    pub(crate) async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (weather, passed) = (Arc::<Mutex<Weather>>::default(), Arc::<Mutex<Vec<Vec<u8>>>>::default());
        let mut tasks = JoinSet::new();
        let (now, through) = (weather.clone(), passed.clone());
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (weather, through) = (*now.lock().unwrap(), through.clone());
                let number = {
                    let mut through = through.lock().unwrap();
                    through.push(Vec::new());
                    through.len() - 1
                };
                connections.spawn(async move {
                    if let Ok(server) = TcpStream::connect(server).await {
                        pass(client, server, weather, |bytes| {
                            through.lock().unwrap()[number].extend_from_slice(bytes);
                        })
                        .await;
                    }
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self { addr, weather, passed, _tasks: tasks }
    }

    /// What befalls connections from now on.
    pub(crate) fn weather(&self, weather: Weather) {
        *self.weather.lock().unwrap() = weather;
    }

    /// What the last connection has let through.
    pub(crate) fn passed(&self) -> Vec<u8> {
        self.passed.lock().unwrap().last().cloned().unwrap_or_default()
    }
}

/// Carries bytes both ways until either side is done, or the weather says so.
async fn pass(mut client: TcpStream, mut server: TcpStream, weather: Weather, mut note: impl FnMut(&[u8])) {
    let (mut asked, mut said) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    let mut left = weather.end.map_or(usize::MAX, |(bytes, _)| bytes);
    while left > 0 {
        tokio::select! {
            read = client.read(&mut asked) => match read {
                Ok(len) if len > 0 => {
                    weather.wait().await;
                    if server.write_all(&asked[..len]).await.is_err() {
                        return;
                    }
                }
                _ => return,
            },
            read = server.read(&mut said) => match read {
                Ok(len) if len > 0 => {
                    weather.wait().await;
                    let len = len.min(left);
                    left -= len;
                    note(&said[..len]);
                    if client.write_all(&said[..len]).await.is_err() {
                        return;
                    }
                    if let Some(rate) = weather.bytes_per_s {
                        sleep(Duration::from_secs_f64(len as f64 / rate as f64)).await;
                    }
                }
                // A reset goes on as what it is.
                Ok(_) => return,
                Err(_) => return drop(SockRef::from(&client).set_linger(Some(Duration::ZERO))),
            },
        }
    }
    match weather.end {
        Some((_, End::Reset)) => drop(SockRef::from(&client).set_linger(Some(Duration::ZERO))),
        Some((_, End::BlackHole)) => std::future::pending().await,
        Some((_, End::Fin)) | None => {}
    }
}

/// What befalls datagrams, in both directions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Storm {
    pub(crate) latency: Duration,
    /// Up to so much later: they overtake each other.
    pub(crate) jitter: Duration,
    /// Of a hundred.
    pub(crate) lost: u8,
    pub(crate) doubled: u8,
}

/// UDP by a detour, for as long as the value lives.
#[derive(Debug)]
pub(crate) struct UdpProxy {
    pub(crate) addr: SocketAddr,
    _tasks: JoinSet<()>,
}

impl UdpProxy {
    pub(crate) async fn start(server: SocketAddr, storm: Storm, seed: u64) -> Self {
        let front = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let addr = front.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let (mut rng, mut backs) = (Rng::with_seed(seed), HashMap::new());
            let (mut flights, mut answers) = (JoinSet::new(), JoinSet::new());
            let mut datagram = vec![0; 65_536];
            while let Ok((len, client)) = front.recv_from(&mut datagram).await {
                let back = match backs.get(&client) {
                    Some(back) => Arc::clone(back),
                    None => {
                        let back = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
                        back.connect(server).await.unwrap();
                        backs.insert(client, back.clone());
                        answers.spawn(answer(back.clone(), front.clone(), client, storm, rng.fork()));
                        back
                    }
                };
                for at in storm.arrivals(&mut rng) {
                    let (back, datagram) = (back.clone(), datagram[..len].to_vec());
                    flights.spawn(async move {
                        sleep(at).await;
                        // A server that is gone says so.
                        let _ = back.send(&datagram).await;
                    });
                }
                while flights.try_join_next().is_some() {}
            }
        });
        Self { addr, _tasks: tasks }
    }
}

/// The way back.
async fn answer(back: Arc<UdpSocket>, front: Arc<UdpSocket>, client: SocketAddr, storm: Storm, mut rng: Rng) {
    let (mut flights, mut datagram) = (JoinSet::new(), vec![0; 65_536]);
    loop {
        // An ICMP error is read like a datagram.
        let Ok(len) = back.recv(&mut datagram).await else { continue };
        for at in storm.arrivals(&mut rng) {
            let (front, datagram) = (front.clone(), datagram[..len].to_vec());
            flights.spawn(async move {
                sleep(at).await;
                let _ = front.send_to(&datagram, client).await;
            });
        }
        while flights.try_join_next().is_some() {}
    }
}

impl Storm {
    /// When one datagram arrives: once, twice, or never.
    fn arrivals(&self, rng: &mut Rng) -> Vec<Duration> {
        let copies = match rng.u8(..100) {
            dice if dice < self.lost => 0,
            dice if dice < self.lost + self.doubled => 2,
            _ => 1,
        };
        (0..copies).map(|_| self.latency + self.jitter.mul_f64(rng.f64())).collect()
    }
}
