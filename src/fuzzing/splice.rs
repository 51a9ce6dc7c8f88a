//! Requests with streaming switched on.

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::dialect::splice::{
    openai_chat, streaming, streaming_by_default, top_level, top_level_string, without,
};

/// What is a JSON object stays one: it has what was to be set, lacks what was to be left out, and every other member
/// stands there as it stood, in the same order. Other JSON is refused, and what is none is survived: it never gets here.
pub fn splice(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (chat, usage) = (openai_chat(text, false), openai_chat(text, true));
    let spliced = [streaming(text), streaming_by_default(text), without(text, &["model", "stream"])];
    let (model, name) = (top_level(text, "model"), top_level_string(text, "model"));
    let Ok(json) = serde_json::from_str::<&RawValue>(text) else { return };
    let is_object = json.get().starts_with('{');
    assert!(spliced.iter().chain([&chat, &usage]).all(|spliced| spliced.is_ok() == is_object));
    assert!(is_object || model.is_none() && name.is_none());
    let [Ok(always), Ok(by_default), Ok(without)] = spliced else { return };
    let (Ok(chat), Ok(usage)) = (chat, usage) else { return };
    let Some(before) = members(text) else { return };
    let kept = |text: &str, changed: &[&str]| -> Vec<(String, String)> {
        let members = members(text).expect("it is still an object");
        members.into_iter().filter(|(key, _)| !changed.contains(&key.as_str())).collect()
    };
    for (spliced, changed) in [
        (&chat, &["stream"][..]),
        (&always, &["stream"]),
        (&usage, &["stream", "stream_options"]),
        (&by_default, &["stream"]),
        (&without, &["model", "stream"]),
    ] {
        assert_eq!(kept(text, changed), kept(spliced, changed), "{spliced}");
    }
    let values = |text: &str, name: &str| -> Vec<String> {
        let members = members(text).expect("it is still an object").into_iter();
        members.filter(|(key, _)| key == name).map(|(_, value)| value).collect()
    };
    for spliced in [&chat, &always, &usage] {
        let stream = values(spliced, "stream");
        assert!(!stream.is_empty() && stream.iter().all(|value| value == "true"), "{spliced}");
    }
    let asked = before.iter().filter(|(key, _)| key == "stream").count();
    assert_eq!(values(&by_default, "stream"), vec!["true"; asked]);
    assert!(kept(&without, &[]).iter().all(|(key, _)| key != "model" && key != "stream"), "{without}");
    let options = values(&usage, "stream_options");
    let asks = |options: &String| members(options).is_none_or(|members| !members.is_empty());
    assert!(!options.is_empty() && options.iter().all(asks), "{usage}");
}

/// The members of an object with their values as they stand there; none where a key is no text.
fn members(text: &str) -> Option<Vec<(String, String)>> {
    struct Members(Vec<(String, String)>);

    impl<'de> Deserialize<'de> for Members {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Map;

            impl<'de> Visitor<'de> for Map {
                type Value = Members;

                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("an object")
                }

                fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                    let mut members = Vec::new();
                    while let Some(key) = map.next_key::<String>()? {
                        let value: &RawValue = map.next_value().map_err(A::Error::custom)?;
                        members.push((key, value.get().to_owned()));
                    }
                    Ok(Members(members))
                }
            }

            deserializer.deserialize_map(Map)
        }
    }

    serde_json::from_str::<Members>(text).ok().map(|Members(members)| members)
}
