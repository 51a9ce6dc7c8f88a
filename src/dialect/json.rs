//! Lenient reading of the JSON that providers send: one pass over an object whose leaves stay borrowed, so
//! that a leaf of an unexpected type, a number too large or a key given twice (the last counts) costs nothing
//! but itself.

#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use memchr::memchr;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use smallvec::SmallVec;

use crate::cast::event::Delta;

/// A member as it stands in the text, to be looked at when its type is known to matter; `None` for absent and
/// `null`.
pub(super) type Leaf<'a> = Option<&'a RawValue>;

/// The object that `text` is; `None` if it is none, or no JSON at all.
pub(super) fn object<'a, T: Shape<'a>>(text: &'a str) -> Option<T> {
    serde_json::from_str::<Any<Option<T>>>(text).ok()?.0
}

/// What a list holds, which is one thing nearly always.
pub(super) type List<T> = SmallVec<[T; 1]>;

/// The objects of the list that `leaf` is; none if it is no list.
pub(super) fn list<'a, T: Shape<'a>>(leaf: Leaf<'a>) -> List<T> {
    leaf.and_then(|leaf| serde_json::from_str::<Any<List<T>>>(leaf.get()).ok()).unwrap_or_default().0
}

/// A decoded key (WTF-8), and its value as a slice of the text.
pub(super) type Member<'a> = (Cow<'a, [u8]>, &'a str);

/// The members of the object that `text` is, in their order.
pub(super) fn members(text: &str) -> Result<Vec<Member<'_>>, serde_json::Error> {
    struct Members;

    impl<'de> Visitor<'de> for Members {
        type Value = Vec<Member<'de>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(Bytes(key)) = map.next_key()? {
                members.push((key, map.next_value::<&RawValue>()?.get()));
            }
            Ok(members)
        }
    }

    let mut deserializer = serde_json::Deserializer::from_str(text);
    let members = deserializer.deserialize_map(Members)?;
    deserializer.end()?;
    Ok(members)
}

/// The number that `leaf` is, if it fits.
pub(super) fn number<T: FromStr>(leaf: Leaf<'_>) -> Option<T> {
    leaf?.get().parse().ok()
}

/// Whether `leaf` is `true`.
pub(super) fn is_true(leaf: Leaf<'_>) -> bool {
    leaf.is_some_and(|leaf| leaf.get() == "true")
}

/// The string that `leaf` is, decoded; `None` if it is none, or empty.
pub(super) fn string(leaf: Leaf<'_>) -> Option<String> {
    word(leaf).map(Cow::into_owned)
}

/// The same, borrowed where it has no escapes.
pub(super) fn word(leaf: Leaf<'_>) -> Option<Cow<'_, str>> {
    let text = Text::of(leaf)?;
    if let Some(plain) = text.plain() {
        return Some(plain.into());
    }
    let (mut joint, mut string) = (Joint::default(), Delta::default());
    joint.push(text, &mut string);
    joint.settle(&mut string);
    Some(string.into_string().into())
}

/// Arguments that come whole: a list or an object as it stands in the text, a string decoded; of anything else there
/// are none.
pub(super) fn whole(arguments: Leaf<'_>) -> Delta {
    let json = arguments.map(RawValue::get).filter(|json| json.starts_with(['{', '[']));
    json.map(Delta::from).or_else(|| word(arguments).map(Delta::from)).unwrap_or_default()
}

/// The characters of a JSON string that has some. Not decoded yet: only a [`Joint`] knows what becomes of
/// half an emoji.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a>(&'a RawValue);

impl<'a> Text<'a> {
    /// The string that `leaf` is; `None` if it is none, or empty.
    pub(super) fn of(leaf: Leaf<'a>) -> Option<Self> {
        leaf.filter(|leaf| leaf.get().starts_with('"') && leaf.get() != "\"\"").map(Text)
    }

    /// The characters between the quotes, escapes and all.
    pub(super) fn escaped(self) -> &'a str {
        self.0.get().strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default()
    }

    /// The string itself, if it has no escapes.
    pub(super) fn plain(self) -> Option<&'a str> {
        Some(self.escaped()).filter(|escaped| memchr(b'\\', escaped.as_bytes()).is_none())
    }

    /// Whether the string is `other`, which needs no escapes.
    pub(super) fn is(self, other: &str) -> bool {
        self.escaped() == other
    }
}

/// Joins the strings of one channel. A token can end inside an emoji; its first half, the escape of a lone
/// high surrogate, then waits here for the second half at the start of the next string. A half without its
/// other half becomes U+FFFD.
#[derive(Debug, Default)]
pub(super) struct Joint {
    high: Option<u16>,
}

impl Joint {
    /// Appends the characters of the channel's next string to `out`.
    pub(super) fn push(&mut self, text: Text<'_>, out: &mut Delta) {
        if let Some(plain) = text.plain() {
            return self.push_str(plain, out);
        }
        // serde_json decodes lone surrogates for bytes alone: three bytes each, which UTF-8 forbids and WTF-8
        // allows.
        let Ok(Bytes(wtf8)) = serde_json::from_str(text.0.get()) else { return };
        let mut rest = &*wtf8;
        while let Err(error) = std::str::from_utf8(rest) {
            let (valid, half) = rest.split_at(error.valid_up_to());
            self.push_str(std::str::from_utf8(valid).unwrap_or_default(), out);
            let [_, b, c, tail @ ..] = half else { return };
            self.push_half(0xD000 | u16::from(b & 0x3F) << 6 | u16::from(c & 0x3F), out);
            rest = tail;
        }
        self.push_str(std::str::from_utf8(rest).unwrap_or_default(), out);
    }

    fn push_str(&mut self, valid: &str, out: &mut Delta) {
        if !valid.is_empty() {
            self.settle(out);
            out.push_str(valid);
        }
    }

    fn push_half(&mut self, half: u16, out: &mut Delta) {
        if (0xD800..0xDC00).contains(&half) {
            self.settle(out);
            self.high = Some(half);
        } else {
            let units = self.high.take().into_iter().chain([half]);
            out.extend(char::decode_utf16(units).map(|char| char.unwrap_or(char::REPLACEMENT_CHARACTER)));
        }
    }

    /// Gives up waiting: nothing that could be a second half will come.
    pub(super) fn settle(&mut self, out: &mut Delta) {
        if self.high.take().is_some() {
            out.push(char::REPLACEMENT_CHARACTER);
        }
    }
}

/// What can be read of some type of JSON value; of any other type, it is its default.
pub(super) trait Shape<'de>: Default {
    fn map<A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        while map.next_entry::<Bytes<'de>, IgnoredAny>()?.is_some() {}
        Ok(Self::default())
    }

    fn seq<A: SeqAccess<'de>>(mut seq: A) -> Result<Self, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Self::default())
    }
}

/// `None` is whatever is no object.
impl<'de, T: Shape<'de>> Shape<'de> for Option<T> {
    fn map<A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        T::map(map).map(Some)
    }
}

/// Only the objects of a list.
impl<'de, T: Shape<'de>> Shape<'de> for List<T> {
    fn seq<A: SeqAccess<'de>>(mut seq: A) -> Result<Self, A::Error> {
        let mut list = Self::new();
        while let Some(Any(item)) = seq.next_element::<Any<Option<T>>>()? {
            list.extend(item);
        }
        Ok(list)
    }
}

/// Declares a [`Shape`] by the members that are read of an object: `field: type = b"key"`.
macro_rules! shape {
    ($(#[$meta:meta])* $name:ident { $($field:ident: $type:ty = $key:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        pub(in crate::dialect) struct $name<'a> {
            $(pub(in crate::dialect) $field: $type,)*
        }

        impl<'a> $crate::dialect::json::Shape<'a> for $name<'a> {
            fn map<A: serde::de::MapAccess<'a>>(mut map: A) -> Result<Self, A::Error> {
                let mut shape = Self::default();
                while let Some(key) = map.next_key::<$crate::dialect::json::Bytes<'a>>()? {
                    match &*key.0 {
                        $($key => shape.$field = map.next_value()?,)*
                        _ => drop(map.next_value::<serde::de::IgnoredAny>()?),
                    }
                }
                Ok(shape)
            }
        }
    };
}
pub(super) use shape;

/// A value of any type, read as a [`Shape`].
#[derive(Debug, Default)]
pub(super) struct Any<T>(pub(super) T);

impl<'de, T: Shape<'de>> Deserialize<'de> for Any<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Lenient<T>(PhantomData<T>);

        impl<'de, T: Shape<'de>> Visitor<'de> for Lenient<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::map(map)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<T, A::Error> {
                T::seq(seq)
            }

            fn visit_unit<E: Error>(self) -> Result<T, E> {
                Ok(T::default())
            }

            fn visit_bool<E: Error>(self, _: bool) -> Result<T, E> {
                Ok(T::default())
            }

            fn visit_i64<E: Error>(self, _: i64) -> Result<T, E> {
                Ok(T::default())
            }

            fn visit_u64<E: Error>(self, _: u64) -> Result<T, E> {
                Ok(T::default())
            }

            fn visit_f64<E: Error>(self, _: f64) -> Result<T, E> {
                Ok(T::default())
            }

            fn visit_str<E: Error>(self, _: &str) -> Result<T, E> {
                Ok(T::default())
            }
        }

        deserializer.deserialize_any(Lenient(PhantomData)).map(Any)
    }
}

/// A string as WTF-8: unlike `str`, it can hold lone surrogates.
pub(super) struct Bytes<'a>(pub(super) Cow<'a, [u8]>);

impl<'de: 'a, 'a> Deserialize<'de> for Bytes<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Wtf8;

        impl<'de> Visitor<'de> for Wtf8 {
            type Value = Bytes<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_bytes<E: Error>(self, bytes: &'de [u8]) -> Result<Bytes<'de>, E> {
                Ok(Bytes(Cow::Borrowed(bytes)))
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Bytes<'de>, E> {
                Ok(Bytes(Cow::Owned(bytes.to_vec())))
            }
        }

        deserializer.deserialize_bytes(Wtf8)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Pushes each of `strings`, given as JSON, and settles at the end.
    fn joined(strings: &[&str]) -> Vec<Delta> {
        let (mut joint, mut joined) = (Joint::default(), Vec::new());
        for json in strings {
            let mut out = Delta::default();
            let leaf: &RawValue = serde_json::from_str(json).unwrap();
            if let Some(text) = Text::of(Some(leaf)) {
                joint.push(text, &mut out);
            }
            joined.push(out);
        }
        let mut out = Delta::default();
        joint.settle(&mut out);
        joined.extend((!out.is_empty()).then_some(out));
        joined
    }

    #[test]
    fn strings_are_joined() {
        let check =
            |strings: &[&str], expected: &[&str]| assert_eq!(joined(strings), expected, "{strings:?}");
        check(&[r#""a""#, r#""b""#], &["a", "b"]);
        check(&[r#""""#, "null", "1", "[]", "{}"], &["", "", "", "", ""]);
        check(&[r#""\"""#, r#""\\""#, r#""\"a\"""#], &["\"", "\\", "\"a\""]);
        check(&[r#""\u00e9\/\n\u2028""#], &["é/\n\u{2028}"]);
        check(&[r#""\ud83d\ude00""#], &["😀"]);
        check(&[r#""a\ud83d""#, r#""\ude00b""#], &["a", "😀b"]);
        check(&[r#""\uD83D""#, r#""""#, r#""\uDE00""#], &["", "", "😀"]);
        check(&[r#""\ud83d""#, r#""\ude00\ud83d""#, r#""\ude00""#], &["", "😀", "😀"]);
        check(&[r#""\ud83d""#, r#""a""#], &["", "\u{FFFD}a"]);
        check(&[r#""\ud83d""#, r#""\n""#], &["", "\u{FFFD}\n"]);
        check(&[r#""\ud83d""#, r#""\ud83d""#], &["", "\u{FFFD}", "\u{FFFD}"]);
        check(&[r#""\ud83d\ud83d\ude00""#], &["\u{FFFD}😀"]);
        check(&[r#""\ude00""#], &["\u{FFFD}"]);
        check(&[r#""\ude00\ud83d""#, r#""x""#], &["\u{FFFD}", "\u{FFFD}x"]);
        check(&[r#""a\ud83db""#], &["a\u{FFFD}b"]);
        check(&[r#""é\udbff""#, r#""\udfff""#], &["é", "\u{10FFFF}"]);
        check(&[r#""\ud83d""#], &["", "\u{FFFD}"]);
    }

    proptest! {
        /// Whatever becomes of UTF-16 units cut into strings at will, it is what the standard library makes
        /// of them uncut.
        #[test]
        fn units_cut_at_will(
            units in vec(prop_oneof![any::<u16>(), 0xD7FF..=0xE000u16, 0x20..0x7Fu16], 0..24),
            size in 1..5usize,
        ) {
            let strings: Vec<String> = units
                .chunks(size)
                .map(|units| units.iter().map(|unit| format!("\\u{unit:04x}")).collect::<String>())
                .map(|escapes| format!("\"{escapes}\""))
                .collect();
            let strings: Vec<&str> = strings.iter().map(String::as_str).collect();
            prop_assert_eq!(joined(&strings).concat(), String::from_utf16_lossy(&units));
        }
    }

    shape! {
        Outer {
            leaf: Leaf<'a> = b"leaf",
            inner: Any<Inner<'a>> = b"inner",
            list: Any<List<Inner<'a>>> = b"list",
        }
    }

    shape! {
        Inner {
            leaf: Leaf<'a> = b"leaf",
        }
    }

    #[test]
    fn objects_are_read_leniently() {
        type Read<'a> = (Option<&'a str>, Option<&'a str>, &'a [Option<&'a str>]);
        let check = |text: &str, expected: Option<Read<'_>>| {
            let outer = object::<Outer<'_>>(text);
            let read = outer.as_ref().map(|outer| {
                let list: Vec<_> = outer.list.0.iter().map(|inner| inner.leaf.map(RawValue::get)).collect();
                (outer.leaf.map(RawValue::get), outer.inner.0.leaf.map(RawValue::get), list)
            });
            assert_eq!(read, expected.map(|(leaf, inner, list)| (leaf, inner, list.to_vec())), "{text}");
        };
        check("{}", Some((None, None, &[])));
        check(
            r#"{"leaf":1,"inner":{"leaf":2},"list":[{"leaf":3}]}"#,
            Some((Some("1"), Some("2"), &[Some("3")])),
        );
        check(r#"{"leaf":null,"inner":null,"list":null}"#, Some((None, None, &[])));
        check(r#"{"inner":[{"leaf":1}],"list":{"leaf":2}}"#, Some((None, None, &[])));
        check(r#"{"inner":true,"list":"x","leaf":"y"}"#, Some((Some("\"y\""), None, &[])));
        check(r#"{"inner":-1,"list":1.5}"#, Some((None, None, &[])));
        check(r#"{"inner":18446744073709551616,"list":[1,null,"x",[],{}]}"#, Some((None, None, &[None])));
        check(r#"{"leaf":1e999,"x":1e999}"#, Some((Some("1e999"), None, &[])));
        check(r#"{"leaf":1,"leaf":2}"#, Some((Some("2"), None, &[])));
        check(r#"{"\ud83d":1,"l\u0065af":2,"x":"\ude00"}"#, Some((Some("2"), None, &[])));
        check(r#" {"leaf" : [1, 2] } "#, Some((Some("[1, 2]"), None, &[])));
        check("[]", None);
        check("null", None);
        check("", None);
        check("{", None);
        check("{}x", None);
        let deep = format!(r#"{{"x":{}{},"leaf":1}}"#, "[".repeat(100_000), "]".repeat(100_000));
        check(&deep, Some((Some("1"), None, &[])));
    }
}
