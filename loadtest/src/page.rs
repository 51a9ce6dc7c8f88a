//! The report as one page that needs nothing beside itself.

use std::fmt::Write as _;

use crate::chart::{Axis, Bar, Line, bars, escaped, lines, number};
use crate::compare::{Figure, Kind, Table};
use crate::preset::Preset;
use crate::report::Report;
use crate::run::{self, Outcome, Sample};
use crate::tally::Times;

const STYLE: &str = include_str!("page.css");
/// Where quantiles stand: each nine is as far as the one before it.
const NINES: [(f64, &str); 6] =
    [(0.0, "0"), (0.301, "p50"), (1.0, "p90"), (2.0, "p99"), (3.0, "p99.9"), (4.0, "p99.99")];

pub(crate) fn of_run(name: &str, preset: &Preset, outcome: &Outcome) -> String {
    let Outcome { report, tally, samples, .. } = outcome;
    let mut page = Page::new(&format!("{name}: {}", run::told(preset)), report);
    let shown = |times: &Times, quantile| {
        times.quantile_ms(quantile).map_or("–".to_owned(), |ms| format!("{} ms", number(ms)))
    };
    let cpu = samples.last().map(|sample| sample.cpu.as_secs_f64() * 1e6 / tally.events as f64);
    page.tiles(&[
        ("latency, p50", shown(&tally.latency, 0.5)),
        ("latency, p99", shown(&tally.latency, 0.99)),
        ("first token, p50", shown(&tally.first_token, 0.5)),
        ("deliveries", number(tally.events as f64)),
        (
            "CPU per delivery",
            cpu.filter(|cpu| *cpu > 0.0).map_or("–".to_owned(), |cpu| format!("{} µs", number(cpu))),
        ),
    ]);
    page.section(
        "Latency",
        "From the moment in which a token was due, by the provider's schedule, to its viewer.",
    );
    let quantiles = [
        ("since due", &tally.latency),
        ("since sent", &tally.since_sent),
        ("first token", &tally.first_token),
    ];
    let quantiles: Vec<Line> = quantiles
        .into_iter()
        .filter(|(_, times)| times.len() > 0)
        .map(|(name, times)| quantile_line(name, times))
        .collect();
    page.chart(&lines(&quantiles, Axis { name: "quantile", ticks: &NINES }, plain("ms")));
    page.chart(&lines(
        &[
            line("max", samples, |sample| ms(sample, 1.0)),
            line("p99", samples, |sample| ms(sample, 0.99)),
            line("p50", samples, |sample| ms(sample, 0.5)),
        ],
        plain("s"),
        plain("ms, of each half second"),
    ));
    page.section(
        "Gaps",
        "The longest pause between two events of any one viewer: its provider's own pauses are in it.",
    );
    page.chart(&lines(
        &[line("longest pause", samples, |sample| sample.moment.silence_ms)],
        plain("s"),
        plain("ms"),
    ));
    for (title, about, times) in [
        ("Late join", "From the connect to the last thing that had been there before.", &tally.late_join),
        ("Recovery", "From the loss of a connection to the next event.", &tally.recovery),
    ] {
        if times.len() > 0 {
            page.section(title, about);
            page.chart(&lines(
                &[quantile_line("ms", times)],
                Axis { name: "quantile", ticks: &NINES },
                plain("ms"),
            ));
        }
    }
    page.section("Work", "What was delivered, and to how many.");
    page.chart(&lines(
        &[Line { name: "events per second", points: rates(samples, |_, _, events, _, s| events / s) }],
        plain("s"),
        plain("events per second"),
    ));
    page.chart(&lines(
        &[
            line("connected", samples, |sample| sample.moment.connected as f64),
            line("done", samples, |sample| sample.moment.finished as f64),
        ],
        plain("s"),
        plain("viewers"),
    ));
    if samples.iter().any(|sample| sample.memory_kib > 0) {
        page.section("Cost", "CPU and memory of the gateway's process, from the system.");
        page.chart(&lines(
            &[Line {
                name: "CPU",
                points: rates(
                    samples,
                    |_, _, events, cpu, _| if events > 0.0 { cpu * 1e6 / events } else { f64::NAN },
                ),
            }],
            plain("s"),
            plain("µs of CPU per delivery"),
        ));
        page.chart(&lines(
            &[
                line("resident", samples, |sample| sample.memory_kib as f64 / 1024.0),
                line("TCP buffers of both sides", samples, |sample| sample.tcp_kib as f64 / 1024.0),
            ],
            plain("s"),
            plain("MiB"),
        ));
    }
    page.end(report)
}

pub(crate) fn of_comparison(rounds: usize, tables: &[Table], report: &Report) -> String {
    let mut page = Page::new(
        &format!(
            "Comparison: {}",
            if rounds == 1 { "one round".to_owned() } else { format!("medians of {rounds} rounds") }
        ),
        report,
    );
    for table in tables {
        page.section(&table.point, &format!("{}. Whiskers: least and most.", table.about));
        let charts: &[(Figure, &str, &str)] = match table.kind {
            Kind::Memory => &[(Figure::IdleKib, "Memory per idle viewer", "KiB")],
            Kind::Paced => &[(Figure::Cost, "CPU per event", "µs"), (Figure::P99, "Latency, p99", "ms")],
            Kind::Burst => {
                &[(Figure::Cost, "CPU per event", "µs"), (Figure::EventsPerSecond, "Events per second", "/s")]
            }
        };
        let charts = charts.iter().chain(&[(Figure::Lost, "Lost", "%")]);
        for (figure, title, unit) in charts {
            let rows = table.medians(*figure);
            if *figure == Figure::Lost && rows.iter().all(|(_, value, ..)| *value == 0.0) {
                continue;
            }
            let rows: Vec<Bar> = rows
                .into_iter()
                .map(|(name, value, least, most)| Bar {
                    name: name.to_owned(),
                    value,
                    range: (least, most),
                    is_ours: name == "tokencast",
                })
                .collect();
            page.chart(&format!(r#"<div class="legend"><b>{title}</b></div>{}"#, bars(&rows, unit)));
        }
    }
    page.end(report)
}

struct Page(String);

impl Page {
    fn new(title: &str, report: &Report) -> Self {
        let title = escaped(title);
        let (_, violations) = report.told();
        let (class, verdict) = match violations {
            0 => ("good", "No violation: nothing lost, nothing twice, nothing out of order.".to_owned()),
            1 => ("bad", "1 violation.".to_owned()),
            many => ("bad", format!("{many} violations.")),
        };
        Self(format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <title>{title}</title><style>{STYLE}</style></head>\n<body><main><h1>{title}</h1><p class=\"{class}\">{verdict}</p>\n"
        ))
    }

    /// What one wants to know first.
    fn tiles(&mut self, tiles: &[(&str, String)]) {
        self.put(format_args!("<div class=\"tiles\">"));
        for (name, value) in tiles {
            self.put(format_args!("<div><b>{}</b>{}</div>", escaped(value), escaped(name)));
        }
        self.put(format_args!("</div>\n"));
    }

    fn section(&mut self, title: &str, about: &str) {
        self.put(format_args!("<h2>{}</h2><p>{}</p>\n", escaped(title), escaped(about)));
    }

    fn chart(&mut self, chart: &str) {
        self.put(format_args!("<figure>{chart}</figure>\n"));
    }

    fn end(mut self, report: &Report) -> String {
        let (told, _) = report.told();
        if !told.is_empty() {
            self.put(format_args!("<h2>Violations</h2><ul class=\"bad\">"));
            told.iter().for_each(|what| self.put(format_args!("<li>{}</li>", escaped(what))));
            self.put(format_args!("</ul>\n"));
        }
        self.put(format_args!("<h2>All figures</h2><table>"));
        for (name, value, unit) in report.rows() {
            self.put(format_args!("<tr><th>{}</th><td>{} {unit}</td></tr>", escaped(name), escaped(&value)));
        }
        self.put(format_args!("</table></main></body></html>\n"));
        self.0
    }

    fn put(&mut self, what: std::fmt::Arguments<'_>) {
        self.0.write_fmt(what).expect("memory takes it");
    }
}

fn plain(name: &str) -> Axis<'_> {
    Axis { name, ticks: &[] }
}

fn ms(sample: &Sample, quantile: f64) -> f64 {
    sample.moment.latency.quantile_ms(quantile).unwrap_or(f64::NAN)
}

fn line(name: &'static str, samples: &[Sample], of: impl Fn(&Sample) -> f64) -> Line {
    Line { name, points: samples.iter().map(|sample| (sample.at_s, of(sample))).collect() }
}

/// Up to what so many times can tell.
fn quantile_line(name: &'static str, times: &Times) -> Line {
    let nines_max = (times.len() as f64).log10().min(4.0);
    let at = |step: u32| f64::from(step) / 40.0 * nines_max;
    let point = |nines: f64| (nines, times.quantile_ms(1.0 - 10_f64.powf(-nines)).unwrap_or(f64::NAN));
    Line { name, points: (0..=40).map(|step| point(at(step))).collect() }
}

/// From each moment to the next: of both samples, events, CPU seconds and seconds.
fn rates(samples: &[Sample], of: impl Fn(&Sample, &Sample, f64, f64, f64) -> f64) -> Vec<(f64, f64)> {
    let pair = |pair: &[Sample]| {
        let [from, to] = pair else { return None };
        let events = to.moment.events.saturating_sub(from.moment.events) as f64;
        let cpu = to.cpu.saturating_sub(from.cpu).as_secs_f64();
        let seconds = to.at_s - from.at_s;
        (seconds > 0.05).then(|| (to.at_s, of(from, to, events, cpu, seconds)))
    };
    samples.windows(2).filter_map(pair).collect()
}
