//! What came out, in figures.

use std::time::Duration;

use super::Run;
use crate::report::rounded;
use crate::tally::Tally;
use crate::{machine, say};

impl Run<'_> {
    pub(super) fn figures(&mut self, tally: &Tally, before: (Duration, Duration), viewers_cpu: Duration) {
        let report = &mut self.report;
        let wall = tally.last_ns.saturating_sub(self.begin_ns) as f64 / 1e9;
        let late = self.provider.said(|said| said.late.clone());
        report.note("streams", self.preset.streams, "");
        report.note("viewers", self.preset.all_viewers(), "");
        report.note("deliveries (events)", tally.events, "");
        report.note("tokens delivered", tally.tokens, "");
        report.note("bytes", tally.bytes, "");
        report.note("resumes", tally.resumes, "");
        report.note("connections that failed and were tried again", tally.unopened, "");
        report.note("wall", rounded(wall), "s");
        report.note("deliveries per second", rounded(tally.events as f64 / wall), "");
        report.note_times("latency, token due → viewer,", &tally.latency);
        report.note_times("latency, token sent → viewer,", &tally.since_sent);
        report.note_times("first token, due → viewer,", &tally.first_token);
        report.note_times("late join, connect → caught up,", &tally.late_join);
        report.note_times("recovery, lost → next event,", &tally.recovery);
        report.note_times("provider behind its schedule,", &late);
        if self.server.tree().is_some() {
            let cpu = self.server.cpu().saturating_sub(before.1);
            let memory = self.server.memory();
            let each = |kib: u64| rounded(kib as f64 / self.preset.all_viewers() as f64);
            report.note("gateway CPU, viewers' connecting included", rounded(cpu.as_secs_f64()), "s");
            let delivering = self.samples.last().map_or(Duration::ZERO, |sample| sample.cpu);
            let per_delivery = |cpu: Duration| rounded(cpu.as_secs_f64() * 1e6 / tally.events as f64);
            report.note("gateway CPU per delivery", per_delivery(delivering), "µs");
            let (before, ready) = self.memory_kib;
            report.note("gateway memory before viewers", before, "KiB");
            report.note("gateway memory per viewer that waits", each(ready.saturating_sub(before)), "KiB");
            report.note("gateway memory after", memory.now_kib, "KiB");
            report.note("gateway memory peak", memory.peak_kib, "KiB");
            report.note(
                "gateway memory per viewer, log included",
                each(memory.peak_kib.saturating_sub(before)),
                "KiB",
            );
            let tcp = self.samples.iter().map(|sample| sample.tcp_kib).max().unwrap_or(0);
            report.note("TCP buffers of both sides, peak", tcp, "KiB");
        }
        if let Some(gateway) = &self.server.own {
            let complaints = gateway.complaints();
            report.note("gateway log lines above info", complaints.len(), "");
            complaints.iter().for_each(say);
            report.note("gateway", gateway.binary.display().to_string(), "");
        }
        let own = machine::own_cpu() - before.0;
        report.note("provider CPU", rounded(own.as_secs_f64()), "s");
        report.note("viewers' CPU", rounded(viewers_cpu.as_secs_f64()), "s");
    }
}
