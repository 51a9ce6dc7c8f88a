//! `POST /v1/embeddings`: small vectors that mean nothing, and are equal for equal inputs.

use serde::Deserialize;
use serde_json::{Value, json};

use super::ask::{Refusal, fnv1a};
use super::script::rng;

/// The length of a vector, unless the request wants another.
const DIMENSIONS: usize = 8;
const DIMENSIONS_MAX: usize = 4096;
/// The most inputs of one request, as at OpenAI.
const INPUTS_MAX: usize = 2048;

#[derive(Deserialize)]
struct Request {
    model: String,
    /// A text, or its tokens, or several of either.
    input: Value,
    dimensions: Option<usize>,
    encoding_format: Option<String>,
}

pub(super) fn answer(bytes: &[u8]) -> Result<String, Refusal> {
    let Request { model, input, dimensions, encoding_format } =
        serde_json::from_slice(bytes).map_err(|error| {
            Refusal::bad(format!("We could not parse the JSON body of your request: {error}"))
        })?;
    let dimensions = dimensions.unwrap_or(DIMENSIONS);
    let inputs = match input {
        Value::Array(inputs) if inputs.first().is_none_or(|first| !first.is_number()) => inputs,
        one => vec![one],
    };
    if !(1..=INPUTS_MAX).contains(&inputs.len()) {
        let message = format!("Invalid 'input': must be from 1 to {INPUTS_MAX} inputs.");
        return Err(Refusal::bad(message).param("input", "invalid_value"));
    }
    if !(1..=DIMENSIONS_MAX).contains(&dimensions) {
        let message = format!("Invalid 'dimensions': must be from 1 to {DIMENSIONS_MAX}.");
        return Err(Refusal::bad(message).param("dimensions", "invalid_value"));
    }
    let base64 = encoding_format.as_deref() == Some("base64");
    let embedding = |(index, input): (usize, &Value)| {
        let vector = vector(&input.to_string(), dimensions);
        let embedding = match base64 {
            true => encoded(&vector.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<_>>()).into(),
            false => json!(vector),
        };
        json!({"object": "embedding", "index": index, "embedding": embedding})
    };
    let data: Vec<_> = inputs.iter().enumerate().map(embedding).collect();
    let tokens: usize = inputs.iter().map(|input| 1 + input.to_string().len() / 4).sum();
    let usage = json!({"prompt_tokens": tokens, "total_tokens": tokens});
    Ok(json!({"object": "list", "data": data, "model": model, "usage": usage}).to_string())
}

/// Of length 1.
fn vector(input: &str, dimensions: usize) -> Vec<f32> {
    let mut rng = rng(fnv1a(input.as_bytes()), 0);
    let vector: Vec<_> = (0..dimensions).map(|_| 2.0 * rng.f32() - 1.0).collect();
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    vector.into_iter().map(|value| value / length).collect()
}

/// In base64, which OpenAI's SDKs ask for unless told otherwise.
fn encoded(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, at| bits << 8 | usize::from(three.get(at).copied().unwrap_or(0)));
        for at in 0..4 {
            let digit = ALPHABET[bits >> (18 - 6 * at) & 63];
            text.push(if at <= three.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(extra: &str) -> Value {
        let body = format!(r#"{{"model":"m",{extra}}}"#);
        serde_json::from_str(&answer(body.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn equal_inputs_have_equal_vectors_of_length_one() {
        let json = read(r#""input":["a","b","a"]"#);
        let of = |index: usize| json["data"][index]["embedding"].clone();
        assert_eq!((of(0), json["data"][2]["index"].as_u64()), (of(2), Some(2)));
        assert_ne!(of(0), of(1));
        let squares: f64 =
            of(0).as_array().unwrap().iter().map(|value| value.as_f64().unwrap().powi(2)).sum();
        assert!((squares - 1.0).abs() < 1e-6, "{squares}");
        assert_eq!(read(r#""input":"a""#)["data"][0]["embedding"], of(0));
        assert_eq!(read(r#""input":[1,2,3],"dimensions":3"#)["data"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn base64_is_that_of_everyone_else() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(encoded(bytes.as_bytes()), text);
        }
        let json = read(r#""input":"a","encoding_format":"base64""#);
        assert_eq!(json["data"][0]["embedding"].as_str().unwrap().len(), (4 * DIMENSIONS).div_ceil(3) * 4);
    }

    #[test]
    fn a_bad_request_is_told_what_is_wrong() {
        for (body, part) in [
            ("{", "could not parse"),
            (r#"{"model":"m","input":[]}"#, "'input'"),
            (r#"{"model":"m","input":"a","dimensions":0}"#, "'dimensions'"),
        ] {
            let refusal = answer(body.as_bytes()).unwrap_err();
            assert!(refusal.message.contains(part), "{body}: {}", refusal.message);
        }
    }
}
