//! What the machine silently limits, asked before anything starts: file descriptors, ports, memory.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::Fault;

/// Descriptors that a process has open anyway.
const SPARE: u64 = 128;
/// Ports of one address that we leave to others.
const SPARE_PORTS: u64 = 2000;
/// Viewers of one child: it has one thread.
const CHILD_VIEWERS_MAX: u64 = 5000;
/// A viewer here and its place in the gateway, both sockets and what reads them.
const VIEWER_KIB: u64 = 48;
/// The same over WebTransport.
const SESSION_KIB: u64 = 350;
/// A viewer who does not read leaves this much in the kernel.
const SILENT_KIB: u64 = 300;

/// What a run is about to use.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wanted {
    pub(crate) streams: u64,
    /// Over all streams.
    pub(crate) viewers: u64,
    /// Of these.
    pub(crate) silent: u64,
    pub(crate) is_webtransport: bool,
    /// Everything that is said in all streams.
    pub(crate) log_kib: u64,
    /// Whether the server is on this machine, started by us or not.
    pub(crate) is_local: bool,
}

/// How the viewers have to be laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) children: u64,
    /// Addresses of ours; more than one where one has too few ports.
    pub(crate) sources: u8,
}

/// What there is.
#[derive(Debug, Clone, Copy)]
struct Has {
    descriptors: u64,
    ports: u64,
    memory_kib: u64,
    /// What the kernel gives to TCP.
    tcp_kib: u64,
}

impl Wanted {
    /// Raises what may be raised, and says what else has to be.
    pub(crate) fn check(&self) -> Result<Layout, Fault> {
        let has =
            Has { descriptors: raise()?, ports: ports()?, memory_kib: memory_kib()?, tcp_kib: tcp_kib()? };
        Ok(self.fits(has)?)
    }

    fn fits(&self, has: Has) -> Result<Layout, String> {
        let children = self.viewers.div_ceil(CHILD_VIEWERS_MAX).max(1);
        // The gateway has every viewer's socket and both sides of every stream, all in one process.
        let descriptors = if self.is_webtransport { 0 } else { self.viewers } + 2 * self.streams + SPARE;
        if descriptors > has.descriptors {
            return Err(format!(
                "this needs {descriptors} file descriptors in one process and may open {}: \
                 run `sudo prlimit --pid $$ --nofile={descriptors}:{descriptors}` in this shell, and then try again",
                has.descriptors
            ));
        }
        let usable = has.ports.saturating_sub(SPARE_PORTS).max(1);
        let sources = if self.is_webtransport { 1 } else { self.viewers.div_ceil(usable).max(1) };
        let sources = match u8::try_from(sources) {
            Ok(sources) if sources == 1 || (self.is_local && sources <= 250) => sources,
            _ => {
                return Err(format!(
                    "this needs {} local ports and there are {}: run `sudo sysctl net.ipv4.ip_local_port_range='1024 65535'`",
                    self.viewers, has.ports
                ));
            }
        };
        let each = if self.is_webtransport { SESSION_KIB } else { VIEWER_KIB };
        let memory = self.viewers * each + self.silent * SILENT_KIB + 4 * self.log_kib + 100 * 1024;
        if memory > has.memory_kib {
            let scale = (has.memory_kib as f64 / memory as f64 * 90.0).floor() / 100.0;
            return Err(format!(
                "this needs about {} MiB of memory and {} are available: end what else runs, add swap \
                 (`sudo fallocate -l {}M /swap && sudo mkswap /swap && sudo swapon /swap`), or run it with `--scale {scale}`",
                memory >> 10,
                has.memory_kib >> 10,
                (memory - has.memory_kib).div_ceil(1024)
            ));
        }
        let tcp = self.silent * SILENT_KIB;
        if tcp > has.tcp_kib {
            let pages = tcp.div_ceil(4) * 2;
            return Err(format!(
                "viewers that never read may fill {} MiB of TCP buffers and the kernel has {}: \
                 run `sudo sysctl net.ipv4.tcp_mem='{} {} {pages}'`",
                tcp >> 10,
                has.tcp_kib >> 10,
                pages / 2,
                pages * 3 / 4
            ));
        }
        Ok(Layout { children, sources })
    }
}

/// Our soft limit of descriptors becomes the hard one, for us and those whom we start.
fn raise() -> Result<u64, Fault> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    }
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

fn ports() -> Result<u64, Fault> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")?;
    let range: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [first, last] = range[..] else { return Err("the range of local ports is unknown".into()) };
    Ok((last + 1).saturating_sub(first))
}

fn memory_kib() -> Result<u64, Fault> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    let available: u64 = kib.ok_or("how much memory is available is unknown")?;
    // A container may have less than its machine.
    let number = |file| fs::read_to_string(file).ok()?.trim().parse::<u64>().ok();
    let group = number("/sys/fs/cgroup/memory.max").zip(number("/sys/fs/cgroup/memory.current"));
    Ok(group.map_or(available, |(most, used)| available.min(most.saturating_sub(used) >> 10)))
}

fn tcp_kib() -> Result<u64, Fault> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/tcp_mem")?;
    let pages = text.split_whitespace().nth(2).and_then(|pages| pages.parse::<u64>().ok());
    Ok(pages.ok_or("how much memory TCP may use is unknown")?.saturating_mul(4))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HAS: Has = Has { descriptors: 20_000, ports: 28_000, memory_kib: 8 << 20, tcp_kib: 1 << 20 };
    const ROOM: Wanted = Wanted {
        streams: 1,
        viewers: 10_000,
        silent: 0,
        is_webtransport: false,
        log_kib: 1000,
        is_local: true,
    };

    #[test]
    fn what_fits_is_laid_out() {
        assert_eq!(ROOM.fits(HAS), Ok(Layout { children: 2, sources: 1 }));
        let crowded = Has { descriptors: 200_000, ..HAS };
        let many = Wanted { viewers: 60_000, ..ROOM };
        assert_eq!(many.fits(crowded), Ok(Layout { children: 12, sources: 3 }));
    }

    #[test]
    fn what_does_not_fit_names_the_command() {
        for (name, wanted, has, command) in [
            ("descriptors", ROOM, Has { descriptors: 4096, ..HAS }, "prlimit --pid $$ --nofile=10130:10130"),
            (
                "ports",
                Wanted { is_local: false, ..ROOM },
                Has { ports: 5000, ..HAS },
                "sysctl net.ipv4.ip_local_port_range",
            ),
            ("memory", ROOM, Has { memory_kib: 400 << 10, ..HAS }, "--scale 0.6"),
            (
                "sessions",
                Wanted { is_webtransport: true, ..ROOM },
                Has { memory_kib: 1 << 20, ..HAS },
                "swapon",
            ),
            ("buffers", Wanted { silent: 5000, ..ROOM }, HAS, "sysctl net.ipv4.tcp_mem"),
        ] {
            let error = wanted.fits(has).unwrap_err();
            assert!(error.contains(command), "{name}: {error}");
        }
    }

    #[test]
    fn this_machine_says_what_it_has() {
        assert!(Wanted { viewers: 1, streams: 1, is_local: true, ..Wanted::default() }.check().is_ok());
        assert_eq!(getrlimit(Resource::Nofile).current, getrlimit(Resource::Nofile).maximum);
    }
}
