//! What the kernel says of a process, and how much of it this one may use.

use std::process::Command;
use std::time::Duration;

/// Whether there is time for the sizes that matter.
pub(crate) fn is_long() -> bool {
    std::env::var("TOKENCAST_LONG").is_ok()
}

/// A process as /proc shows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process(pub(crate) u32);

impl Process {
    fn read(self, name: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{name}", self.0)).unwrap()
    }

    fn status(self, name: &str) -> u64 {
        let status = self.read("status");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("it is there");
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Bytes of memory.
    pub(crate) fn memory(self) -> u64 {
        self.status("VmRSS") * 1024
    }

    pub(crate) fn threads(self) -> u64 {
        self.status("Threads")
    }

    /// Open files and sockets.
    pub(crate) fn descriptors(self) -> usize {
        let all = std::fs::read_dir(format!("/proc/{}/fd", self.0));
        all.expect("root may look into a process that hides its memory").count()
    }

    /// What it has used of the processor. A tick is a hundredth of a second on every Linux.
    pub(crate) fn worked(self) -> Duration {
        let stat = self.read("stat");
        let behind_name = stat.rsplit_once(')').expect("a name").1;
        let ticks =
            behind_name.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap());
        Duration::from_millis(ticks.sum::<u64>() * 10)
    }
}

/// Bytes that wait in the kernel for the peers of whoever has this local port.
pub(crate) fn unsent(port: u16) -> u64 {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let suffix = format!(":{port:04X}");
    let queues = table.lines().skip(1).filter_map(|line| {
        let mut words = line.split_whitespace();
        let is_it = words.nth(1)?.ends_with(&suffix);
        let queues = words.nth(2)?.split_once(':')?.0;
        is_it.then(|| u64::from_str_radix(queues, 16).unwrap())
    });
    queues.sum()
}

/// Bytes of TCP buffers on the whole machine.
pub(crate) fn tcp_memory() -> u64 {
    let said = std::fs::read_to_string("/proc/net/sockstat").unwrap();
    let line = said.lines().find(|line| line.starts_with("TCP:")).unwrap();
    let pages: u64 = line.rsplit(' ').next().unwrap().parse().unwrap();
    pages * 4096
}

/// Lets this process have so many files open.
pub(crate) fn may_open(wanted: u64) {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let soft: u64 = line.split_whitespace().nth(3).unwrap().parse().unwrap_or(u64::MAX);
    if soft < wanted {
        let (pid, limit) = (std::process::id().to_string(), format!("--nofile={wanted}:"));
        let raised = Command::new("prlimit").args(["--pid", &pid, &limit]).status();
        assert!(raised.is_ok_and(|status| status.success()), "this needs {wanted} files: ulimit -n {wanted}");
    }
}
