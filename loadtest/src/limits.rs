//! What the machine silently limits, asked before anything starts.

use std::fs;

use crate::Fault;

/// Descriptors that a process has open anyway.
const SPARE: u64 = 128;

/// Whether this many connections between us and the gateway, and between it and the provider, can be open at once.
pub(crate) fn check(viewers: u64, streams: u64) -> Result<(), Fault> {
    // Here: each viewer's socket, and for each stream both sides of the tap and the provider's socket.
    let wanted = viewers + 3 * streams + SPARE;
    let (soft, hard) = descriptors()?;
    if soft < wanted {
        let how = if wanted <= hard {
            format!("ulimit -n {wanted}")
        } else {
            format!("sudo prlimit --pid $$ --nofile={wanted}:{wanted}")
        };
        return Err(format!(
            "this needs {wanted} file descriptors and may open {soft}: run `{how}` in this shell, and then try again"
        )
        .into());
    }
    // Every connection to the gateway comes from one address, so each needs a port of its own.
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")?;
    let range: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    if let [first, last] = range[..]
        && last - first < viewers + SPARE
    {
        return Err(format!(
            "this needs {viewers} local ports and there are {}: run `sudo sysctl net.ipv4.ip_local_port_range='1024 65535'`",
            last - first
        )
        .into());
    }
    Ok(())
}

fn descriptors() -> Result<(u64, u64), Fault> {
    let text = fs::read_to_string("/proc/self/limits")?;
    let line = text.lines().find(|line| line.starts_with("Max open files")).unwrap_or_default();
    let mut words = line.split_whitespace().skip(3).map(|word| word.parse().unwrap_or(u64::MAX));
    Ok((words.next().unwrap_or(u64::MAX), words.next().unwrap_or(u64::MAX)))
}
