//! What must be true when all viewers are gone.

use serde_json::Value;

use super::Run;
use crate::Fault;
use crate::crowd::{self, Watched};
use crate::fleet::Fleet;
use crate::hex::hex;
use crate::http::Connection;
use crate::tally::Tally;

impl Run<'_> {
    /// Adds up what the children say, and compares it with what the provider has said.
    pub(super) fn conclude(&mut self, watched: &[Watched], fleet: &Fleet) -> Tally {
        let mut tally = Tally::default();
        for done in &fleet.done {
            tally.merge(&done.tally);
            self.report.violations(done.violations, done.told.iter().cloned());
        }
        for Watched { target, script } in watched {
            let mut ends =
                fleet.done.iter().flat_map(|done| &done.ends).filter(|(of, _)| *of == script.stream);
            let Some((_, end)) = ends.next() else { continue };
            if let Some((_, other)) = ends.find(|(_, other)| other != end) {
                self.report.violation(format!("{target}: viewers saw two ends: {end}, and {other}"));
            }
            let (answer, calls) = self.provider.said(|said| {
                (
                    said.answers.get(&script.stream).cloned(),
                    said.calls.get(&script.stream).copied().unwrap_or(0),
                )
            });
            if let (true, Some((bytes, hash))) = (end.starts_with("completed"), answer) {
                let wanted = crowd::said("completed", script.blocks(), bytes, &hash);
                if *end != wanted {
                    self.report
                        .violation(format!("{target}: the provider said {wanted}, and viewers got {end}"));
                }
            }
            if calls > 1 {
                self.report.violation(format!("{target}: the provider was called {calls} times"));
            }
        }
        tally
    }

    /// What must be true of every stream when all viewers are gone.
    pub(super) async fn afterwards(&mut self, watched: &[Watched]) -> Result<(), Fault> {
        let mut connection = Connection::open(self.addr).await?;
        for Watched { target, script } in watched {
            let (_, state) = connection.ask("GET", target, &self.headers, "").await?;
            let state: Value = serde_json::from_slice(&state)?;
            let blocks = state["blocks"].as_u64().unwrap_or(0);
            let over = format!("{target}/events?after={}", blocks + 1);
            let (status, _) = connection.ask("GET", &over, &self.headers, "").await?;
            if status != 204 {
                self.report.violation(format!("{over} answers {status} and not 204"));
            }
            let answer = self.provider.said(|said| said.answers.get(&script.stream).cloned());
            let Some((bytes, hash)) = answer.filter(|_| state["status"] == "completed") else {
                if !self.preset.kills() {
                    self.report.violation(format!("{target} has not completed: {}", state["end"]));
                }
                continue;
            };
            if state["hash"] != hash.as_str() || state["bytes"] != bytes || blocks != script.blocks() {
                self.report
                    .violation(format!("{target} is not what the provider said: {bytes} bytes, {hash}"));
            }
            let (status, raw) = connection.ask("GET", &format!("{target}/raw"), &self.headers, "").await?;
            let sum = hex(ring::digest::digest(&ring::digest::SHA256, &raw).as_ref());
            if status != 200 || sum != hash {
                self.report.violation(format!(
                    "{target}/raw is not what the provider said ({status}, {} bytes)",
                    raw.len()
                ));
            }
        }
        Ok(())
    }
}
