//! The corpora and everything that fuzzers have ever found, through the same functions, without a fuzzer; and what is
//! near to them, by chance, the same each time.

use std::fs;
use std::path::{Path, PathBuf};

/// All files below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

/// Runs all files below a directory, and so many inputs that are near to each.
fn replay(target: fn(&[u8]), directory: &Path, near_max: usize) -> usize {
    let inputs: Vec<Vec<u8>> = files(directory).iter().map(|path| fs::read(path).unwrap()).collect();
    let mut random = fastrand::Rng::with_seed(7);
    for input in &inputs {
        Shown(input).run(target);
        for _ in 0..near_max {
            Shown(&changed(input, &inputs, &mut random)).run(target);
        }
    }
    inputs.len()
}

/// The number of inputs to be made of each, which a long run multiplies.
fn near(usually: usize) -> usize {
    if std::env::var_os("TOKENCAST_LONG").is_some() { usually * 1000 } else { usually }
}

/// The input with some bytes left out, repeated, changed, or taken from another one.
fn changed(input: &[u8], others: &[Vec<u8>], random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..random.usize(1..5) {
        let begin = random.usize(0..=bytes.len());
        let end = bytes.len().min(begin + random.usize(0..16));
        match random.u8(0..4) {
            0 => drop(bytes.drain(begin..end)),
            1 => bytes.extend_from_within(begin..end),
            2 => bytes[begin..end].iter_mut().for_each(|byte| *byte = random.u8(..)),
            _ => {
                let other = random.choice(others).expect("there is one at least");
                let from = random.usize(0..=other.len());
                let to = other.len().min(from + random.usize(0..64));
                bytes.splice(begin..end, other[from..to].iter().copied());
            }
        }
    }
    bytes
}

/// An input that is shown if it fails.
struct Shown<'a>(&'a [u8]);

impl Shown<'_> {
    fn run(&self, target: fn(&[u8])) {
        target(self.0);
    }
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("it was b\"{}\"", self.0.escape_ascii());
        }
    }
}

macro_rules! replays {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
            let replay = |kept: &str, near_max: usize| {
                replay(super::$name, &root.join(kept).join(stringify!($name)), near_max)
            };
            // Fuzzers have been near to the corpora already.
            let replayed = replay("seeds", near(20)) + replay("regressions", near(20)) + replay("corpus", 0);
            assert!(replayed > 0, "nothing is replayed");
            super::$name(&[]);
        })*

        const REPLAYED: &[&str] = &[$(stringify!($name)),*];
    };
}

replays! {
    arguments client_records client_sse codec config control dialect http journal request rows splice split ticket wire
}

/// A target that nobody runs finds nothing.
#[test]
fn every_target_has_a_fuzzer() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    for name in REPLAYED {
        let fuzzer = fs::read_to_string(root.join(format!("targets/{name}.rs"))).unwrap();
        assert!(fuzzer.contains(&format!("tokencast::fuzzing::{name}(data)")), "{name}");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
    }
    assert_eq!(manifest.matches("[[bin]]").count(), REPLAYED.len());
}

#[test]
fn what_providers_and_gateways_were_recorded_to_say() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for target in [super::split, super::dialect, super::splice, super::client_sse, super::client_records] {
        assert!(replay(target, &fixtures, near(1)) > 100, "they are not where they were");
    }
}
