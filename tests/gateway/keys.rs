//! The file of keys: what `tokencast key` makes of it, and what a gateway that runs makes of that; and `tokencast ticket`.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::json;

use crate::forge::{Key, base64url, from_now};
use crate::gateway::{Gateway, Journal, config};
use crate::http::{Call, Protocol, within};
use crate::provider::{Ending, Provider, Script};
use crate::says::text;
use crate::viewing::{Transport, Viewing};

/// Between two looks at something that tells nobody when it changes.
const LOOK: Duration = Duration::from_millis(20);

/// A directory of a test, gone with it.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let name = tokencast::crypto::hex(&tokencast::crypto::random::<8>());
        let path = std::env::temp_dir().join(format!("tokencast-keys-{name}"));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn tokencast(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tokencast")).args(arguments).output().unwrap()
}

/// What the command prints, which has to succeed.
fn says(arguments: &[&str]) -> String {
    let output = tokencast(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// What the command complains of, which has to fail.
fn fails(arguments: &[&str]) -> String {
    let output = tokencast(arguments);
    assert!(!output.status.success(), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn keys_are_made_listed_and_revoked() {
    let directory = Directory::new();
    let path = directory.file("keys.toml");
    let file = path.to_str().unwrap();
    let key = says(&["key", "new", "app", "--file", file]);
    assert!(key.starts_with("tck_") && key.len() == 68, "{key}");
    assert_eq!(mode(&path), 0o600);
    assert!(!fs::read_to_string(&path).unwrap().contains(&key), "it is shown once");
    assert!(fails(&["key", "new", "app", "--file", file]).contains("there is a key \"app\""));
    says(&["key", "new", "viewer", "--tenant", "acme", "--scope", "read", "--scope", "stop", "--file", file]);
    let listed = says(&["key", "list", "--file", file]);
    let lines: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!((lines[0][0], lines[0][1], lines[0][3]), ("app", "default", "start,read,stop,admin"));
    assert_eq!((lines[1][0], lines[1][1], lines[1][3]), ("viewer", "acme", "read,stop"));
    // Nothing in a name moves the cursor of a terminal, or the words beside it.
    for name in ["", "a\u{1b}[2Jb", "a\nb", "a\u{202e}b", &"x".repeat(101)] {
        for arguments in [
            &["key", "new", name][..],
            &["key", "new", name, "--file", file],
            &["key", "new", "c", "--tenant", name],
        ] {
            assert!(fails(arguments).contains("write 1 to 100 characters that can be seen"), "{arguments:?}");
        }
    }
    assert!(
        fails(&["key", "new", "x", "--scope", "write", "--file", file])
            .contains("start, read, stop or admin")
    );

    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    for command in [&["key", "list"][..], &["key", "new", "x"], &["key", "revoke", "app"]] {
        let refused = fails(&[command, &["--file", file]].concat());
        assert!(refused.contains("chmod "), "{refused}");
    }
    fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
    // What a link leads to is changed, and stays as private as it was.
    let link = directory.file("link.toml");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    says(&["key", "revoke", "app", "--file", link.to_str().unwrap()]);
    assert!(link.symlink_metadata().unwrap().is_symlink() && mode(&path) == 0o400);
    assert!(fails(&["key", "revoke", "app", "--file", file]).contains("there is no key \"app\""));
    assert_eq!(says(&["key", "list", "--file", file]).lines().count(), 1);
    assert!(fails(&["key", "list", "--file", directory.file("none").to_str().unwrap()]).contains("none"));

    // Without a file: what to put into the configuration.
    for arguments in [&["key"][..], &["key", "app"], &["key", "new"], &["key", "new", "app"]] {
        let printed = says(arguments);
        assert!(printed.contains("# tck_") && printed.contains("[[auth.keys]]\nname = \"app\"\nsha256 = \""));
        assert!(printed.ends_with("tenant = \"default\""), "{printed}");
    }
    assert!(says(&["key", "other", "--scope", "read"]).ends_with("scopes = [\"read\"]"));
}

/// Waits until a call with this key is answered so.
async fn answers(gateway: &Gateway, key: &str, status: u16) {
    within(format!("{status} for {key}"), async {
        while gateway.send(&Call::get("/v1/streams").bearer(key)).await.status != status {
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_takes_keys_up_and_drops_them_while_it_runs() {
    let directory = Directory::new();
    let path = directory.file("keys.toml");
    let file = path.to_str().unwrap();
    let old = says(&["key", "new", "old", "--file", file]);
    let provider = Provider::with(Script::says(text("a").bytes).ends(Ending::Hang)).await;
    let mut config = config(Journal::Memory, &provider.base_url());
    config.auth.keys_file = Some(path.clone());
    let gateway = Gateway::start(config);
    let send = async |call: Call, key: &str| gateway.send(&call.bearer(key)).await.status;
    assert_eq!(send(Call::post(r#"{"id":"s","request":{"model":"m"}}"#), &old).await, 201);
    let ticket =
        gateway.send(&Call::post(r#"{"id":"s","request":{"model":"m"}}"#).bearer(&old)).await.json().await;
    let target =
        format!("/v1/streams/s/events?heartbeat_ms=500&ticket={}", ticket["ticket"].as_str().unwrap());
    let mut viewing = Viewing::open(Transport::SseH1, gateway.http, &target).await;

    // One replaces the other: both are valid for a while.
    let new = says(&["key", "new", "new", "--file", file]);
    answers(&gateway, &new, 200).await;
    assert_eq!(send(Call::get("/v1/streams/s"), &old).await, 200);
    says(&["key", "revoke", "old", "--file", file]);
    answers(&gateway, &old, 401).await;
    assert_eq!(send(Call::get("/v1/streams/s"), &new).await, 200, "of the same tenant");
    assert_eq!(viewing.until("text").await.data["text"], "a", "whoever is watching goes on");

    // A file that cannot be used changes nothing.
    fs::write(&path, "[[keys]]\nname = 7\n").unwrap();
    within("a file that is refused", async {
        let refused = r#"tokencast_keys_reads_total{outcome="refused"}"#;
        let metrics =
            async || Call::get("/metrics").send(Protocol::H1, gateway.ops).await.body.whole().await.0;
        while memchr::memmem::find(&metrics().await, refused.as_bytes()).is_none() {
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
    assert_eq!(send(Call::get("/v1/streams/s"), &new).await, 200, "the keys are those of before");
    let newer = "tck_newer";
    let hash = tokencast::auth::key::Digest::of(newer).hex();
    fs::write(&path, format!("[[keys]]\nname = \"n\"\nsha256 = \"{hash}\"\nscopes = [\"read\"]\n")).unwrap();
    answers(&gateway, newer, 200).await;
    assert_eq!(send(Call::post(r#"{"request":{"model":"m"}}"#), newer).await, 403, "its scopes count");
    assert_eq!(send(Call::get("/v1/streams"), &new).await, 401, "it is not in the file any more");

    // An app that signs tickets is known as long as it stands there.
    let claims = json!({ "aud": "tokencast", "exp": from_now(60), "stream": "s" });
    let signed = Key::ed25519(7).ticket("app", &claims);
    assert_eq!(send(Call::get("/v1/streams/s"), &signed).await, 401);
    let (with, public_key) = (fs::read_to_string(&path).unwrap(), base64url(Key::ed25519(7).public()));
    fs::write(&path, format!("{with}[[ticket_keys]]\nkid = \"app\"\npublic_key = \"{public_key}\"\n"))
        .unwrap();
    within("the app", async {
        while send(Call::get("/v1/streams/s"), &signed).await != 200 {
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
    assert!(says(&["key", "list", "--file", file]).ends_with("signs tickets"));

    // The last key is gone: the gateway is closed, and not open.
    says(&["key", "revoke", "n", "--file", file]);
    answers(&gateway, newer, 401).await;
    assert_eq!(gateway.send(&Call::get("/v1/streams")).await.status, 401);
    assert_eq!(send(Call::get("/v1/streams/s"), &signed).await, 200, "the rest of the file stays");
}

#[test]
fn a_gateway_without_its_keys_does_not_start() {
    let directory = Directory::new();
    let (path, toml) = (directory.file("keys.toml"), directory.file("tokencast.toml"));
    fs::write(&toml, format!("[auth]\nkeys_file = {path:?}\n[http]\nlisten = \"0.0.0.0:1\"\n")).unwrap();
    let check = ["check", "--config", toml.to_str().unwrap()];
    assert!(fails(&check).contains("auth.keys_file"), "it is not there");
    says(&["key", "new", "--file", path.to_str().unwrap()]);
    assert!(says(&check).contains("1 keys"));
    fs::set_permissions(&path, Permissions::from_mode(0o604)).unwrap();
    assert!(fails(&check).contains("chmod "));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_makes_tickets() {
    let directory = Directory::new();
    let (toml, private) = (directory.file("tokencast.toml"), directory.file("secret"));
    let provider = Provider::with(Script::says(text("a").bytes).ends(Ending::Hang)).await;
    let mut config = config(Journal::Sqlite, &provider.base_url());
    config.auth.ticket_keys = vec![
        serde_json::from_value(json!({ "kid": "app", "public_key": base64url(Key::ed25519(7).public()) }))
            .unwrap(),
    ];
    let public_key = base64url(Key::ed25519(7).public());
    let other_key = base64url(Key::ed25519(8).public());
    fs::write(
        &toml,
        format!(
            "[journal]\npath = {:?}\n[[auth.ticket_keys]]\nkid = \"app\"\npublic_key = \"{public_key}\"\n\
             [[auth.ticket_keys]]\nkid = \"other\"\npublic_key = \"{other_key}\"\n",
            config.journal.path
        ),
    )
    .unwrap();
    let gateway = Gateway::start(config);
    gateway.start_stream(&json!({ "id": "user42-a", "request": { "model": "m" } })).await;
    let call = async |call: Call, ticket: &str| gateway.send(&call.query("ticket", ticket)).await.status;
    let ticket =
        |arguments: &[&str]| says(&[&["ticket", "--config", toml.to_str().unwrap()], arguments].concat());
    let (get, delete) = (|| Call::get("/v1/streams/user42-a"), || Call::delete("/v1/streams/user42-a"));
    // PKCS #8, as `openssl genpkey -algorithm ed25519` writes it; the seed is 32 bytes of 7.
    let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH\n-----END PRIVATE KEY-----\n";
    fs::write(&private, pem).unwrap();
    fs::set_permissions(&private, Permissions::from_mode(0o600)).unwrap();
    let app = ["--kid", "app", "--key", private.to_str().unwrap()];
    for (arguments, sees) in [
        (vec!["user42-a"], true),
        (vec!["b", "user42-a", "--ttl-s", "60"], true),
        (vec!["--prefix", "user42-"], true),
        (vec!["b"], false),
        (vec!["--prefix", "user43-"], false),
        (vec!["user42-a", "--tenant", "other"], false),
        ([&app[..], &["user42-a"]].concat(), true),
    ] {
        let ticket = ticket(&arguments);
        assert_eq!(call(get(), &ticket).await, if sees { 200 } else { 404 }, "{arguments:?}");
        assert_eq!(call(delete(), &ticket).await, 403, "{arguments:?}");
    }
    let refused =
        |arguments: &[&str]| fails(&[&["ticket", "--config", toml.to_str().unwrap()], arguments].concat());
    assert!(refused(&["a/b"]).contains("a/b"));
    assert!(refused(&[]).contains("<ID>"));
    assert!(refused(&vec!["user42-a"; 400]).contains("too many"));
    assert!(refused(&["a", "--kid", "app"]).contains("--key"));
    // What the gateway would refuse is not made.
    let signed = |kid, more: &[&str]| refused(&[&["a", "--kid", kid, "--key", app[3]], more].concat());
    assert!(signed("nobody", &[]).contains("auth.ticket_keys has no such kid"));
    assert!(signed("other", &[]).contains("another key"));
    assert!(signed("app", &["--tenant", "other"]).contains("tenant"));
    assert!(signed("app", &["--ttl-s", "90000"]).contains("--kid app"));
    fs::set_permissions(&private, Permissions::from_mode(0o644)).unwrap();
    assert!(refused(&[&app[..], &["a"]].concat()).contains("chmod "));
    assert_eq!(call(delete(), &ticket(&["user42-a", "--stop"])).await, 202);
}
