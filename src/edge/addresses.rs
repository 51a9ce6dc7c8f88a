//! What one client address may have: IPv4 addresses are told apart, of IPv6 the /64, which is what one subscriber gets.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::FORWARDED;
use http::{HeaderMap, HeaderName};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::bucket::{Bucket, Rate};

/// `[addresses]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub connections_max: usize,
    pub subscriptions_per_s: u32,
    pub subscriptions_burst: u32,
    /// Whether they hold for clients on this machine, too.
    pub on_loopback: bool,
    /// Who is believed when it says on whose behalf it asks, and where it says so.
    pub trusted_proxies: Vec<IpNet>,
    pub proxy_header: ProxyHeader,
}

/// Proxies write one of them, and hand on what a client has written into the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyHeader {
    #[default]
    XForwardedFor,
    Forwarded,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connections_max: 256,
            subscriptions_per_s: 20,
            subscriptions_burst: 100,
            on_loopback: false,
            trusted_proxies: Vec::new(),
            proxy_header: ProxyHeader::default(),
        }
    }
}

/// Addresses that are remembered, at most, beside those that have a connection.
const REMEMBERED_MAX: usize = 65_536;

/// All addresses; clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Addresses(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: Config,
    rate: Rate,
    known: Mutex<HashMap<IpAddr, Known>>,
}

#[derive(Debug)]
struct Known {
    connections: usize,
    subscriptions: Bucket,
}

/// One connection of an address.
#[derive(Debug)]
pub(crate) struct Connected(Option<(Addresses, IpAddr)>);

impl Drop for Connected {
    fn drop(&mut self) {
        if let Some((addresses, address)) = &self.0
            && let Some(known) = addresses.lock().get_mut(address)
        {
            known.connections -= 1;
        }
    }
}

impl Addresses {
    pub(crate) fn new(config: Config) -> Self {
        let rate = Rate {
            per_s: f64::from(config.subscriptions_per_s),
            burst: f64::from(config.subscriptions_burst),
        };
        Self(Arc::new(Shared { config, rate, known: Mutex::default() }))
    }

    /// One more connection from there, unless it has as many as it may have. A proxy may have any number.
    pub(crate) fn connect(&self, peer: IpAddr) -> Option<Connected> {
        let peer = peer.to_canonical();
        if self.is_free(peer) || self.is_proxy(peer) {
            return Some(Connected(None));
        }
        let address = subscriber(peer);
        let mut known = self.lock();
        let entry = self.entry(&mut known, address, Instant::now());
        if entry.connections >= self.0.config.connections_max {
            return None;
        }
        entry.connections += 1;
        Some(Connected(Some((self.clone(), address))))
    }

    /// One more subscription from there, or how long that has to wait.
    pub(crate) fn subscribe(&self, client: IpAddr) -> Result<(), Duration> {
        let client = client.to_canonical();
        if self.is_free(client) {
            return Ok(());
        }
        let now = Instant::now();
        let mut known = self.lock();
        self.entry(&mut known, subscriber(client), now).subscriptions.take(self.0.rate, now)
    }

    /// Whose request this is: that of the peer, or, where that is a proxy of ours, of the last one before our proxies.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        let mut hops = hops(self.0.config.proxy_header, headers).into_iter().rev();
        while self.is_proxy(client) {
            let Some(hop) = hops.next() else { break };
            // What is no address hides who is behind it: then it is all of the proxy.
            let Some(address) = hop else { break };
            client = address.to_canonical();
        }
        client
    }

    fn is_free(&self, address: IpAddr) -> bool {
        address.is_loopback() && !self.0.config.on_loopback
    }

    fn is_proxy(&self, address: IpAddr) -> bool {
        self.0.config.trusted_proxies.iter().any(|net| net.contains(&address))
    }

    fn entry<'a>(
        &self,
        known: &'a mut HashMap<IpAddr, Known>,
        address: IpAddr,
        now: Instant,
    ) -> &'a mut Known {
        let rate = self.0.rate;
        if known.len() >= REMEMBERED_MAX && !known.contains_key(&address) {
            known.retain(|_, one| one.connections > 0 || !one.subscriptions.is_full(rate, now));
            if known.len() >= REMEMBERED_MAX {
                // Of more than that who came just now those are forgotten who have gone again.
                known.retain(|_, one| one.connections > 0);
            }
        }
        known
            .entry(address)
            .or_insert_with(|| Known { connections: 0, subscriptions: Bucket::full(rate, now) })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Known>> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who is behind an address: of IPv6, everybody under one prefix.
fn subscriber(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

/// Those on whose behalf a request came, the client first; nothing stands for one that hides.
fn hops(header: ProxyHeader, headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let (name, read): (_, fn(&str) -> Option<IpAddr>) = match header {
        ProxyHeader::XForwardedFor => {
            (HeaderName::from_static("x-forwarded-for"), |text| address(text.trim()))
        }
        ProxyHeader::Forwarded => (FORWARDED, forwarded_for),
    };
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(read).collect()
}

/// The `for` of one element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| address(value.trim().trim_matches('"')))?
    })
}

/// An address, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    if let Ok(socket) = text.parse::<std::net::SocketAddr>() {
        return Some(socket.ip());
    }
    text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(change: impl FnOnce(&mut Config)) -> Addresses {
        let mut config = Config { connections_max: 2, subscriptions_burst: 3, ..Config::default() };
        change(&mut config);
        Addresses::new(config)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn connections_are_counted_by_subscriber() {
        let addresses = addresses(|config| config.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()]);
        let one = addresses.connect(ip("192.0.2.1")).unwrap();
        let _two = addresses.connect(ip("::ffff:192.0.2.1")).unwrap();
        assert!(addresses.connect(ip("192.0.2.1")).is_none());
        assert!(addresses.connect(ip("192.0.2.2")).is_some(), "another one");
        drop(one);
        assert!(addresses.connect(ip("192.0.2.1")).is_some());
        let v6 = [ip("2001:db8:0:1::1"), ip("2001:db8:0:1:ffff::2")].map(|ip| addresses.connect(ip).unwrap());
        assert!(addresses.connect(ip("2001:db8:0:1::3")).is_none());
        assert!(addresses.connect(ip("2001:db8:0:2::1")).is_some());
        drop(v6);
        for free in ["127.0.0.1", "::1", "10.1.2.3"] {
            let many: Vec<_> = (0..10).map(|_| addresses.connect(ip(free))).collect();
            assert!(many.iter().all(Option::is_some), "{free}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn subscriptions_have_a_rate() {
        let addresses = addresses(|config| config.on_loopback = true);
        let client = ip("127.0.0.1");
        assert!((0..3).all(|_| addresses.subscribe(client).is_ok()));
        let wait = addresses.subscribe(client).unwrap_err();
        assert!(addresses.subscribe(ip("127.0.0.2")).is_ok());
        tokio::time::advance(wait + Duration::from_millis(1)).await;
        assert!(addresses.subscribe(client).is_ok());
        assert!(addresses.subscribe(client).is_err());
    }

    #[test]
    fn no_more_is_remembered_than_there_is_room_for() {
        let addresses = addresses(|_| ());
        let _stays = addresses.connect(ip("192.0.2.1")).unwrap();
        for number in 0..u32::try_from(REMEMBERED_MAX).unwrap() + 10 {
            addresses.subscribe(IpAddr::V4((0x0b00_0000 + number).into())).unwrap();
        }
        let known = addresses.lock();
        assert!(known.len() <= REMEMBERED_MAX, "{}", known.len());
        assert!(known.contains_key(&ip("192.0.2.1")));
    }

    #[test]
    fn only_our_proxies_are_believed() {
        let proxies = ["10.0.0.0/8", "2001:db8::/32"].map(|net| net.parse().unwrap());
        let check = |peer: &str, name: &'static str, value: &str, wanted: &str| {
            let addresses = addresses(|config| {
                config.trusted_proxies = proxies.into();
                config.proxy_header =
                    if name == "forwarded" { ProxyHeader::Forwarded } else { ProxyHeader::XForwardedFor };
            });
            let mut headers = HeaderMap::new();
            // What the client wrote into the one that our proxies do not write.
            headers.insert("x-forwarded-for", "198.51.100.66".parse().unwrap());
            headers.insert(FORWARDED, "for=198.51.100.66".parse().unwrap());
            headers.insert(name, value.parse().unwrap());
            assert_eq!(addresses.client(ip(peer), &headers), ip(wanted), "{peer} {name}: {value}");
        };
        check("192.0.2.1", "x-forwarded-for", "203.0.113.9", "192.0.2.1");
        check("10.0.0.1", "x-forwarded-for", "203.0.113.9", "203.0.113.9");
        check("::ffff:10.0.0.1", "x-forwarded-for", "203.0.113.9:4711", "203.0.113.9");
        check("10.0.0.1", "x-forwarded-for", "198.51.100.1, 203.0.113.9, 10.0.0.2", "203.0.113.9");
        check("10.0.0.1", "x-forwarded-for", "203.0.113.9, nonsense", "10.0.0.1");
        check("10.0.0.1", "x-forwarded-for", "", "10.0.0.1");
        check("10.0.0.1", "forwarded", "for=198.51.100.1, For=\"203.0.113.9:80\";proto=https", "203.0.113.9");
        check("10.0.0.1", "forwarded", "for=\"[2001:db9::7]:80\"", "2001:db9::7");
        check("2001:db8::1", "forwarded", "for=\"[2001:db9::7]\"", "2001:db9::7");
        check("10.0.0.1", "forwarded", "for=203.0.113.9, for=_hidden", "10.0.0.1");
    }
}
