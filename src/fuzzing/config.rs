//! Configuration files and variables.

use std::fs;

use super::directory;
use crate::config::Sources;

/// Any text is a configuration, which can be written down and read again, or is refused with a sentence. Behind a NUL
/// stand variables, a line each.
pub fn config(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let file = directory("config").join("tokencast.toml");
    fs::write(&file, parts.next().unwrap_or_default()).expect("it can be written");
    let variables = String::from_utf8_lossy(parts.next().unwrap_or_default());
    let variables = variables.lines().filter_map(|line| line.split_once('='));
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let sources = Sources {
        file: Some(file.clone()),
        variables: variables.filter(|(name, _)| name.starts_with("TOKENCAST_")).collect(),
        ..Sources::default()
    };
    match sources.load() {
        Ok(config) => {
            fs::write(&file, toml::to_string(&config).expect("it is TOML")).expect("it can be written");
            let again = Sources { file: Some(file), ..Sources::default() }.load();
            assert_eq!(again.expect("it was one"), config);
        }
        Err(problems) => assert!(!problems.to_string().trim().is_empty()),
    }
}
