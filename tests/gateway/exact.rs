//! The provider's bytes, and the bare text: not one byte more, and a broken body where the stream is not whole.

use crate::gateway::{Gateway, Journal, config, over_http};
use crate::http::{Call, Over, Protocol};
use crate::provider::{Ending, Framing, Hold, Provider, Script};
use crate::says::{Block, DONE, Say, chunk, mute, text};
use crate::viewing::Transport;

/// Bodies as providers write them, and as nobody should.
fn bodies() -> Vec<(&'static str, Vec<u8>)> {
    let plain = || [text("Hello "), text("wörld 👍"), mute(DONE)].map(|block| block.bytes).concat();
    let finish = chunk(&[Say::Text(0, "a"), Say::Finish(0, "stop")]).bytes;
    vec![
        ("lf", plain().into()),
        ("crlf", plain().replace('\n', "\r\n").into()),
        ("cr", plain().replace('\n', "\r").into()),
        (
            "mixed",
            format!(
                "{}{}{}",
                text("a").bytes,
                text("b").bytes.replace('\n', "\r\n"),
                DONE.replace('\n', "\r")
            )
            .into(),
        ),
        ("bom", format!("\u{feff}{}", plain()).into()),
        ("comments", format!(": ping\n\n:\n\n\n\n{}: over\n\n", plain()).into()),
        ("more blank lines", plain().replace("\n\n", "\n\n\n\r\n").into()),
        ("unterminated marker", format!("{finish}data: [DONE]").into()),
        ("no marker", finish.clone().into()),
        ("a rest", format!("{}data: {{\"cho", finish).into()),
        ("after the marker", format!("{}{}", plain(), text("not said").bytes).into()),
        ("invalid", [&b"data: \xff\xfe\n\n\x80\n\n"[..], plain().as_bytes()].concat()),
        ("not JSON", format!("data: {{]\n\nnonsense\n\n{}", plain()).into()),
        ("fields", format!("id: 7\nevent: x\nretry: 1\nevent: \n{}", plain()).into()),
    ]
}

fn hash(bytes: &[u8]) -> String {
    tokencast::crypto::hex(&tokencast::crypto::sha256(bytes))
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_is_what_the_provider_sent_however_it_was_cut() {
    over_http(async |protocol, journal| {
        let provider = Provider::start().await;
        let gateway = Gateway::before(&provider, journal);
        let framings = [Framing::Chunked, Framing::Length, Framing::Close];
        for (number, (name, body)) in bodies().into_iter().enumerate() {
            let cuts: [&[usize]; 4] = [&[usize::MAX], &[1], &[2, 3, 5], &[17, 1]];
            for (way, cut) in cuts.into_iter().enumerate() {
                let framing = framings[(number + way) % 3];
                provider.plays("m", Script::sse().write_in(&body, cut).framed(framing));
                let id = gateway.stream("m").await;
                let path = format!("/v1/streams/{id}/raw");
                // Once while it runs, once afterwards.
                for _ in 0..2 {
                    let mut reply = Call::get(&*path).send(protocol, gateway.http).await;
                    assert_eq!(
                        (reply.status, reply.header("content-type")),
                        (200, Some("text/event-stream"))
                    );
                    let (bytes, over) = reply.body.whole().await;
                    let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    assert_eq!(shown(&bytes), shown(&body), "{name}, {framing:?}, {cut:?}");
                    assert!(bytes == body, "{name}");
                    assert_eq!(over, Over::Clean, "{name}");
                }
                let end = gateway.end(Transport::SseH1, &id).await;
                assert_eq!(end["hash"], hash(&body), "{name}");
                assert_eq!(
                    (&end["bytes"], &end["reason"]),
                    (&body.len().into(), &"completed".into()),
                    "{name}"
                );
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_begins_behind_any_block_and_at_any_byte() {
    over_http(async |protocol, journal| {
        let blocks: Vec<String> = [text("He"), mute(": c\n\n"), text("llo"), text(" world"), mute(DONE)]
            .map(|block| block.bytes)
            .into();
        let body = blocks.concat();
        let hold = Hold::new();
        let script = Script::says(blocks[..1].concat()).wait(&hold).write(blocks[1..].concat());
        let provider = Provider::with(script).await;
        let gateway = Gateway::before(&provider, journal);
        let id = gateway.stream("m").await;
        gateway.has_blocks(&id, 1).await;
        hold.release();
        gateway.has_ended(&id).await;
        let get = async |query: String| {
            let call = Call::get(format!("/v1/streams/{id}/raw?{query}"));
            // Of no meaning here, whatever it is.
            call.header("last-event-id", "nonsense").send(protocol, gateway.http).await
        };
        let begins: Vec<usize> = (0..=blocks.len()).map(|after| blocks[..after].concat().len()).collect();
        let check = async |query: String, after: usize, offset: usize| {
            let mut reply = get(query.clone()).await;
            assert_eq!(reply.status, 200, "{query}");
            assert_eq!(reply.header("tokencast-after"), Some(&*after.to_string()), "{query}");
            assert_eq!(reply.header("tokencast-offset"), Some(&*offset.to_string()), "{query}");
            let (bytes, over) = reply.body.whole().await;
            assert_eq!(
                (std::str::from_utf8(&bytes).unwrap(), over),
                (&body[offset..], Over::Clean),
                "{query}"
            );
        };
        for (after, offset) in begins.iter().enumerate() {
            check(format!("after={after}"), after, *offset).await;
        }
        check("from=live".into(), blocks.len(), body.len()).await;
        for offset in 0..=body.len() {
            let after = begins.iter().rposition(|begin| *begin <= offset).unwrap();
            check(format!("offset={offset}"), after, offset).await;
        }
        for query in [format!("after={}", blocks.len() + 1), format!("offset={}", body.len() + 1)] {
            let (status, error) = get(query).await.error_json().await;
            assert_eq!((status, error["code"].as_str()), (409, Some("cursor_ahead")));
            assert_eq!(error["detail"]["tail"], blocks.len());
        }
        for query in ["after=1&offset=1", "offset=-1", "offset=", "offset=1&offset=1", "after=1&after=1"] {
            assert_eq!(get(query.into()).await.error().await.0, 400, "{query}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_head_of_raw_waits_for_the_first_block() {
    over_http(async |protocol, journal| {
        let hold = Hold::new();
        let script =
            Script::sse().header("content-type", "Text/Event-Stream; charset=utf-8").wait(&hold).write(DONE);
        let provider = Provider::with(script).await;
        let gateway = Gateway::before(&provider, journal);
        let id = gateway.stream("m").await;
        let call = Call::get(format!("/v1/streams/{id}/raw"));
        let mut reply = std::pin::pin!(call.send(protocol, gateway.http));
        provider.until("the call", |calls| calls.len() == 1).await;
        let early = tokio::time::timeout(std::time::Duration::from_millis(100), &mut reply).await;
        assert!(early.is_err(), "no head before there is a block");
        hold.release();
        let mut reply = reply.await;
        assert_eq!(reply.header("content-type"), Some("Text/Event-Stream; charset=utf-8"));
        assert_eq!(reply.body.whole().await, (DONE.into(), Over::Clean));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_ended_without_a_block_is_a_bad_gateway() {
    over_http(async |protocol, journal| {
        let provider = Provider::with(Script::sse()).await;
        provider.plays("status", Script::new("500 Oops", "application/json").write("{}"));
        let gateway = Gateway::before(&provider, journal);
        for (model, code) in [("m", "upstream_eof"), ("status", "upstream_status")] {
            let id = gateway.stream(model).await;
            for _ in 0..2 {
                let reply = Call::get(format!("/v1/streams/{id}/raw")).send(protocol, gateway.http).await;
                let (status, error) = reply.error_json().await;
                assert_eq!((status, error["code"].as_str()), (502, Some(code)));
                assert_eq!(error["detail"]["end"]["code"], code);
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_did_not_complete_breaks_off_behind_its_last_byte() {
    over_http(async |protocol, journal| {
        let hold = Hold::new();
        let body =
            [text("Hello"), text(" wor"), mute("data: {\"choices\"")].map(|block| block.bytes).concat();
        let failed =
            [text("Hello"), text(" wor"), chunk(&[Say::Error("no")]), mute(DONE)].map(|b| b.bytes).concat();
        let says = |body: &str| Script::says(body).wait(&hold);
        let provider = Provider::start().await;
        provider.plays("eof", says(&body));
        provider.plays("cut", says(&body).ends(Ending::Cut));
        provider.plays("reset", says(&body).ends(Ending::Reset));
        provider.plays("error", says(&failed));
        provider.plays("stopped", says(&body).wait(&hold));
        let gateway = Gateway::before(&provider, journal);
        for (model, body) in
            [("eof", &body), ("cut", &body), ("reset", &body), ("error", &failed), ("stopped", &body)]
        {
            let id = gateway.stream(model).await;
            let get = async |view: &str| {
                Call::get(format!("/v1/streams/{id}/{view}")).send(protocol, gateway.http).await
            };
            let (mut raw, mut text) = (get("raw").await, get("text").await);
            gateway.has_blocks(&id, 2).await;
            let began = std::time::Instant::now();
            if model == "stopped" {
                assert_eq!(gateway.send(&Call::delete(format!("/v1/streams/{id}"))).await.status, 202);
            } else {
                hold.release();
            }
            let wanted = |body: &str| (body.as_bytes().to_vec(), Over::Broken);
            assert_eq!(raw.body.whole().await, wanted(body), "{model}, live");
            assert_eq!(text.body.whole().await, wanted("Hello wor"), "{model}, live");
            assert_eq!(get("raw").await.body.whole().await, wanted(body), "{model}, replayed");
            assert_eq!(get("text").await.body.whole().await, wanted("Hello wor"), "{model}, replayed");
            assert!(
                began.elapsed().as_secs() < 3,
                "{model}: {:?}, with nothing to wait for",
                began.elapsed()
            );
            assert_eq!(gateway.end(Transport::SseH1, &id).await["hash"], hash(body.as_bytes()));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_broken_body_reaches_a_slow_reader_whole() {
    over_http(async |protocol, journal| {
        let token: &'static str = "0123456789".repeat(100).leak();
        let body = text(token).bytes.repeat(2000);
        let provider = Provider::with(Script::says(&body)).await;
        let gateway = Gateway::before(&provider, journal);
        let id = gateway.stream("m").await;
        gateway.has_ended(&id).await;
        let mut reply = Call::get(format!("/v1/streams/{id}/raw")).send(protocol, gateway.http).await;
        let (mut bytes, mut reads) = (Vec::new(), 0_u32);
        let over = loop {
            match reply.body.chunk().await {
                Ok(chunk) => bytes.extend_from_slice(&chunk),
                Err(over) => break over,
            }
            reads += 1;
            if reads.is_multiple_of(16) {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        assert_eq!(over, Over::Broken);
        assert_eq!(bytes.len(), body.len(), "{protocol:?}");
        assert!(bytes == body.as_bytes());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn text_is_the_text_of_choice_0_and_nothing_else() {
    over_http(async |protocol, journal| {
        let hold = Hold::new();
        let blocks = [
            chunk(&[Say::Meta, Say::Reasoning(0, "hm"), Say::Text(0, "Hé"), Say::Text(1, "other")]),
            mute(": c\n\n"),
            chunk(&[Say::Text(0, "llo"), Say::Refusal(0, "no"), Say::Finish(1, "stop")]),
            chunk(&[Say::Text(0, " 👍"), Say::Finish(0, "stop")]),
            chunk(&[Say::Usage(1, 2)]),
            mute(DONE),
        ];
        let bytes = |blocks: &[Block]| blocks.iter().map(|block| &*block.bytes).collect::<String>();
        let script = Script::says(bytes(&blocks[..2])).wait(&hold).write(bytes(&blocks[2..]));
        let provider = Provider::with(script).await;
        let gateway = Gateway::before(&provider, journal);
        let id = gateway.stream("m").await;
        let get = async |query: &str| {
            Call::get(format!("/v1/streams/{id}/text{query}")).send(protocol, gateway.http).await
        };
        let mut live = get("").await;
        assert_eq!(live.header("content-type"), Some("text/plain; charset=utf-8"));
        hold.release();
        assert_eq!(live.body.whole().await, ("Héllo 👍".into(), Over::Clean));
        for (query, wanted) in [
            ("", "Héllo 👍"),
            ("?after=1", "llo 👍"),
            ("?after=3", " 👍"),
            ("?after=6", ""),
            ("?from=live", ""),
        ] {
            assert_eq!(get(query).await.body.whole().await, (wanted.into(), Over::Clean), "{query}");
        }
        assert_eq!(get("?after=7").await.error().await, (409, "cursor_ahead".into()));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_flood_is_a_prefix_of_what_was_sent() {
    // Many small blocks in every read, so that the reader mostly waits for the appender.
    let body: String = (0..200_000).map(|number| format!(":{:02x}\n\n", number % 251)).collect();
    let script = Script::sse().write_in(body.as_bytes(), &[200_003]).ends(Ending::Hang);
    let provider = Provider::with(script).await;
    let gateway = Gateway::start(config(Journal::Memory, &provider.base_url()));
    for blocks in (0..12).map(|number| 1 + 1701 * number) {
        let id = gateway.stream("m").await;
        gateway.has_blocks(&id, blocks).await;
        gateway.send(&Call::delete(format!("/v1/streams/{id}"))).await;
        let mut reply = Call::get(format!("/v1/streams/{id}/raw")).send(Protocol::H1, gateway.http).await;
        let (bytes, over) = reply.body.whole().await;
        assert_eq!(over, Over::Broken);
        assert!(body.as_bytes().starts_with(&bytes), "a gap, stopped behind {blocks} blocks");
        assert!(bytes.len() < body.len(), "the stop was not noticed before the end");
    }
}
