//! The dialects over whole bodies: our own fixtures, the recorded corpus, and bytes that no provider would send.
//!
//! `spoken` is the table of dialects and `fold` what a body amounts to; `chat` and `sdk` are readers that are not ours.

#![allow(clippy::unwrap_used)]

mod chat;
mod fold;
#[path = "../oracle/node.rs"]
mod node;
mod sdk;
mod spoken;

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;
use tokencast::dialect::Verdict;
use tokencast::upstream::split::Piece;

use self::fold::read;
use self::spoken::{ALL, CHAT, Spoken, complete};

#[test]
fn fixtures_fold_as_expected() {
    for spoken in &ALL {
        assert!(!spoken.fixtures().is_empty(), "{}", spoken.name);
        for path in spoken.fixtures() {
            let (folded, verdict) = read(spoken, &spoken.blocks(&std::fs::read(&path).unwrap()));
            let expected: Value =
                serde_json::from_slice(&std::fs::read(path.with_extension("json")).unwrap()).unwrap();
            let actual = folded.to_json(&verdict);
            assert!(actual == expected, "{}\nfolds to {actual:#}\nexpected {expected:#}", path.display());
        }
    }
}

#[test]
fn recorded_chat_completions_fold_without_loss() {
    for path in CHAT.recorded() {
        let body = std::fs::read(&path).unwrap();
        let expected = chat::read(std::str::from_utf8(&body).unwrap());
        let read = read(&CHAT, &CHAT.blocks(&body));
        assert!(read == expected, "{}\nfolds to {read:#?}\nexpected {expected:#?}", path.display());
    }
}

#[test]
fn recorded_bodies_are_whole() {
    for spoken in &ALL {
        let paths = spoken.recorded();
        for path in &paths {
            let (folded, verdict) = read(spoken, &spoken.blocks(&std::fs::read(path).unwrap()));
            assert_ne!(verdict, Verdict::Unfinished, "{}", path.display());
            assert!(folded.meta.is_some(), "{}", path.display());
        }
        println!("{} recorded streams of {}", paths.len(), spoken.name);
    }
}

/// A body that breaks off in front of its last word is not taken for a whole one.
#[test]
fn a_body_cut_anywhere_says_no_more_than_the_whole() {
    for spoken in &ALL {
        for path in spoken.fixtures() {
            let body = std::fs::read(&path).unwrap();
            let whole = read(spoken, &spoken.blocks(&body));
            for end in (0..body.len()).step_by(7) {
                let cut = read(spoken, &spoken.blocks(&body[..end]));
                let done = matches!(cut.1, Verdict::Terminal | Verdict::Failed { .. });
                assert!(!done || cut == whole, "{} up to {end}: {cut:#?}", path.display());
                let text =
                    |read: &(fold::Folded, _)| read.0.choices.get(&0).map(|choice| choice.text.clone());
                let (cut, whole) = (text(&cut).unwrap_or_default(), text(&whole).unwrap_or_default());
                assert!(whole.starts_with(&cut), "{} up to {end}: {cut:?}, then {whole:?}", path.display());
            }
        }
    }
}

/// Blocks of a dialect's fixtures, perhaps with some of their bytes replaced, removed or inserted.
fn mutated() -> impl Strategy<Value = (&'static Spoken, Vec<Piece>)> {
    let spoken = prop::sample::select(ALL.iter().collect::<Vec<_>>());
    let blocks = |spoken: &Spoken| -> Vec<Piece> {
        spoken.fixtures().iter().flat_map(|path| spoken.blocks(&std::fs::read(path).unwrap())).collect()
    };
    let fixtures: Vec<_> = ALL.iter().map(|spoken| (spoken.name, blocks(spoken))).collect();
    spoken.prop_flat_map(move |spoken| {
        let (_, blocks) = fixtures.iter().find(|(name, _)| *name == spoken.name).unwrap();
        let edits = vec((any::<prop::sample::Index>(), 0..4usize, inserted()), 0..3);
        let block = (prop::sample::select(blocks.clone()), edits).prop_map(|(block, edits)| {
            let mut bytes = block.bytes.to_vec();
            for (at, remove, insert) in edits {
                let start = at.index(bytes.len().max(1)).min(bytes.len());
                let end = (start + remove).min(bytes.len());
                bytes.splice(start..end, insert);
            }
            Piece { bytes: bytes.into(), complete: block.complete }
        });
        vec(block, 0..12).prop_map(move |blocks| (spoken, blocks))
    })
}

fn inserted() -> impl Strategy<Value = Vec<u8>> {
    let tokens =
        vec!["{", "}", "[", "]", "\"", ",", ":", "null", "1e999", "\\ud83d", "\\", "-1", "{}", "0", "1"];
    prop_oneof![
        vec(any::<u8>(), 0..3),
        prop::sample::select(tokens).prop_map(|token| token.as_bytes().to_vec()),
    ]
}

fn config() -> ProptestConfig {
    // There is no `lib.rs` beside this file, where proptest would look for a place to keep failures.
    ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    /// `read` asserts that nothing follows a final verdict, and `Folded` the rules of events.
    #[test]
    fn any_bytes_are_survived(blocks in vec(vec(any::<u8>(), 0..64), 0..8)) {
        let blocks: Vec<_> = blocks.into_iter().map(complete).collect();
        ALL.iter().for_each(|spoken| drop(read(spoken, &blocks)));
    }

    #[test]
    fn mutated_blocks_are_survived((spoken, blocks) in mutated()) {
        read(spoken, &blocks);
    }

    /// Text escaped unit by unit and cut into deltas at will, also inside of emoji.
    #[test]
    fn text_survives_any_cut(text in "[a-z\\\\\"\u{e9}\u{2028}\u{1f600}]{0,24}", size in 1..6usize) {
        let units: Vec<u16> = text.encode_utf16().collect();
        for spoken in &ALL {
            let block = |units: &[u16]| {
                let escapes: String = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
                spoken.block(&spoken.delta.replace("TEXT", &format!("\"{escapes}\"")))
            };
            let blocks: Vec<Piece> = units.chunks(size).map(block).collect();
            let (folded, _) = read(spoken, &blocks);
            let said: String = folded.choices.into_values().map(|choice| choice.text).collect();
            prop_assert_eq!(&said, &text, "{}", spoken.name);
        }
    }
}
