//! Endless seeded text that reads like an answer, in pieces as large as tokens.

use std::collections::VecDeque;

use fastrand::Rng;

/// An endless iterator over token-like pieces: words with their leading space, parts of long words,
/// punctuation, line breaks.
#[derive(Debug)]
pub(super) struct Prose {
    rng: Rng,
    pieces: VecDeque<String>,
    begun: bool,
}

impl Prose {
    pub(super) fn new(rng: Rng) -> Self {
        Self { rng, pieces: VecDeque::new(), begun: false }
    }

    /// A few plain words, as a value for a tool's argument.
    pub(super) fn phrase(&mut self) -> String {
        format!("{} {}", self.pick(ADJECTIVES), self.pick(NOUNS))
    }

    fn passage(&mut self) {
        let mut text = String::from(if self.begun { "\n\n" } else { "" });
        self.begun = true;
        match self.rng.u8(..20) {
            0..13 => {
                for at in 0..self.rng.usize(2..6) {
                    if at > 0 {
                        text.push(' ');
                    }
                    text.push_str(&self.sentence());
                }
                if self.rng.u8(..6) == 0 {
                    text.push(' ');
                    text.push_str(self.pick(EMOJI));
                }
            }
            13..15 => {
                text.push_str("## ");
                text.push_str(&capitalised(&format!("{} {}", self.pick(ADJECTIVES), self.pick(PLURALS))));
            }
            15..18 => {
                for at in 0..self.rng.usize(2..5) {
                    if at > 0 {
                        text.push('\n');
                    }
                    let noun = capitalised(self.pick(NOUNS));
                    text.push_str(&format!("- **{noun}**: {}", self.sentence()));
                }
            }
            18 => {
                let (name, argument) = (self.pick(NOUNS), self.pick(NOUNS));
                let (call, number) = (self.pick(VERBS), self.rng.u16(..1000));
                text.push_str(&format!(
                    "```rust\nfn {name}({argument}: u32) {{\n    {call}({argument}, {number});\n}}\n```"
                ));
            }
            _ => text.push_str(&format!("> {}", self.sentence())),
        }
        tokenise(&text, &mut self.rng, &mut self.pieces);
    }

    fn sentence(&mut self) -> String {
        let mut sentence = self.rng.choice(PATTERNS).copied().unwrap_or_default().to_owned();
        // Slots are filled from the left; a filled-in word never contains a slot.
        while let Some(at) = sentence.find('%') {
            let words = match sentence.as_bytes().get(at + 1) {
                Some(b'a') => ADJECTIVES,
                Some(b'n') => NOUNS,
                Some(b'p') => PLURALS,
                Some(b'v') => VERBS_S,
                Some(b'i') => VERBS,
                Some(b'd') => ADVERBS,
                Some(b'o') => OPENINGS,
                _ => NAMES,
            };
            let word = self.pick(words);
            sentence.replace_range(at..at + 2, word);
            let before = sentence.get(..at).unwrap_or_default();
            if word.starts_with(['a', 'e', 'i', 'o', 'u']) && (before == "a " || before.ends_with(" a ")) {
                sentence.insert(at - 1, 'n');
            }
        }
        capitalised(&sentence)
    }

    /// One of a list that is separated by commas.
    fn pick(&mut self, words: &'static str) -> &'static str {
        let at = self.rng.usize(..=words.matches(", ").count());
        words.split(", ").nth(at).unwrap_or_default()
    }
}

impl Iterator for Prose {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        while self.pieces.is_empty() {
            self.passage();
        }
        self.pieces.pop_front()
    }
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// Cuts as real tokenisers roughly do. The pieces concatenate to the text.
fn tokenise(text: &str, rng: &mut Rng, pieces: &mut VecDeque<String>) {
    let mut piece = String::new();
    let mut letters = 0;
    for char in text.chars() {
        let word = char.is_ascii_alphanumeric() || (char.is_alphabetic() && char < '\u{2e80}');
        let joins = match piece.chars().next_back() {
            None => true,
            Some('\n') => char == '\n',
            Some(' ') => char != '\n',
            Some(last) => {
                let last_word = last.is_alphanumeric() && last < '\u{2e80}';
                // A long word falls apart somewhere behind its fourth letter.
                word && last_word && (letters < 4 || rng.u8(..8) != 0)
            }
        };
        if !joins {
            pieces.push_back(std::mem::take(&mut piece));
            letters = 0;
        }
        letters += usize::from(word);
        piece.push(char);
    }
    if !piece.is_empty() {
        pieces.push_back(piece);
    }
}

/// Slots: %a adjective, %n noun, %p plural, %v verb in the third person, %i infinitive, %d adverb,
/// %o opening, %l name.
const PATTERNS: &[&str] = &[
    "the %a %n %v the %n.",
    "the %n %d %v every %n, and the %p follow.",
    "%o, the %n %v a %a %n.",
    "%o, %p and %p share one %a %n.",
    "to %i the %n, first %i its %p.",
    "when a %n %v the %n, its %p stay %a.",
    "%l has a %a %n that %d %v the %p.",
    "in %l the %p are %a, yet the %n %v them.",
    "you can %i the %n before you %i the %a %p.",
    "why would a %n %i its own %p?",
    "no %n %v without a %n; %o, that is %a.",
    "each %n keeps `%n_%p` in its %n.",
    "a %a %n is **%a**, a %n is not.",
    "%l once said that %p should %i the %n — and %d so.",
    "there are %p that %i, and there are %p that wait.",
    "this %n is %d %a, because the %p %i it.",
    "it is not the %n that %v, it is the %n (see %l).",
    "that means: %i the %p, then %i the %n!",
];
const NOUNS: &str = "river, signal, garden, window, engine, letter, harbour, stream, bridge, circle, pattern, message, \
    reader, writer, ledger, cursor, branch, market, mountain, shadow, question, answer, machine, \
    library, station, lantern, compass, kitchen, orchard, island, village, journey, moment, measure, \
    balance, surface, channel, storm, promise, history, theatre, paragraph, instrument, conversation, \
    experiment, foundation, neighbourhood, café, façade";
const PLURALS: &str = "rivers, signals, gardens, windows, engines, letters, sailors, streams, bridges, patterns, messages, \
    readers, writers, numbers, branches, markets, voices, shadows, questions, answers, machines, tokens, \
    stations, lanterns, maps, stones, orchards, islands, villages, journeys, details, measures, \
    surfaces, channels, storms, promises, examples, instruments, observations, consequences, neighbours, \
    mechanisms, naïvetés, clichés";
const VERBS: &str = "follow, carry, open, measure, gather, describe, answer, cross, balance, remember, question, divide, \
    shape, repeat, observe, translate, collect, compare, protect, repair, explain, join, imagine, \
    understand, reconsider, acknowledge, synchronise, approximate";
const VERBS_S: &str = "follows, carries, opens, measures, gathers, describes, answers, crosses, balances, remembers, \
    questions, divides, shapes, repeats, observes, translates, collects, compares, protects, repairs, \
    explains, joins, imagines, understands, reconsiders, acknowledges, outlives";
const ADJECTIVES: &str = "quiet, narrow, bright, patient, hidden, gentle, sudden, ancient, simple, curious, distant, silver, \
    steady, candid, fragile, ordinary, careful, restless, generous, familiar, remarkable, unexpected, \
    transparent, independent, continuous, déjà-vu, small, long, warm, late, early, open, certain, shared";
const ADVERBS: &str = "slowly, quietly, always, rarely, almost, gladly, simply, barely, suddenly, patiently, often, \
    carefully, surprisingly, independently, deliberately, nearly, still";
const OPENINGS: &str = "in practice, as a rule, for example, of course, in the end, by contrast, at first, for now, in other \
    words, strictly speaking, most of the time, after all, on reflection";
const NAMES: &str = "Ada, Zoë, Mr. Søren, Zürich, Łódź, São Paulo, Kraków, 東京, Reykjavík, Αθήνα, Київ, Niamh, Old Brno, \
    Señora Muñoz, Århus, Grace";
const EMOJI: &str = "🙂, 🚀, 🌊, ✨, 👩‍🚀, 🇪🇺, 👍🏽, 🌱";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_concatenate_to_the_text() {
        for text in ["Hello, world.\n\n- **a** `b_c`: 東京 👩‍🚀!", "", " ", "acknowledges\n", "a  b"]
        {
            let mut pieces = VecDeque::new();
            tokenise(text, &mut Rng::with_seed(1), &mut pieces);
            assert_eq!(pieces.make_contiguous().concat(), text);
        }
    }

    #[test]
    fn it_reads_like_prose_and_repeats_with_its_seed() {
        let text = |seed| Prose::new(Rng::with_seed(seed)).take(3000).collect::<Vec<_>>();
        assert_eq!(text(7), text(7));
        assert_ne!(text(7), text(8));
        let (pieces, whole) = (text(7), text(7).concat());
        assert!(!whole.contains('%'), "a slot was left unfilled");
        assert!(pieces.iter().all(|piece| (1..48).contains(&piece.len())));
        for wanted in ["**", "\n\n", "- ", "`", ". "] {
            assert!(whole.contains(wanted), "{wanted:?} is missing");
        }
        assert!(whole.chars().any(|char| char > '\u{ffff}'), "no emoji");
    }
}
