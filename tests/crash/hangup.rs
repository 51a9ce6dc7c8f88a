//! A gateway that is told to read its keys again.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use crate::gateway::{Directory, Gateway, LOOK, PATIENCE};

#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_reads_the_keys_and_ends_nothing() {
    let directory = Directory::new();
    let keys = directory.0.join("keys.toml");
    fs::write(&keys, "").unwrap();
    fs::set_permissions(&keys, Permissions::from_mode(0o600)).unwrap();
    let mut gateway = Gateway::new("http://127.0.0.1:9/v1", "");
    gateway.variables.push(("TOKENCAST_AUTH__KEYS_FILE".into(), keys.into()));
    gateway.start().await;
    gateway.readiness(200).await;
    assert!(!gateway.said().contains("read again"), "nothing has changed");
    gateway.signal("HUP");
    let begun = Instant::now();
    while !gateway.said().contains("the keys were read again") {
        assert!(begun.elapsed() < PATIENCE, "{}", gateway.said());
        tokio::time::sleep(LOOK).await;
    }
    gateway.readiness(200).await;
}
