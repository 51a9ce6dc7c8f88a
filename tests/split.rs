//! Bytes → blocks → messages, against three readings of the rules that are not ours in the code: where blocks
//! end, by looking at the whole body; what they say, by the WHATWG algorithm over the whole body; and npm's
//! `eventsource-parser`.

#[path = "oracle/node.rs"]
mod node;
#[path = "oracle/sse.rs"]
mod whatwg;

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use proptest::prelude::*;
use tokencast::dialect::sse::{self, Message};
use tokencast::upstream::split::{Framing, Piece, Splitter};

const LIMIT: usize = 1 << 20;

/// A body's blocks, and whether it was given up because one was too large.
fn cut<'a>(
    framing: Framing,
    block_bytes_max: usize,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Piece>, bool) {
    let mut splitter = Splitter::new(framing, block_bytes_max);
    let mut out = Vec::new();
    let failed =
        chunks.into_iter().any(|chunk| splitter.push(Bytes::copy_from_slice(chunk), &mut out).is_err());
    out.extend(splitter.finish());
    (out, failed)
}

fn messages(pieces: &[Piece]) -> Vec<Message<'_>> {
    let complete = pieces.iter().enumerate().filter(|(_, piece)| piece.complete);
    complete.filter_map(|(i, piece)| sse::parse(&piece.bytes, i == 0)).collect()
}

/// Chunks of these sizes, over and over.
fn chunked<'a>(body: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut rest = body;
    let mut chunks = Vec::new();
    for &size in sizes.iter().cycle().take_while(|_| sizes.iter().any(|&size| size > 0)) {
        if rest.is_empty() {
            break;
        }
        let (chunk, tail) = rest.split_at(size.min(rest.len()));
        chunks.push(chunk);
        rest = tail;
    }
    chunks.push(rest);
    chunks
}

/// Where SSE blocks end, from the whole body: the rule of DESIGN §3.2, read once more.
fn borders(body: &[u8]) -> Vec<Piece> {
    let piece = |(bytes, complete)| Piece { bytes: Bytes::copy_from_slice(bytes), complete };
    whatwg::blocks(body).into_iter().map(piece).collect()
}

/// The events of a body by the letter of the WHATWG.
fn spec(body: &[u8]) -> Vec<Message<'static>> {
    let message =
        |(event, data): (Option<String>, String)| Message { event: event.map(Into::into), data: data.into() };
    whatwg::events(body).into_iter().map(message).collect()
}

/// The events of each body by `eventsource-parser`, whose names are brought to our notion of none.
fn oracle(bodies: &[Vec<u8>]) -> Vec<Vec<Message<'static>>> {
    let lines = node::run("sse.mjs", bodies.iter().map(|body| format!("\"{}\"", base64(body))));
    let body_messages = |line: &String| {
        let events: Vec<serde_json::Value> = serde_json::from_str(line).expect("an array per line");
        let messages = events.iter().map(|event| Message {
            event: event["event"]
                .as_str()
                .filter(|&name| name != "message")
                .map(|name| name.to_owned().into()),
            data: event["data"].as_str().expect("data is a string").to_owned().into(),
        });
        messages.collect()
    };
    lines.iter().map(body_messages).collect()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().zip([16, 8, 0]).fold(0, |bits, (&byte, shift)| bits | u32::from(byte) << shift);
        for i in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * i)) as usize & 63];
            text.push(if i <= chunk.len() { digit.into() } else { '=' });
        }
    }
    text
}

/// The recorded bodies, with their names; none where the corpus is absent.
fn corpus() -> Vec<(String, Vec<u8>)> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    let dir = std::env::var_os("TOKENCAST_CORPUS").map_or_else(beside, PathBuf::from);
    let Ok(entries) = fs::read_dir(&dir) else {
        eprintln!("skipped: no corpus");
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.expect("a readable directory").path());
    let mut bodies: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "sse"))
        .map(|path| (path.display().to_string(), fs::read(path).expect("a readable file")))
        .collect();
    bodies.sort();
    assert!(!bodies.is_empty(), "the corpus in {dir:?} has no bodies");
    bodies
}

/// Bodies with what recordings lack.
fn synthetic() -> Vec<Vec<u8>> {
    let plain = [
        "",
        "\n",
        "data: a\n\n",
        "data:a\n\n",
        "data:  a \n\n",
        "data\n\n",
        "data:\n\n",
        "data\ndata\n\ndata:\n",
        "data: a\ndata: b\ndata:\n\n",
        "data: a",
        "data: a\n",
        "data: a\n\ndata: b",
        "data: a\n\ndata: b\n",
        ":\n\n",
        ": hb\n\ndata: a\n\n: hb\n",
        "event: x\n\ndata: a\n\n",
        "event: x\ndata: a\n\ndata: b\n\n",
        "data: a\nevent: x\nevent: y\n\n",
        "event: message\ndata: a\n\n",
        "event: x\nevent\ndata: a\n\n",
        "id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n",
        "id: \0\nretry: 5\nretry: +5\ndata: a\n\nretry: 1\n\n",
        "DATA: a\n data: b\ndata : c\nerror: {}\n: d\ndata: e\n\n",
        "error: {\"code\":500}\n\n",
        "\n\n\ndata: a\n\n\n\n\ndata: b\n\n\n",
        "data: a: b\n\ndata::\n\n",
        "data: \0\u{B}\u{C}\u{85}\u{2028}👍\u{FEFF}\n\n",
        "\u{FEFF}data: a\n\n",
        "\u{FEFF}\n\ndata: a\n\n",
        "\u{FEFF}\u{FEFF}data: a\n\ndata: b\n\n",
        "\n\u{FEFF}data: a\n\ndata: b\n\n",
        "data: a\n\n\u{FEFF}data: b\ndata: c\n\n",
        "{\"error\":\"not a stream\"}",
        "<html>\n<body>\n\n</body>\n",
    ];
    let raw: [&[u8]; 9] = [
        b"data: a\xFFb\n\ndata: c\n\n",
        b"data: \xF0\x9F\n\ndata: \x91\x8D\n\n",
        b"data: \xED\xA0\xBD\n\ndata: \xC0\x80\n\ndata: \xF8\n\n",
        b"\xEF\xBBdata: a\ndata: b\n\n",
        b"data: a\n\r\ndata: b\r\n\ndata: c\r\r\ndata: d\n\rdata: e\r\r",
        b"data: a\r\ndata: b\rdata: c\n\r\n\rdata: d\r\n\r",
        b"data: a\r\r\n\r\ndata: b\r\r",
        b"data: a\n\n\xF0\x9F",
        b"data: a\r",
    ];
    let with = |end| move |body: &&str| body.replace('\n', end).into_bytes();
    let mut bodies: Vec<Vec<u8>> = plain.iter().map(with("\n")).collect();
    bodies.extend(plain.iter().map(with("\r\n")));
    bodies.extend(plain.iter().map(with("\r")));
    bodies.extend(raw.map(<[u8]>::to_vec));
    bodies.push(format!("data: {}\n\n", "x".repeat(300_000)).into_bytes());
    bodies.push(format!("{}\n", "data: line\n".repeat(5_000)).into_bytes());
    bodies
}

/// Bytes of which most have a meaning.
fn body() -> impl Strategy<Value = Vec<u8>> {
    const RICH: [&[u8]; 24] = [
        b"\r",
        b"\n",
        b"\r\n",
        b"\n\n",
        b"\r\r",
        b"\r\n\r\n",
        b"\n\r",
        b":",
        b" ",
        b"data",
        b"data: ",
        b"data:x",
        b"event",
        b"event: e",
        b"event: message",
        b"id: 7",
        b"error: {}",
        b"\xEF\xBB\xBF",
        b"\xEF",
        b"\xBB\xBF",
        b"\xFF",
        "👍".as_bytes(),
        b"\0",
        "\u{2028}".as_bytes(),
    ];
    let token = prop_oneof![
        12 => prop::sample::select(&RICH[..]).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ];
    let start = prop_oneof![Just(&b"\xEF\xBB\xBF"[..]), Just(&b""[..])];
    (start, prop::collection::vec(token, 0..40))
        .prop_map(|(start, tokens)| [start, &tokens.concat()].concat())
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..9_usize, 1..12)
}

proptest! {
    // A case that fails belongs into the tables, not into a file of seeds.
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sse_blocks_and_their_messages(body in body(), sizes in sizes()) {
        let (pieces, failed) = cut(Framing::Sse, LIMIT, chunked(&body, &sizes));
        prop_assert!(!failed);
        prop_assert_eq!(&pieces, &borders(&body));
        prop_assert_eq!(pieces.iter().flat_map(|piece| piece.bytes.to_vec()).collect::<Vec<_>>(), &body[..]);
        prop_assert_eq!(messages(&pieces), spec(&body));
    }

    #[test]
    fn ndjson_blocks_are_lines(body in body(), sizes in sizes()) {
        let (pieces, failed) = cut(Framing::Ndjson, LIMIT, chunked(&body, &sizes));
        prop_assert!(!failed);
        let lines = body.split_inclusive(|&byte| byte == b'\n').map(|line| Piece {
            bytes: Bytes::copy_from_slice(line),
            complete: line.ends_with(b"\n") || !line.trim_ascii().is_empty(),
        });
        prop_assert_eq!(pieces, lines.collect::<Vec<_>>());
    }

    #[test]
    fn a_block_too_large_is_the_end(body in body(), sizes in sizes(), block_bytes_max in 0..40_usize) {
        let (pieces, failed) = cut(Framing::Sse, block_bytes_max, chunked(&body, &sizes));
        let all = borders(&body);
        let fit = all.iter().take_while(|piece| piece.bytes.len() <= block_bytes_max).count();
        prop_assert_eq!(pieces, &all[..fit]);
        prop_assert_eq!(failed, fit < all.len());
    }

    #[test]
    fn any_block_can_be_parsed(block in body(), first: bool) {
        let _ = sse::parse(&block, first);
        let _ = sse::parse_error_field(&block, first);
    }
}

#[test]
fn recorded_bodies_in_any_chunks() {
    let mut seed = 0x2545_F491_4F6C_DD1D_u64;
    let mut random = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % 700).unwrap()
    };
    for (name, body) in corpus() {
        let whole = borders(&body);
        assert!(whole.iter().all(|piece| !piece.bytes.is_empty()), "{name}");
        let some: Vec<usize> = (0..64).map(|_| random()).collect();
        for sizes in [&[body.len()][..], &[1], &[7], &[1024], &some] {
            let (pieces, failed) = cut(Framing::Sse, LIMIT, chunked(&body, sizes));
            assert!(!failed, "{name}");
            assert_eq!(pieces, whole, "{name} in chunks of {sizes:?}");
            let joined: Vec<u8> = pieces.iter().flat_map(|piece| piece.bytes.to_vec()).collect();
            assert!(joined == body, "{name} in chunks of {sizes:?}");
        }
        assert_eq!(messages(&whole), spec(&body), "{name}");
    }
}

#[test]
fn another_parser_reads_the_same_messages() {
    let (names, bodies): (Vec<_>, Vec<_>) = synthetic()
        .into_iter()
        .map(|body| (format!("{:.80}", body.escape_ascii().to_string()), body))
        .chain(corpus())
        .unzip();
    let expected = oracle(&bodies);
    assert_eq!(expected.len(), bodies.len());
    for ((name, body), expected) in names.iter().zip(&bodies).zip(&expected) {
        let (pieces, _) = cut(Framing::Sse, LIMIT, [&body[..]]);
        assert_eq!(&messages(&pieces), expected, "{name}");
        assert_eq!(&spec(body), expected, "{name}");
    }
    println!("{} bodies, {} messages", bodies.len(), expected.iter().map(Vec::len).sum::<usize>());
}
