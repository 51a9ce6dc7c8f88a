//! Medians of all turns at one point, as a table in Markdown, as figures, and for charts.

use super::turn::Turn;
use crate::report::{Report, median, rounded};

const FLOOR: &str = "floor";
const OURS: &str = "tokencast";

/// What a row can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figure {
    Cost,
    EventsPerSecond,
    P50,
    P99,
    Bytes,
    IdleKib,
    Lost,
}

/// What counts at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Paced,
    Burst,
    Memory,
}

#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) point: String,
    pub(crate) about: String,
    pub(crate) kind: Kind,
    rows: Vec<(String, Vec<Turn>)>,
}

impl Figure {
    fn of(self, turn: &Turn) -> f64 {
        match self {
            Self::Cost => turn.cost_us,
            Self::EventsPerSecond => turn.tokens_per_s,
            Self::P50 => turn.p50_ms,
            Self::P99 => turn.p99_ms,
            Self::Bytes => turn.bytes,
            Self::IdleKib => turn.idle_kib,
            Self::Lost => turn.lost_percent,
        }
    }
}

impl Table {
    pub(super) fn new(point: String, about: String, kind: Kind, rows: Vec<(String, Vec<Turn>)>) -> Self {
        Self { point, about, kind, rows }
    }

    /// The figure that counts at this point.
    pub(crate) fn main(&self) -> Figure {
        if self.kind == Kind::Memory { Figure::IdleKib } else { Figure::Cost }
    }

    /// The median of each row, with the least and the most.
    pub(crate) fn medians(&self, figure: Figure) -> Vec<(&str, f64, f64, f64)> {
        let of = |turns: &[Turn]| {
            let values = || turns.iter().map(|turn| figure.of(turn));
            let least = values().fold(f64::INFINITY, f64::min);
            (median(values()), least, values().fold(f64::NEG_INFINITY, f64::max))
        };
        self.rows
            .iter()
            .map(|(name, turns)| {
                let (middle, least, most) = of(turns);
                (name.as_str(), middle, least, most)
            })
            .collect()
    }

    fn value(&self, figure: Figure, name: &str) -> Option<f64> {
        self.medians(figure).into_iter().find(|(of, ..)| *of == name).map(|(_, value, ..)| value)
    }

    /// The best of those who are neither the floor nor the gateway.
    fn best_peer(&self) -> Option<(&str, f64)> {
        let others =
            self.medians(self.main()).into_iter().filter(|(name, ..)| *name != FLOOR && *name != OURS);
        others.map(|(name, value, ..)| (name, value)).min_by(|(_, a), (_, b)| a.total_cmp(b))
    }

    /// The ratios that the project is measured by.
    pub(super) fn note(&self, report: &mut Report) {
        let (point, unit) = (&self.point, if self.kind == Kind::Memory { "KiB" } else { "µs" });
        let what = if self.kind == Kind::Memory { "memory per idle viewer" } else { "CPU per event" };
        let Some(ours) = self.value(self.main(), OURS) else { return };
        report.note(format!("{point}: {what}, tokencast"), rounded(ours), unit);
        if let Some(floor) = self.value(self.main(), FLOOR).filter(|_| self.kind != Kind::Memory) {
            report.note(format!("{point}: tokencast ÷ floor"), rounded(ours / floor), "");
        }
        if let Some((name, best)) = self.best_peer() {
            report.note(format!("{point}: tokencast ÷ {name}, the best peer"), rounded(ours / best), "");
        }
    }

    fn markdown(&self) -> String {
        let turns = self.rows.first().map_or(0, |(_, turns)| turns.len());
        let mut out =
            format!("{}: {}; medians of {turns}, least to most in brackets\n\n", self.point, self.about);
        out += "| server | CPU per event | ÷ floor | events/s | p50 | p99 | bytes per event | memory per idle viewer | lost |\n";
        out += "|---|---|---|---|---|---|---|---|---|\n";
        let floor = self.value(Figure::Cost, FLOOR);
        let cost = self.medians(Figure::Cost);
        for (name, middle, least, most) in cost {
            let value = |figure| self.value(figure, name).unwrap_or(f64::NAN);
            let ratio = floor.map_or("–".to_owned(), |floor| format!("{:.2}", middle / floor));
            out += &format!(
                "| {name} | {middle:.2} µs ({least:.2} to {most:.2}) | {ratio} | {:.0} | {:.2} ms | {:.2} ms | {:.0} | {:.2} KiB | {:.2} % |\n",
                value(Figure::EventsPerSecond),
                value(Figure::P50),
                value(Figure::P99),
                value(Figure::Bytes),
                value(Figure::IdleKib),
                value(Figure::Lost),
            );
        }
        out
    }

    #[expect(clippy::print_stdout, reason = "the tables are the output")]
    pub(super) fn print(&self) {
        println!("{}", self.markdown());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(cost_us: f64) -> Turn {
        let (p50_ms, p99_ms) = (1.0, 2.0);
        Turn {
            cost_us,
            tokens_per_s: 1000.0,
            p50_ms,
            p99_ms,
            bytes: 114.0,
            idle_kib: cost_us / 2.0,
            lost_percent: 0.0,
        }
    }

    fn table(kind: Kind) -> Table {
        let row = |name: &str, costs: [f64; 3]| (name.to_owned(), costs.map(turn).to_vec());
        let rows = vec![
            row("floor", [3.0, 2.0, 4.0]),
            row("tokencast", [3.6, 3.0, 9.0]),
            row("nchan", [6.0, 6.0, 6.0]),
            row("node-redis", [9.0, 9.0, 9.0]),
        ];
        Table::new("room".into(), "about".into(), kind, rows)
    }

    #[test]
    fn ratios_are_of_medians() {
        let mut report = Report::default();
        table(Kind::Paced).note(&mut report);
        table(Kind::Memory).note(&mut report);
        let rows: Vec<String> =
            report.rows().map(|(name, value, unit)| format!("{name} {value} {unit}")).collect();
        assert_eq!(
            rows,
            [
                "room: CPU per event, tokencast 3.6 µs",
                "room: tokencast ÷ floor 1.2 ",
                "room: tokencast ÷ nchan, the best peer 0.6 ",
                "room: memory per idle viewer, tokencast 1.8 KiB",
                "room: tokencast ÷ nchan, the best peer 0.6 ",
            ]
        );
        let markdown = table(Kind::Paced).markdown();
        assert!(markdown.contains("| tokencast | 3.60 µs (3.00 to 9.00) | 1.20 | 1000 |"), "{markdown}");
        assert_eq!(markdown.lines().count(), 8);
    }
}
