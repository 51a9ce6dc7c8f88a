//! Runs a script of this directory, whose packages are installed when they are missing.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// What the script answers to these lines, a line each.
pub(crate) fn run(script: &str, lines: impl Iterator<Item = String>) -> Vec<String> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle");
    let written = |file: &str| dir.join(file).metadata().and_then(|file| file.modified()).ok();
    // The last file that npm writes, so a run that was cut off does not count.
    if written("node_modules/.package-lock.json") < written("package-lock.json") {
        let status = Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&dir).status();
        assert!(status.expect("this test needs npm").success(), "npm ci in {dir:?}");
    }
    let mut node = Command::new("node")
        .arg(script)
        .current_dir(&dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test needs node");
    let mut stdin = node.stdin.take().expect("piped");
    for line in lines {
        writeln!(stdin, "{line}").expect("node reads everything first");
    }
    drop(stdin);
    let output = node.wait_with_output().expect("node ends");
    assert!(output.status.success(), "{script}");
    String::from_utf8(output.stdout).expect("JSON is UTF-8").lines().map(str::to_owned).collect()
}
