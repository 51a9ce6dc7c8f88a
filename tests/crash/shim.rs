//! A library that stands between the gateway and its disk: it fails what it is told to fail, and writes down what was
//! written and synced. Compiled here, by the C compiler that SQLite needs anyway.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::gateway::Gateway;

/// What the disk does from now on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Disk {
    Works,
    SyncsFail,
    WritesFail,
    Full,
    ReadOnly,
    /// The process dies before the next write.
    KillsAtWrite,
    /// The process dies before the next sync.
    KillsAtSync,
}

impl Gateway {
    /// Puts the library under the data of this gateway, for all of its lives from now on.
    pub(crate) fn on_a_disk(mut self) -> Self {
        let data = self.database.parent().unwrap().to_owned();
        let beside = |name: &str| data.with_file_name(name).into_os_string();
        self.variables = vec![
            ("LD_PRELOAD".into(), library().as_os_str().to_owned()),
            ("SHIM_BELOW".into(), data.as_os_str().to_owned()),
            ("SHIM_CONTROL".into(), beside("shim.control")),
            ("SHIM_TRACE".into(), beside("shim.trace")),
            ("SHIM_CLOCK".into(), beside("shim.clock")),
        ];
        self
    }

    /// The same, for lives of which nobody reads what they wrote.
    pub(crate) fn on_a_disk_without_trace(self) -> Self {
        let mut gateway = self.on_a_disk();
        gateway.variables.retain(|(name, _)| name != "SHIM_TRACE");
        gateway
    }

    pub(crate) fn disk(&self, disk: Disk) {
        let letter = match disk {
            Disk::Works => "",
            Disk::SyncsFail => "f",
            Disk::WritesFail => "w",
            Disk::Full => "n",
            Disk::ReadOnly => "r",
            Disk::KillsAtWrite => "k",
            Disk::KillsAtSync => "s",
        };
        let data = self.database.parent().unwrap();
        std::fs::write(data.with_file_name("shim.control"), letter).unwrap();
    }

    /// Sets the wall clock of the gateway so many seconds forth, or back.
    pub(crate) fn clock(&self, seconds: i64) {
        let data = self.database.parent().unwrap();
        std::fs::write(data.with_file_name("shim.clock"), seconds.to_string()).unwrap();
    }

    /// What was written so far.
    pub(crate) fn trace(&self) -> PathBuf {
        self.database.parent().unwrap().with_file_name("shim.trace")
    }
}

fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let out = std::env::temp_dir().join(format!("tokencast-shim-{}.so", std::process::id()));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/crash/shim.c");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-o"])
            .arg(&out)
            .arg(source)
            .args(["-ldl", "-lpthread"])
            .output()
            .expect("a C compiler");
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        out
    })
}

/// One thing that happened to a file.
#[derive(Debug)]
pub(crate) struct Step {
    /// Where its record ends in the trace.
    pub(crate) end: usize,
    pub(crate) file: String,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    Write { offset: usize, data: Vec<u8> },
    Truncate { len: usize },
    Remove,
    Sync,
}

/// Reads a trace; what is cut at its end is left out.
pub(crate) fn steps(trace: &[u8]) -> Vec<Step> {
    const HEAD: usize = 20;
    let (mut at, mut steps) = (0, Vec::new());
    while let Some(head) = trace.get(at..at + HEAD) {
        let number = |from: usize| u32::from_le_bytes(head[from..from + 4].try_into().unwrap()) as usize;
        let (kind, name_len, data_len) = (number(0), number(4), number(8));
        let offset = u64::from_le_bytes(head[12..20].try_into().unwrap()) as usize;
        let data_len = if kind == usize::from(b'W') { data_len } else { 0 };
        let end = at + HEAD + name_len + data_len;
        let Some(rest) = trace.get(at + HEAD..end) else { break };
        let file = String::from_utf8(rest[..name_len].to_vec()).unwrap();
        let what = match kind as u8 {
            b'W' => What::Write { offset, data: rest[name_len..].to_vec() },
            b'T' => What::Truncate { len: offset },
            b'U' => What::Remove,
            b'S' => What::Sync,
            other => panic!("{other} is no step"),
        };
        steps.push(Step { end, file, what });
        at = end;
    }
    steps
}

/// The files as a power loss behind these steps may leave them: what was synced is there; of what was written to a file
/// since, each write is there, is not, or stops at some sector. With `syncs` off no sync counts.
pub(crate) fn after_power_loss(
    steps: &[Step],
    rng: &mut fastrand::Rng,
    syncs: bool,
) -> HashMap<String, Vec<u8>> {
    const SECTOR: usize = 512;
    let mut last_sync: HashMap<&str, usize> = HashMap::new();
    for (place, step) in steps.iter().enumerate() {
        if syncs && matches!(step.what, What::Sync) {
            last_sync.insert(&step.file, place);
        }
    }
    let mut files: HashMap<String, Vec<u8>> = HashMap::new();
    for (place, step) in steps.iter().enumerate() {
        let is_safe = last_sync.get(&*step.file).is_some_and(|sync| place < *sync);
        let file = files.entry(step.file.clone()).or_default();
        match &step.what {
            What::Sync => {}
            // SQLite syncs the directory behind it.
            What::Remove => drop(files.remove(&step.file)),
            What::Truncate { len } => {
                if is_safe || rng.bool() {
                    file.resize(*len, 0);
                }
            }
            What::Write { offset, data } => {
                let kept = match rng.u8(..3) {
                    _ if is_safe => data.len(),
                    0 => continue,
                    1 => data.len(),
                    _ => rng.usize(0..=data.len()) / SECTOR * SECTOR,
                };
                if file.len() < offset + kept {
                    file.resize(offset + kept, 0);
                }
                file[*offset..offset + kept].copy_from_slice(&data[..kept]);
            }
        }
    }
    files
}
