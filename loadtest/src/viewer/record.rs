//! Records of our own WebTransport wire → events.

use super::check::{Delta, End, Event, Open};

const HEADER: u8 = 0;
const FRAME: u8 = 1;
const HEARTBEAT: u8 = 2;
const END: u8 = 5;

/// The first whole record in the bytes, without its length, and how many bytes it takes.
pub(super) fn record(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let (len, rest) = bytes.split_first_chunk()?;
    let record = rest.get(..u32::from_be_bytes(*len) as usize)?;
    Some((record, 4 + record.len()))
}

/// Hands on what a record says.
pub(super) fn events(
    record: &[u8],
    mut on: impl FnMut(&Event<'_>) -> Result<(), String>,
) -> Result<(), String> {
    let [_, kind, ..] = *record else { return Err(format!("this is no record: {record:?}")) };
    let broken = |error: rmp_serde::decode::Error| format!("a record of kind {kind}: {error}");
    match kind {
        HEADER => {
            let (_, open): (u8, Open) = rmp_serde::from_slice(record).map_err(broken)?;
            on(&Event::Open { id: None, open })
        }
        FRAME => {
            type Frame<'a> = (u8, Vec<(Option<u64>, &'a str, Delta<'a>)>);
            let (_, events): Frame<'_> = rmp_serde::from_slice(record).map_err(broken)?;
            events.into_iter().try_for_each(|(id, name, delta)| on(&Event::Delta { name, id, delta }))
        }
        HEARTBEAT => Ok(()),
        END => {
            let (_, (id, name, end)): (u8, (Option<u64>, &str, End)) =
                rmp_serde::from_slice(record).map_err(broken)?;
            if name != "end" {
                return Err(format!("the last record says {name}"));
            }
            on(&Event::End { id, end })
        }
        kind => Err(format!("a record of kind {kind}: {:?}", String::from_utf8_lossy(record))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn packed(value: &serde_json::Value) -> Vec<u8> {
        let record = rmp_serde::to_vec_named(value).unwrap();
        [&u32::try_from(record.len()).unwrap().to_be_bytes(), &*record].concat()
    }

    #[test]
    fn records_are_events() {
        let mut bytes = packed(&json!([0, {"version": 1, "after": 2, "tail": 5, "status": "running"}]));
        bytes.extend(packed(
            &json!([1, [[3, "text", {"from": 3, "text": "a"}], [null, "meta", {"from": 4, "x": 1}]]]),
        ));
        bytes.extend(packed(&json!([2])));
        bytes.extend(packed(&json!([5, [9, "end", {"reason": "completed", "blocks": 8, "bytes": 1, "hash": "h", "code": null}]])));
        let (mut at, mut said) = (0, Vec::new());
        while let Some((one, len)) = record(&bytes[at..]) {
            if one[1] == HEARTBEAT || one.len() > 2 {
                events(one, |event| {
                    said.push(format!("{event:?}"));
                    Ok(())
                })
                .unwrap();
            }
            at += len;
        }
        assert_eq!(at, bytes.len());
        assert_eq!(said.len(), 4, "{said:?}");
        assert!(said[0].contains("after: 2") && said[1].contains("Some(3)") && said[3].contains("completed"));
        assert_eq!(record(&bytes[..3]), None);
        assert!(events(&packed(&json!([4, {"code": "slow"}]))[4..], |_| Ok(())).is_err(), "a bye");
    }
}
