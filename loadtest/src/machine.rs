//! What the operating system knows of processes: CPU, memory, and which cores they may use.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tokio::process::Command;

/// Processes and all their descendants.
#[derive(Debug, Clone)]
pub(crate) struct Tree(Vec<u32>);

/// Resident memory in KiB.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) now_kib: u64,
    /// At most, so far.
    pub(crate) peak_kib: u64,
}

impl Tree {
    pub(crate) fn of(roots: impl IntoIterator<Item = u32>) -> Self {
        Self(roots.into_iter().collect())
    }

    fn members(&self) -> Vec<u32> {
        let numbered = |entry: fs::DirEntry| entry.file_name().to_str()?.parse::<u32>().ok();
        let all: Vec<(u32, u32)> = fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(numbered)
            .filter_map(|pid| Some((pid, stat(&proc_of(pid))?.parent)))
            .collect();
        let mut members = self.0.clone();
        let mut at = 0;
        while at < members.len() {
            let parent = members[at];
            members.extend(all.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
            at += 1;
        }
        members
    }

    /// CPU time that its processes have used.
    pub(crate) fn cpu(&self) -> Duration {
        self.members().into_iter().filter_map(|pid| Some(stat(&proc_of(pid))?.cpu)).sum()
    }

    pub(crate) fn memory(&self) -> Memory {
        self.members().into_iter().map(|pid| memory(&proc_of(pid))).fold(Memory::default(), |sum, of| {
            Memory { now_kib: sum.now_kib + of.now_kib, peak_kib: sum.peak_kib + of.peak_kib }
        })
    }
}

/// CPU time of this process alone.
pub(crate) fn own_cpu() -> Duration {
    stat(Path::new("/proc/self")).map(|stat| stat.cpu).unwrap_or_default()
}

fn proc_of(pid: u32) -> PathBuf {
    Path::new("/proc").join(pid.to_string())
}

struct Stat {
    parent: u32,
    cpu: Duration,
}

fn stat(proc: &Path) -> Option<Stat> {
    let text = fs::read_to_string(proc.join("stat")).ok()?;
    // The name in front of it may have blanks and brackets.
    let fields: Vec<&str> = text.get(text.rfind(')')? + 2..)?.split(' ').collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    let per_second = rustix::param::clock_ticks_per_second();
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        cpu: Duration::from_secs_f64(ticks as f64 / per_second as f64),
    })
}

fn memory(proc: &Path) -> Memory {
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(proc.join(file)).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let now_kib = field("smaps_rollup", "Rss:").or_else(|| field("status", "VmRSS:")).unwrap_or(0);
    Memory { now_kib, peak_kib: field("status", "VmHWM:").unwrap_or(0) }
}

/// Memory that the kernel holds for TCP, of all processes, in KiB.
pub(crate) fn tcp_kib() -> u64 {
    let text = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("TCP:")).unwrap_or_default();
    let mut words = line.split_whitespace().skip_while(|word| *word != "mem").skip(1);
    words.next().and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4
}

/// The cores that this process may use.
fn cores() -> Vec<usize> {
    let Ok(allowed) = sched_getaffinity(None) else { return Vec::new() };
    (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect()
}

/// Leaves a core to the server: this process, and those that it starts from now on, use the others.
pub(crate) fn leave(core: usize) -> Result<(), String> {
    let all = cores();
    if !all.contains(&core) {
        return Err(format!("--pin {core}: there is no such core for this process; it may use {all:?}"));
    }
    let mut others = CpuSet::new();
    all.iter().filter(|other| **other != core).for_each(|other| others.set(*other));
    if all.len() == 1 {
        return Ok(());
    }
    sched_setaffinity(None, &others).map_err(|error| format!("--pin {core}: {error}"))
}

/// A command for a program that ends with us, on that core if one is given.
pub(crate) fn command(program: &Path, core: Option<usize>) -> Command {
    let mut command = match core {
        Some(core) => {
            let mut command = Command::new("taskset");
            command.arg("-c").arg(core.to_string()).arg(program);
            command
        }
        None => Command::new(program),
    };
    command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_counts_children() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let tree = Tree::of([std::process::id()]);
        assert!(tree.members().contains(&child.id()));
        let alone = memory(Path::new("/proc/self"));
        assert!(alone.now_kib > 0 && alone.peak_kib > 0);
        assert!(tree.memory().peak_kib > alone.now_kib);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!tree.members().contains(&child.id()));
    }
}
