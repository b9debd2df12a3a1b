//! A Gantt chart of a run: a bar for each resource, over time.

use std::fmt::Write as _;

use serde::Deserialize;

/// One bar, in seconds from the beginning.
#[derive(Debug, Deserialize)]
pub(crate) struct Bar {
    /// The resource.
    pub(crate) key: String,
    /// The time of the create call.
    pub(crate) start: f64,
    /// The time at which it has an id.
    pub(crate) exists: f64,
    /// The time at which it is usable.
    pub(crate) usable: f64,
    /// Whether a shorter time here would have shortened the run.
    pub(crate) is_critical: bool,
}

/// The chart.
pub(crate) struct Chart {
    /// The title.
    pub(crate) title: String,
    /// The bars, from the top.
    pub(crate) bars: Vec<Bar>,
    /// The end of the run.
    pub(crate) end: f64,
}

const ROW: f64 = 18.0;
const LEFT: f64 = 210.0;
const WIDTH: f64 = 900.0;
const TOP: f64 = 62.0;
/// Between two lines of the scale, in seconds.
const SCALE: f64 = 20.0;

/// The chart as SVG.
pub(crate) fn svg(chart: &Chart) -> String {
    let right = 24.0;
    let height = TOP + ROW * chart.bars.len() as f64 + 14.0;
    let x = |seconds: f64| LEFT + seconds / chart.end.max(1.0) * (WIDTH - LEFT - right);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"12\" y=\"20\" font-size=\"14\" font-weight=\"bold\">{}</text>\n",
        escaped(&chart.title)
    );
    let legend = [
        ("#1d4e79", "the call"),
        ("#9dc3e6", "until usable"),
        ("#8c2d04", "critical chain: the call"),
        ("#f4a582", "critical chain: until usable"),
    ];
    let mut at = 12.0;
    for (colour, words) in legend {
        line(
            &mut out,
            format_args!(
                "<rect x=\"{at}\" y=\"30\" width=\"10\" height=\"10\" fill=\"{colour}\"/><text x=\"{}\" y=\"39\">{words}</text>",
                at + 14.0
            ),
        );
        at += 40.0 + 6.0 * words.len() as f64;
    }
    let mut mark = 0.0;
    while mark <= chart.end {
        line(
            &mut out,
            format_args!(
                "<line x1=\"{0:.1}\" y1=\"{TOP}\" x2=\"{0:.1}\" y2=\"{1}\" stroke=\"#ddd\"/>\
             <text x=\"{0:.1}\" y=\"{2}\" text-anchor=\"middle\" fill=\"#555\">{mark} s</text>",
                x(mark),
                height - 10.0,
                TOP - 5.0
            ),
        );
        mark += SCALE;
    }
    for (row, bar) in chart.bars.iter().enumerate() {
        let y = TOP + ROW * row as f64;
        let (call, waiting, weight) = match bar.is_critical {
            true => ("#8c2d04", "#f4a582", "bold"),
            false => ("#1d4e79", "#9dc3e6", "normal"),
        };
        line(
            &mut out,
            format_args!(
                "<text x=\"{}\" y=\"{}\" text-anchor=\"end\" font-weight=\"{weight}\">{}</text>",
                LEFT - 8.0,
                y + 13.0,
                escaped(&bar.key)
            ),
        );
        for (from, to, colour) in [
            (bar.start, bar.exists, call),
            (bar.exists, bar.usable, waiting),
        ] {
            // A duration of zero is still visible.
            let width = (x(to) - x(from)).max(if to > from { 1.0 } else { 0.0 });
            line(
                &mut out,
                format_args!(
                    "<rect x=\"{:.1}\" y=\"{}\" width=\"{width:.1}\" height=\"{}\" fill=\"{colour}\"/>",
                    x(from),
                    y + 3.0,
                    ROW - 5.0
                ),
            );
        }
    }
    out.push_str("</svg>\n");
    out
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{text}");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_critical_chain_has_colours_of_its_own() {
        let bar = |key: &str, is_critical| Bar {
            key: key.to_owned(),
            start: 0.0,
            exists: 1.0,
            usable: 50.0,
            is_critical,
        };
        let chart = Chart {
            title: "a < b".to_owned(),
            bars: vec![bar("vpc/main", true), bar("image/web", false)],
            end: 100.0,
        };
        let svg = svg(&chart);
        assert!(svg.contains("a &lt; b"), "{svg}");
        let rows: Vec<&str> = svg
            .lines()
            .filter(|line| line.contains("y=\"65\""))
            .collect();
        assert_eq!(rows.len(), 2, "{svg}");
        assert!(
            rows[0].contains("#8c2d04") && rows[1].contains("#f4a582"),
            "{rows:?}"
        );
        // Half of the time is half of the width.
        assert!(rows[1].contains("width=\"326.3\""), "{rows:?}");
    }
}
