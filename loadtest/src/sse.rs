//! As little SSE as a strict reader of our own wire needs; anything else on it is wrong.

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Event<'a> {
    pub(crate) name: &'a str,
    pub(crate) id: Option<u64>,
    pub(crate) data: &'a str,
}

/// The first whole block in the bytes, without its blank line, and how many bytes it takes.
pub(crate) fn block(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let end = memchr::memmem::find(bytes, b"\n\n")?;
    Some((&bytes[..end], end + 2))
}

/// What a block says; none is a comment.
pub(crate) fn event(block: &[u8]) -> Result<Option<Event<'_>>, String> {
    let text = std::str::from_utf8(block).map_err(|error| error.to_string())?;
    let (mut name, mut id, mut data) = (None, None, None);
    for line in text.split('\n') {
        match line.split_once(": ") {
            Some(("event", value)) if name.is_none() => name = Some(value),
            Some(("data", value)) if data.is_none() => data = Some(value),
            Some(("id", value)) if id.is_none() => {
                id = Some(value.parse().map_err(|_| format!("the id {value:?} is no number"))?);
            }
            Some(("retry", _)) => {}
            _ if line.starts_with(':') => {}
            _ => return Err(format!("there is a line {line:?}")),
        }
    }
    match (name, data) {
        (Some(name), Some(data)) => Ok(Some(Event { name, id, data })),
        (None, None) if id.is_none() => Ok(None),
        _ => Err(format!("the block {text:?} is incomplete")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_wire_and_no_other() {
        let (first, len) = block(b"retry: 1\nid: 4\nevent: text\ndata: {\"a\": 1}\n\nid:").unwrap();
        assert_eq!(len, 43);
        let wanted = Event { name: "text", id: Some(4), data: "{\"a\": 1}" };
        assert_eq!(event(first), Ok(Some(wanted)));
        assert_eq!(event(b": hb"), Ok(None));
        assert_eq!(block(b"data: 1\n"), None);
        for wrong in ["data: 1", "event: a", "id: 1", "id: x\nevent: a\ndata: 1", "data: 1\ndata: 2", "\nx"] {
            assert!(event(wrong.as_bytes()).is_err(), "{wrong:?}");
        }
    }
}
