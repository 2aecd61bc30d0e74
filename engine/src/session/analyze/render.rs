//! A report as text: figures in columns on the left, the tree of operators on the right, and below an operator what only some operators measure.
//!
//! Operators' lines are long, so what is compared down a column stands before them.

use super::figures::{Figures, NANOS_OF_SKEW};
use super::{Measured, Report, scans, units};

const COLUMNS: usize = 5;
const HEADER: [&str; COLUMNS] = ["rows", "bytes", "time", "rows max/median", "time max/median"];

enum Line {
    Title(String),
    Operator { figures: [String; COLUMNS], text: String },
    Detail(String),
}

/// See the module documentation. With `verbose` every metric is told, too.
pub(super) fn render(reports: &[Report], verbose: bool) -> String {
    let mut lines = Vec::new();
    for (number, report) in reports.iter().enumerate() {
        if reports.len() > 1 {
            lines.push(Line::Title(format!("Job {} of {}", number + 1, reports.len())));
        }
        for part in &report.parts {
            lines.extend(part.title.clone().map(Line::Title));
            operator(&part.root, 0, verbose, &mut lines);
        }
    }
    text_of(&lines)
}

fn operator(measured: &Measured, depth: usize, verbose: bool, lines: &mut Vec<Line>) {
    let figures = Figures::of(measured);
    let indent = "  ".repeat(depth);
    let cell = |value: Option<String>| value.unwrap_or_default();
    lines.push(Line::Operator {
        figures: [
            cell(figures.rows.map(units::count)),
            cell(figures.bytes.map(units::bytes)),
            cell(figures.nanos.map(units::nanoseconds)),
            cell(figures.skew_of_rows.map(|skew| skew.text(units::count))),
            cell(figures.skew_of_time.map(|skew| skew.text(|micros| units::nanoseconds(micros * NANOS_OF_SKEW)))),
        ],
        text: format!("{indent}{}", scans::label(measured.operator.as_ref(), verbose)),
    });
    if !figures.details.is_empty() {
        lines.push(Line::Detail(format!("{indent}  · {}", figures.details.join(", "))));
    }
    if verbose && let Some(metrics) = &measured.metrics {
        let metrics = metrics.aggregate_by_name().sorted_for_display().timestamps_removed();
        lines.push(Line::Detail(format!("{indent}  · metrics=[{metrics}]")));
    }
    for input in &measured.inputs {
        operator(input, depth + 1, verbose, lines);
    }
}

fn text_of(lines: &[Line]) -> String {
    let mut widths = HEADER.map(width);
    for line in lines {
        if let Line::Operator { figures, .. } = line {
            widths.iter_mut().zip(figures).for_each(|(width_so_far, figure)| *width_so_far = width(figure).max(*width_so_far));
        }
    }
    let mut text = row(&widths, &HEADER.map(String::from), "operator");
    for line in lines {
        text.push('\n');
        match line {
            Line::Title(title) => text.push_str(title),
            Line::Operator { figures, text: operator } => text.push_str(&row(&widths, figures, operator)),
            Line::Detail(detail) => text.push_str(&row(&widths, &Default::default(), detail)),
        }
    }
    text
}

fn row(widths: &[usize; COLUMNS], figures: &[String; COLUMNS], last: &str) -> String {
    let figures = widths.iter().zip(figures).map(|(width, figure)| format!("{figure:>width$}  ", width = *width));
    figures.chain([last.to_string()]).collect()
}

fn width(text: &str) -> usize {
    text.chars().count()
}
