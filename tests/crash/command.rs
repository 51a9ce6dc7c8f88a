//! Other commands of the binary, with the configuration of a gateway.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::gateway::Gateway;

/// How a command ended, and what it wrote.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) out: Vec<u8>,
    pub(crate) said: String,
}

impl Done {
    /// What it wrote, if it went well.
    #[track_caller]
    pub(crate) fn well(self) -> Vec<u8> {
        assert_eq!(self.code, Some(0), "{}", self.said);
        self.out
    }

    /// It failed with this code, in one sentence that has these words.
    #[track_caller]
    pub(crate) fn refused(self, code: i32, wanted: &str) {
        assert_eq!((self.code, self.said.lines().count()), (Some(code), 1), "{}", self.said);
        assert!(self.said.starts_with("tokencast: ") && self.said.contains(wanted), "{}", self.said);
        assert!(self.out.is_empty(), "{}", String::from_utf8_lossy(&self.out));
    }
}

/// The directory of a gateway, which its configuration is in.
pub(crate) fn home(gateway: &Gateway) -> PathBuf {
    gateway.database.ancestors().nth(2).unwrap().to_owned()
}

/// Runs a command with the configuration of a gateway, in its directory.
pub(crate) fn run(gateway: &Gateway, args: &[&str]) -> Done {
    with(&home(gateway).join("tokencast.toml"), args)
}

/// Runs a command with a configuration, in its directory.
pub(crate) fn with(config: &Path, args: &[&str]) -> Done {
    let done = Command::new(crate::gateway::binary())
        .args(args)
        .arg("--config")
        .arg(config)
        .current_dir(config.parent().unwrap())
        .env_clear()
        .stdin(Stdio::null())
        .output();
    let Output { status, stdout, stderr } = done.unwrap();
    Done { code: status.code(), out: stdout, said: String::from_utf8(stderr).unwrap() }
}
