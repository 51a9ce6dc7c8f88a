//! Streamed arguments: values by their path → one JSON text, piece by piece.
//!
//! Vertex AI sends `{"jsonPath":"$.where[0].city","stringValue":"Par","willContinue":true}`, then the rest of that
//! string, then the next value, in the order of the text that they make. Their texts stay as they are; what stands
//! between them is written here.

use super::chunk::PartialArg;
use crate::cast::event::Delta;
use crate::dialect::json::{self, Text};

/// How deep arguments may be nested; what is deeper is left out.
const DEPTH_MAX: usize = 128;

/// One object of arguments, written from front to back.
#[derive(Debug, Default)]
pub(super) struct Writer {
    /// The containers that are open, the arguments themselves in front, which have no step.
    containers: Vec<Container>,
    /// Where the last value stands.
    last: Vec<Step>,
    /// That value is a string that lacks its quote: more of it may come.
    in_string: bool,
}

#[derive(Debug)]
struct Container {
    step: Option<Step>,
    is_list: bool,
    is_empty: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(u32),
}

impl Writer {
    /// Appends what one more value, or more of a string, adds to the text.
    pub(super) fn push(&mut self, arg: &PartialArg<'_>, out: &mut Delta) {
        let Some(path) = json::word(arg.json_path) else { return };
        // `$.list[]` ends a list, and is all that is said of an empty one.
        let ended_list = path.strip_suffix("[]");
        let Some(path) = steps(ended_list.unwrap_or(&path)) else { return };
        if path.is_empty() || path.len() > DEPTH_MAX {
            return;
        }
        let string = arg.string.map(|string| string.get()).filter(|string| string.starts_with('"'));
        if let Some(string) = string {
            let escaped = Text::of(arg.string).map_or("", Text::escaped);
            if self.in_string && path == self.last {
                return out.push_str(escaped);
            }
            self.go_to(&path, out);
            out.push_str(string.strip_suffix('"').unwrap_or(string));
            self.in_string = true;
        } else if let Some(value) =
            arg.number.or(arg.bool).filter(|value| !value.get().starts_with(['{', '[']))
        {
            self.go_to(&path, out);
            out.push_str(value.get());
        } else if arg.null.0 {
            self.go_to(&path, out);
            out.push_str("null");
        } else {
            // What has no value ends what has one, or is an empty container.
            if path != self.last && !self.is_open(&path) && !json::is_true(arg.will_continue) {
                self.go_to(&path, out);
                self.open(path.last(), ended_list.is_some(), out);
            }
            return;
        }
        self.last = path;
    }

    /// Ends the text. One that was never begun stays empty.
    pub(super) fn finish(mut self, out: &mut Delta) {
        self.close(0, out);
    }

    fn is_open(&self, path: &[Step]) -> bool {
        let inner = self.containers.get(1..).unwrap_or_default();
        path.len() <= inner.len()
            && inner.iter().zip(path).all(|(open, step)| open.step.as_ref() == Some(step))
    }

    /// Closes and opens containers until the value at `path` is next.
    fn go_to(&mut self, path: &[Step], out: &mut Delta) {
        let Some((leaf, containers)) = path.split_last() else { return };
        if self.containers.is_empty() {
            self.open(None, false, out);
        }
        let inner = self.containers.iter().skip(1).zip(containers);
        let common = inner.take_while(|(open, step)| open.step.as_ref() == Some(step)).count();
        self.close(common.saturating_add(1), out);
        for (step, next) in path.iter().zip(path.iter().skip(1)).skip(common) {
            self.enter(step, out);
            self.open(Some(step), matches!(next, Step::Index(_)), out);
        }
        self.enter(leaf, out);
    }

    fn open(&mut self, step: Option<&Step>, is_list: bool, out: &mut Delta) {
        out.push(if is_list { '[' } else { '{' });
        self.containers.push(Container { step: step.cloned(), is_list, is_empty: true });
    }

    /// Writes what stands in front of a value in the innermost container.
    fn enter(&mut self, step: &Step, out: &mut Delta) {
        let Some(container) = self.containers.last_mut() else { return };
        if !std::mem::replace(&mut container.is_empty, false) {
            out.push(',');
        }
        match step {
            Step::Key(key) if !container.is_list => {
                out.push_str(&serde_json::Value::from(key.as_str()).to_string());
                out.push(':');
            }
            Step::Index(index) if !container.is_list => out.push_str(&format!("\"{index}\":")),
            Step::Key(_) | Step::Index(_) => {}
        }
    }

    /// Closes the string, and containers until so many are open.
    fn close(&mut self, open: usize, out: &mut Delta) {
        if std::mem::take(&mut self.in_string) {
            out.push('"');
        }
        for container in self.containers.drain(open.min(self.containers.len())..).rev() {
            out.push(if container.is_list { ']' } else { '}' });
        }
    }
}

/// The steps of a JSON path that names one value: `$.a[0]`, `$['a']["b"]`. A `$` alone has none.
fn steps(path: &str) -> Option<Vec<Step>> {
    let mut rest = path.strip_prefix('$').unwrap_or(path);
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(inside) = rest.strip_prefix('[') {
            let quote = inside.chars().next().filter(|quote| matches!(quote, '\'' | '"'));
            let (step, behind) = match quote {
                Some(quote) => quoted(inside, quote)?,
                None => {
                    let (index, behind) = inside.split_once(']')?;
                    (Step::Index(index.parse().ok()?), behind)
                }
            };
            steps.push(step);
            rest = behind;
        } else {
            let name = rest.strip_prefix('.').unwrap_or(rest);
            let end = name.find(['.', '[']).unwrap_or(name.len());
            let (name, behind) = name.split_at_checked(end)?;
            steps.push(Step::Key(Some(name).filter(|name| !name.is_empty())?.to_owned()));
            rest = behind;
        }
    }
    Some(steps)
}

/// The key in quotes that `text` begins with, and what follows its bracket.
fn quoted(text: &str, quote: char) -> Option<(Step, &str)> {
    let mut key = String::new();
    let mut chars = text.chars();
    chars.next();
    loop {
        match chars.next()? {
            '\\' => key.push(chars.next()?),
            char if char == quote => return Some((Step::Key(key), chars.as_str().strip_prefix(']')?)),
            char => key.push(char),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::json::{Any, List};

    /// What each list of values adds, and the end.
    fn check(lists: &[&str], expected: &[&str]) {
        let mut writer = Writer::default();
        let mut added: Vec<Delta> = Vec::new();
        for list in lists {
            let Any(args) = serde_json::from_str::<Any<List<PartialArg<'_>>>>(list).unwrap();
            let mut out = Delta::default();
            args.iter().for_each(|arg| writer.push(arg, &mut out));
            added.push(out);
        }
        let mut out = Delta::default();
        writer.finish(&mut out);
        added.push(out);
        assert_eq!(added, expected, "{lists:?}");
        let whole = added.concat();
        assert!(
            whole.is_empty() || serde_json::from_str::<&serde_json::value::RawValue>(&whole).is_ok(),
            "{whole}"
        );
    }

    #[test]
    fn values() {
        check(&[], &[""]);
        check(&["[]", "[7,null]"], &["", "", ""]);
        check(
            &[
                r#"[{"jsonPath":"$.brightness","numberValue":5e1}]"#,
                r#"[{"jsonPath":"$.on","boolValue":false},{"jsonPath":"$.x","nullValue":null}]"#,
                r#"[{"jsonPath":"$.y","nullValue":"NULL_VALUE"}]"#,
            ],
            &[r#"{"brightness":5e1"#, r#","on":false,"x":null"#, r#","y":null"#, "}"],
        );
        check(&[r#"[{"jsonPath":"$.a","stringValue":""}]"#], &[r#"{"a":""#, "\"}"]);
        check(&[r#"[{"jsonPath":"$.a","numberValue":"NaN"}]"#], &[r#"{"a":"NaN""#, "}"]);
    }

    #[test]
    fn strings_in_pieces() {
        check(
            &[
                r#"[{"jsonPath":"$.a","stringValue":"Bos\n\ud83d","willContinue":true}]"#,
                r#"[{"jsonPath":"$.a","stringValue":"\ude00t\"","willContinue":true}]"#,
                r#"[{"jsonPath":"$.a","stringValue":""}]"#,
                r#"[{"jsonPath":"$.b","stringValue":"x"},{"jsonPath":"$.c","stringValue":"y"}]"#,
            ],
            &[r#"{"a":"Bos\n\ud83d"#, r#"\ude00t\""#, "", r#"","b":"x","c":"y"#, "\"}"],
        );
        // The end of a string may be said without a piece of it.
        check(
            &[r#"[{"jsonPath":"$.a","stringValue":"x","willContinue":true}]"#, r#"[{"jsonPath":"$.a"}]"#],
            &[r#"{"a":"x"#, "", "\"}"],
        );
    }

    #[test]
    fn containers() {
        check(
            &[
                r#"[{"jsonPath":"$.r.name","stringValue":"L"}]"#,
                r#"[{"jsonPath":"$.r.parts[0].n","numberValue":1},{"jsonPath":"$.r.parts[0].m","numberValue":2}]"#,
                r#"[{"jsonPath":"$.r.parts[1].n","numberValue":3},{"jsonPath":"$.r.parts[]"}]"#,
                r#"[{"jsonPath":"$.r"},{"jsonPath":"$.t[0][1]","boolValue":true}]"#,
            ],
            &[r#"{"r":{"name":"L"#, r#"","parts":[{"n":1,"m":2"#, r#"},{"n":3"#, r#"}]},"t":[[true"#, "]]}"],
        );
        check(
            &[r#"[{"jsonPath":"$.a[]"},{"jsonPath":"$.b"},{"jsonPath":"$.c","willContinue":true}]"#],
            &[r#"{"a":[],"b":{"#, "}}"],
        );
        check(
            &[r#"[{"jsonPath":"$['a b']['it\\'s'][\"]\"]","numberValue":1}]"#],
            &[r#"{"a b":{"it's":{"]":1"#, "}}}"],
        );
    }

    #[test]
    fn what_is_no_path_is_left_out() {
        for path in ["", "$", "$.", "$..a", "$.a[*]", "$.a[", "$['a", "$['a'", "$.a[-1]", "$.a[99999999999]"]
        {
            check(&[&format!(r#"[{{"jsonPath":{path:?},"numberValue":1}}]"#)], &["", ""]);
        }
        check(&[r#"[{"jsonPath":7,"numberValue":1},{"numberValue":1}]"#], &["", ""]);
        check(
            &[&format!(r#"[{{"jsonPath":"${}","numberValue":1}}]"#, ".a".repeat(DEPTH_MAX + 1))],
            &["", ""],
        );
        // A container that is both a list and an object is what it was first.
        check(
            &[
                r#"[{"jsonPath":"$.a[0]","numberValue":1},{"jsonPath":"$.a.b","numberValue":2},{"jsonPath":"$[3]","numberValue":4}]"#,
            ],
            &[r#"{"a":[1,2],"3":4"#, "}"],
        );
    }
}
