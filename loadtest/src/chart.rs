//! Charts as SVG, which takes its colours from the page around it: lines over time or quantiles, and bars.

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 40.0;
/// Of one bar with its gap.
const BAR: f64 = 34.0;
/// Beyond it single points are not told by hovering.
const HOVER_MAX: usize = 400;

#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) points: Vec<(f64, f64)>,
}

/// What stands at an axis.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Axis<'a> {
    pub(crate) name: &'a str,
    /// Places and their words; empty leaves them to the chart.
    pub(crate) ticks: &'a [(f64, &'a str)],
}

#[derive(Debug)]
pub(crate) struct Bar {
    pub(crate) name: String,
    pub(crate) value: f64,
    /// Least and most.
    pub(crate) range: (f64, f64),
    pub(crate) is_ours: bool,
}

/// The number, then as many digits as it takes to tell it from its neighbours.
pub(crate) fn number(value: f64) -> String {
    let digits = match value.abs() {
        0.0 => 0,
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 0.1 => 2,
        _ => 4,
    };
    let text = format!("{value:.digits$}");
    if digits == 0 { grouped(&text) } else { text.trim_end_matches('0').trim_end_matches('.').to_owned() }
}

fn grouped(digits: &str) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |rest| ("-", rest));
    let first = digits.len() % 3;
    let groups = (!digits[..first].is_empty()).then(|| digits[..first].to_owned());
    let rest = (first..digits.len()).step_by(3).map(|at| digits[at..at + 3].to_owned());
    format!("{sign}{}", groups.into_iter().chain(rest).collect::<Vec<_>>().join(","))
}

/// Round steps up to a maximum, about five of them.
fn steps(max: f64) -> Vec<f64> {
    if max <= 0.0 || !max.is_finite() {
        return vec![0.0, 1.0];
    }
    let power = 10_f64.powf((max / 5.0).log10().floor());
    let step =
        [1.0, 2.0, 2.5, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| max / step <= 5.0);
    let step = step.unwrap_or(max);
    (0..=(max / step).ceil() as u32).map(|at| f64::from(at) * step).collect()
}

pub(crate) fn lines(lines: &[Line], x: Axis<'_>, y: Axis<'_>) -> String {
    let points = || lines.iter().flat_map(|line| &line.points).filter(|(_, value)| value.is_finite());
    let x_max = points().map(|(at, _)| *at).fold(0.0, f64::max);
    let rows = steps(points().map(|(_, value)| *value).fold(0.0, f64::max));
    let y_max = rows.last().copied().unwrap_or(1.0);
    let place_x = |at: f64| LEFT + at / if x_max > 0.0 { x_max } else { 1.0 } * (WIDTH - LEFT - RIGHT);
    let place_y = |value: f64| HEIGHT - BOTTOM - value / y_max * (HEIGHT - TOP - BOTTOM);
    let mut svg = begin(HEIGHT, &format!("{} over {}", y.name, x.name));
    for row in &rows {
        let at = place_y(*row);
        put(
            &mut svg,
            format_args!(
                r#"<line class="grid" x1="{LEFT}" x2="{:.1}" y1="{at:.1}" y2="{at:.1}"/>"#,
                WIDTH - RIGHT
            ),
        );
        put(
            &mut svg,
            format_args!(
                r#"<text class="tick" x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
                LEFT - 8.0,
                at + 4.0,
                number(*row)
            ),
        );
    }
    let own = steps(x_max);
    let own: Vec<(f64, String)> =
        own.into_iter().filter(|at| *at <= x_max).map(|at| (at, number(at))).collect();
    let given = x.ticks.iter().map(|(at, word)| (*at, (*word).to_owned())).filter(|(at, _)| *at <= x_max);
    let ticks: Vec<(f64, String)> = if x.ticks.is_empty() { own } else { given.collect() };
    for (at, word) in ticks {
        let at = place_x(at);
        put(
            &mut svg,
            format_args!(
                r#"<text class="tick" x="{at:.1}" y="{:.1}" text-anchor="middle">{word}</text>"#,
                HEIGHT - BOTTOM + 18.0
            ),
        );
    }
    put(
        &mut svg,
        format_args!(
            r#"<text class="tick" x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
            WIDTH - RIGHT,
            HEIGHT - 4.0,
            escaped(x.name)
        ),
    );
    for (number_of, line) in lines.iter().enumerate() {
        let mut path = String::new();
        for (at, value) in line.points.iter().filter(|(_, value)| value.is_finite()) {
            let step = if path.is_empty() { 'M' } else { 'L' };
            write!(path, "{step}{:.1} {:.1}", place_x(*at), place_y(*value)).expect("memory takes it");
        }
        put(&mut svg, format_args!(r#"<path class="line c{number_of}" d="{path}"/>"#));
    }
    for line in lines.iter().filter(|line| line.points.len() <= HOVER_MAX) {
        for (at, value) in line.points.iter().filter(|(_, value)| value.is_finite()) {
            put(
                &mut svg,
                format_args!(
                    r#"<circle class="hover" cx="{:.1}" cy="{:.1}" r="6"><title>{}: {} ({})</title></circle>"#,
                    place_x(*at),
                    place_y(*value),
                    line.name,
                    number(*value),
                    number(*at)
                ),
            );
        }
    }
    svg.push_str("</svg>");
    let mut legend = String::new();
    if lines.len() > 1 {
        for (number_of, line) in lines.iter().enumerate() {
            put(
                &mut legend,
                format_args!(r#"<span><i class="c{number_of}"></i>{}</span>"#, escaped(line.name)),
            );
        }
    }
    format!(r#"<div class="legend"><b>{}</b>{legend}</div>{svg}"#, escaped(y.name))
}

pub(crate) fn bars(bars: &[Bar], unit: &str) -> String {
    let max =
        bars.iter().map(|bar| bar.range.1.max(bar.value)).filter(|most| most.is_finite()).fold(0.0, f64::max);
    let left = 170.0;
    let width = WIDTH - left - 110.0;
    let place = |value: f64| left + if max > 0.0 { value / max * width } else { 0.0 };
    let height = BAR * bars.len() as f64 + 8.0;
    let mut svg = begin(height, unit);
    for (number_of, bar) in bars.iter().enumerate() {
        let y = BAR * number_of as f64 + 6.0;
        let ours = if bar.is_ours { "bar ours" } else { "bar" };
        put(
            &mut svg,
            format_args!(
                r#"<text class="name" x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
                left - 10.0,
                y + 16.0,
                escaped(&bar.name)
            ),
        );
        if !bar.value.is_finite() {
            continue;
        }
        let (least, most) = bar.range;
        put(
            &mut svg,
            format_args!(
                r#"<rect class="{ours}" x="{left}" y="{y:.1}" width="{:.1}" height="22" rx="3"><title>{}: {} {unit}, {} to {}</title></rect>"#,
                (place(bar.value) - left).max(1.0),
                escaped(&bar.name),
                number(bar.value),
                number(least),
                number(most)
            ),
        );
        let middle = y + 11.0;
        put(
            &mut svg,
            format_args!(
                r#"<path class="range" d="M{:.1} {middle:.1}H{:.1}M{:.1} {:.1}v8M{:.1} {:.1}v8"/>"#,
                place(least),
                place(most),
                place(least),
                middle - 4.0,
                place(most),
                middle - 4.0
            ),
        );
        put(
            &mut svg,
            format_args!(
                r#"<text class="value" x="{:.1}" y="{:.1}">{} {unit}</text>"#,
                place(most.max(bar.value)) + 8.0,
                y + 16.0,
                number(bar.value)
            ),
        );
    }
    svg + "</svg>"
}

fn begin(height: f64, label: &str) -> String {
    format!(r#"<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{}">"#, escaped(label))
}

fn put(svg: &mut String, what: std::fmt::Arguments<'_>) {
    svg.write_fmt(what).expect("memory takes it");
}

pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_long_as_they_need() {
        let told = [0.0, 1_234_567.0, 99.96, 12.34, 3.0, 0.5, 0.01234].map(number);
        assert_eq!(told, ["0", "1,234,567", "100", "12.3", "3", "0.5", "0.0123"]);
    }

    #[test]
    fn steps_are_round_and_reach_the_maximum() {
        for max in [0.003, 0.9, 7.0, 23.0, 480.0, 1e6] {
            let steps = steps(max);
            assert!(
                (3..=7).contains(&steps.len()) && steps.last().is_some_and(|last| *last >= max),
                "{max}: {steps:?}"
            );
        }
        assert_eq!(steps(0.0), [0.0, 1.0]);
    }

    #[test]
    fn nothing_in_a_chart_is_out_of_its_box() {
        let points =
            (0..50).map(|at| (f64::from(at), f64::from(at * at))).chain([(51.0, f64::NAN)]).collect();
        let axis = |name| Axis { name, ticks: &[] };
        let svg = lines(&[Line { name: "p99", points }], axis("s"), axis("ms"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        for at in
            svg.split("cx=\"").skip(1).map(|rest| rest.split('"').next().unwrap().parse::<f64>().unwrap())
        {
            assert!((LEFT..=WIDTH - RIGHT).contains(&at));
        }
        let bar = |value| Bar { name: "a<b".into(), value, range: (value, value), is_ours: true };
        let svg = bars(&[bar(1.0), bar(f64::NAN)], "µs");
        assert!(!svg.contains("NaN") && svg.contains("a&lt;b"), "{svg}");
    }
}
