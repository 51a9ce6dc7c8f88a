use std::path::Path;

use toml::{Table, Value};

use super::*;

fn load(file: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
    let path = std::env::temp_dir()
        .join(format!("tokencast-{}.toml", crate::crypto::hex(&crate::crypto::random::<8>())));
    std::fs::write(&path, file).unwrap();
    let variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let loaded = Sources { file: Some(path.clone()), variables, ..Sources::default() }.load();
    std::fs::remove_file(path).unwrap();
    loaded.map_err(|problems| problems.to_string())
}

#[test]
fn nothing_configured_is_the_default() {
    assert_eq!(Sources::default().load().unwrap(), Config::default());
}

#[test]
fn the_documented_file_is_the_default() {
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config/tokencast.toml")).unwrap();
    assert_eq!(toml::from_str::<Config>(&text).unwrap(), Config::default());
    let documented: Table = toml::from_str(&text).unwrap();
    let complete: Table = toml::from_str(&toml::to_string(&Config::default()).unwrap()).unwrap();
    assert_eq!(documented, complete, "every key stands in the file");
}

#[test]
fn the_example_files_are_right() {
    for name in ["dev.toml", "production.toml"] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name);
        Sources { file: Some(file), ..Sources::default() }
            .load()
            .unwrap_or_else(|problem| panic!("{name}: {problem}"));
    }
}

#[test]
fn layers_override_each_other() {
    let file = "[http]\nlisten = \"127.0.0.1:1\"\n[retention]\nttl_s = 5\n";
    let config =
        load(file, &[("TOKENCAST_HTTP__LISTEN", "127.0.0.1:2"), ("TOKENCAST_RETENTION__TTL_S", "7")]);
    let config = config.unwrap();
    assert_eq!((config.http.listen.port(), config.retention.ttl_s), (2, 7));
    let flags = vec![("http.listen", Value::String("127.0.0.1:3".into()))];
    let variables = vec![("TOKENCAST_HTTP__LISTEN".into(), "127.0.0.1:2".into())];
    let config = Sources { variables, flags, ..Sources::default() }.load().unwrap();
    assert_eq!(config.http.listen.port(), 3);
}

#[test]
fn a_secret_in_place_of_a_name_is_refused_and_not_shown() {
    let provider = "[[providers]]\nname = \"p\"\ndialect = \"openai\"\nbase_url = \"http://h/v1\"\n";
    let key = "[[auth.ticket_keys]]\nkid = \"app\"\nalgorithm = \"HS256\"\n";
    for (file, field) in [(provider, "api_key_env"), (key, "secret_env")] {
        let problem = load(&format!("{file}{field} = \"sk-proj-canary\"\n"), &[]).unwrap_err();
        assert!(problem.contains(field) && problem.contains("name of an environment variable"), "{problem}");
        assert!(!problem.contains("canary"), "{problem}");
    }
    let urls = [
        (provider.replace("http://h", "http://canary:pass@h"), "providers.base_url"),
        (provider.replace("http://h", "http://user:canary@h"), "providers.base_url"),
        (provider.replace("http://h", "ftp://user:canary@h"), "providers.base_url"),
        (provider.replace("/v1", "/v1?key=canary"), "providers.base_url"),
        ("[http]\npublic_url = \"https://user:canary@h\"\n".into(), "http.public_url"),
        ("[webtransport]\npublic_url = \"https://user:canary@h\"\n".into(), "webtransport.public_url"),
    ];
    for (file, field) in urls {
        let problem = load(&file, &[]).unwrap_err();
        assert!(problem.contains(field) && problem.contains("without user, password and query"), "{problem}");
        assert!(!problem.contains("canary"), "{problem}");
    }
    for text in ["http://user:canary@h", "p=http//user:canary@h"] {
        let problem =
            Sources { providers: vec![text.into()], ..Sources::default() }.load().unwrap_err().to_string();
        assert!(problem.contains("NAME=URL") && !problem.contains("canary"), "{problem}");
    }
}

#[test]
fn budgets_have_a_second_name() {
    let file = "[limits]\nmax_disk_bytes = 5\nmax_memory_bytes = 6\n";
    let limits = load(file, &[("TOKENCAST_LIMITS__MAX_DISK_BYTES", "7")]).unwrap().limits;
    assert_eq!((limits.disk_bytes_max, limits.memory_bytes_max), (7, 6));
}

#[test]
fn what_is_wrong_is_named() {
    let check = |file: &str, variables: &[(&str, &str)], wanted: &[&str]| {
        let problem = load(file, variables).unwrap_err();
        for part in wanted {
            assert!(problem.contains(part), "{problem:?} does not say {part:?}");
        }
    };
    check("[http]\nlisten = \"nowhere\"", &[], &["line 2", "listen = \"nowhere\"", "socket address"]);
    check("[htpp]\n", &[], &["unknown field `htpp`", "`http`"]);
    check(
        "",
        &[("TOKENCAST_HTTP__LISTEN", "nowhere")],
        &["http.listen", "nowhere", "TOKENCAST_HTTP__LISTEN"],
    );
    check("", &[("TOKENCAST_HTTP_LISTEN", "127.0.0.1:1")], &["http_listen", "TOKENCAST_HTTP__LISTEN"]);
    check("[http]\nlisten = \"0.0.0.0:8080\"", &[], &["http.listen = 0.0.0.0:8080", "tokencast key"]);
    check("[upstream]\nsilent_s = 0", &[], &["upstream.silent_s = 0", "at least 1"]);
    check("[quotas]\nviewers_max = 0", &[], &["quotas.viewers_max = 0", "leave it out"]);
    let tenants = "[[tenants]]\nname = \"a\"\nquotas = { running_max = 0 }\n[[tenants]]\nname = \"a\"";
    check(tenants, &[], &["tenants.quotas.running_max = 0", "tenants.name = a", "twice"]);
    check("[[tenants]]\nname = \"a\"\nquotas = { streams = 1 }", &[], &["streams", "running_max"]);
    check("[http]\ncors_origins = [\"*\"]", &[], &["http.cors_origins = *", "exact origins"]);
    let provider = "[[providers]]\nname = \"a\"\ndialect = \"openai\"\nbase_url = \"http://x/v1\"\n";
    check(&provider.repeat(2), &[], &["providers.name = a", "another one"]);
    check("[ai_sdk]\nprovider = \"b\"", &[], &["ai_sdk.provider = b", "one of the [[providers]]"]);
    check("[ai_sdk]\nmodel_from_body = false", &[], &["ai_sdk.model_from_body = false", "ai_sdk.model"]);
    check(&provider.replace("openai", "smoke"), &[], &["smoke", "`openai`, `anthropic`"]);
}

#[test]
fn with_nothing_configured_openai_is_there_if_its_key_is() {
    let with = |name: &str| Sources { variables: vec![(name.into(), "sk-x".into())], ..Sources::default() };
    assert_eq!(with("OPENAI_API_KEY").load().unwrap().providers[0].name, "openai");
    assert!(with("OTHER_KEY").load().unwrap().providers.is_empty());
    let local = Sources { providers: vec!["local=http://127.0.0.1:1/v1".into()], ..with("OPENAI_API_KEY") };
    assert_eq!(local.load().unwrap().providers.len(), 1);
}
