//! Server-Sent Events read once more, each time over the whole body: where blocks end by the rule of the splitter, and
//! what they say by the letter of the WHATWG. Shares nothing with what it checks.

/// Where blocks end: each with whether it has its blank line.
pub(crate) fn blocks(body: &[u8]) -> Vec<(&[u8], bool)> {
    let mut blocks = Vec::new();
    let (mut start, mut line) = (0, 0);
    // How the last non-empty line of this block ended.
    let mut before: Option<&[u8]> = None;
    while let Some(len) = body[line..].iter().position(|byte| b"\r\n".contains(byte)) {
        let (text, rest) = body[line..].split_at(len);
        let blank = text.is_empty() || line == 0 && text == "\u{FEFF}".as_bytes();
        let mut end = if rest.starts_with(b"\r\n") { &rest[..2] } else { &rest[..1] };
        if blank && before == Some(b"\r") {
            end = &rest[..1];
        }
        line += len + end.len();
        if !blank {
            before = Some(end);
        } else if before.take().is_some() {
            blocks.push((&body[start..line], true));
            start = line;
        }
    }
    if start < body.len() {
        blocks.push((&body[start..], false));
    }
    blocks
}

/// The events of a body, as name and data, by "parsing" and "interpreting an event stream".
pub(crate) fn events(body: &[u8]) -> Vec<(Option<String>, String)> {
    let text = String::from_utf8_lossy(body).replace("\r\n", "\n").replace('\r', "\n");
    let mut lines: Vec<&str> = text.strip_prefix('\u{FEFF}').unwrap_or(&text).split('\n').collect();
    lines.pop();
    let mut events = Vec::new();
    let (mut data, mut event) = (String::new(), String::new());
    for line in lines {
        if line.is_empty() {
            let name = Some(std::mem::take(&mut event)).filter(|name| !name.is_empty() && name != "message");
            let mut data = std::mem::take(&mut data);
            if data.pop().is_some() {
                events.push((name, data));
            }
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => event = value.to_owned(),
            "data" => data = data + value + "\n",
            _ => {}
        }
    }
    events
}
