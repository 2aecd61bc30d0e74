//! Lengths of time as they are written in statements: `INTERVAL '10' MINUTE`, `INTERVAL '1 hour 30 minutes'`, `'10 minutes'`.
//!
//! Windows of time need lengths that are the same everywhere, so months and years are refused, and days have 24 hours, as they do in UTC.

use datafusion::sql::sqlparser::ast::{DateTimeField, Expr, Interval, Spanned, UnaryOperator, Value};

use crate::{Error, Position, Result};

/// Microseconds of each unit; names without a plural s.
const UNITS: [(&str, i64); 8] = [
    ("microsecond", 1),
    ("millisecond", 1_000),
    ("second", 1_000_000),
    ("minute", 60_000_000),
    ("hour", 3_600_000_000),
    ("day", 86_400_000_000),
    ("week", 7 * 86_400_000_000),
    ("sec", 1_000_000),
];

/// Units whose length varies.
const VARYING: [&str; 7] = ["month", "mon", "quarter", "year", "decade", "century", "millennium"];

/// Whether an expression is written as a length of time, well formed or not.
pub(crate) fn is_duration(expr: &Expr) -> bool {
    match expr {
        Expr::Interval(interval) => literal_text(&interval.value).is_some(),
        Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr } | Expr::Nested(expr) => is_duration(expr),
        other => literal_text(other).is_some(),
    }
}

/// The microseconds of a length of time; `what` names it in errors.
///
/// # Errors
/// No length of time, or one that varies; with its place.
pub(crate) fn micros(expr: &Expr, what: &str) -> Result<i64> {
    let found = |problem: String| {
        Error::sql(format!("{what} {problem}"))
            .at(Position::of_span(expr.span()))
            .hint("lengths of time are written INTERVAL '10' MINUTE, INTERVAL '1 hour 30 minutes' or '10 minutes'")
    };
    signed_micros(expr).map_err(found)
}

/// As [`micros`], for lengths that must be more than nothing.
///
/// # Errors
/// As [`micros`]; zero and less.
pub(crate) fn positive_micros(expr: &Expr, what: &str) -> Result<i64> {
    let length = micros(expr, what)?;
    if length > 0 {
        return Ok(length);
    }
    Err(Error::sql(format!("{what} is {expr}, which is not more than zero")).at(Position::of_span(expr.span())))
}

fn signed_micros(expr: &Expr) -> Result<i64, String> {
    match expr {
        Expr::Nested(inner) | Expr::UnaryOp { op: UnaryOperator::Plus, expr: inner } => signed_micros(inner),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } => signed_micros(inner).map(|length| -length),
        Expr::Interval(interval) => interval_micros(interval),
        other => match literal_text(other) {
            Some((text, true)) => text_micros(&text),
            _ => Err(format!("is {expr}, which is no length of time")),
        },
    }
}

fn interval_micros(interval: &Interval) -> Result<i64, String> {
    let Some((text, _)) = literal_text(&interval.value) else { return Err(format!("is {interval}, which is no literal")) };
    match (&interval.leading_field, &interval.last_field) {
        (None, _) => text_micros(&text),
        (Some(field), None) => text_micros(&format!("{text} {}", unit_name(field))),
        (Some(from), Some(to)) => Err(format!("is given as {from} TO {to}, which is not supported")),
    }
}

fn unit_name(field: &DateTimeField) -> String {
    match field {
        DateTimeField::Week(_) | DateTimeField::Weeks => "week".to_string(),
        other => other.to_string(),
    }
}

/// The text of a literal, and whether it is a string.
fn literal_text(expr: &Expr) -> Option<(String, bool)> {
    let Expr::Value(value) = expr else { return None };
    match &value.value {
        Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => Some((text.clone(), true)),
        Value::Number(number, _) => Some((number.to_string(), false)),
        _ => None,
    }
}

/// `[interval] number unit [number unit …]`.
fn text_micros(text: &str) -> Result<i64, String> {
    let lower = text.trim().to_ascii_lowercase();
    let lower = lower.strip_prefix("interval ").unwrap_or(&lower);
    let words = split_numbers(lower);
    if words.is_empty() || !words.len().is_multiple_of(2) {
        return Err(format!("is '{text}', which is no length of time"));
    }
    let mut total = 0i64;
    for pair in words.chunks(2) {
        let [number, unit] = pair else { continue };
        let part = part_micros(number, unit, text)?;
        total = total.checked_add(part).ok_or_else(|| format!("is '{text}', which is too long"))?;
    }
    Ok(total)
}

/// `10minutes` → `10`, `minutes`; the rest is split at blanks.
fn split_numbers(text: &str) -> Vec<&str> {
    text.split_whitespace()
        .flat_map(|word| {
            let unit_at = word.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(word.len());
            let (number, unit) = word.split_at(unit_at);
            [number, unit]
        })
        .filter(|word| !word.is_empty())
        .collect()
}

fn part_micros(number: &str, unit: &str, text: &str) -> Result<i64, String> {
    let singular = if unit.len() > 2 { unit.strip_suffix('s').unwrap_or(unit) } else { unit };
    if VARYING.contains(&singular) {
        return Err(format!("is '{text}'; the length of a {singular} varies"));
    }
    let Some((_, scale)) = UNITS.iter().find(|(name, _)| *name == singular) else {
        return Err(format!("is '{text}', in which '{unit}' is no unit of time"));
    };
    exact(number, *scale).ok_or_else(|| format!("is '{text}', in which '{number}' is no number of microseconds or more"))
}

/// `number * scale`, if that is whole and fits.
fn exact(number: &str, scale: i64) -> Option<i64> {
    let (number, sign) = number.strip_prefix('-').map_or((number.strip_prefix('+').unwrap_or(number), 1), |rest| (rest, -1));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let all_digits = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() && fraction.is_empty() || !all_digits(whole) || !all_digits(fraction) || fraction.len() > 12 {
        return None;
    }
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let divisor = 10i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let scaled = digits.checked_mul(i128::from(scale))?;
    if scaled % divisor != 0 {
        return None;
    }
    i64::try_from(scaled / divisor).ok()?.checked_mul(sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_exact() {
        let minute = 60_000_000;
        for (text, micros) in [
            ("10 minutes", 10 * minute),
            ("10minutes", 10 * minute),
            (" INTERVAL 1 hour 30 minute ", 90 * minute),
            ("1.5 hours", 90 * minute),
            ("0.000001 seconds", 1),
            ("-2 days", -2 * 1440 * minute),
            ("1 week", 7 * 1440 * minute),
            ("250 milliseconds 3 microseconds", 250_003),
        ] {
            assert_eq!(text_micros(text), Ok(micros), "{text}");
        }
    }

    #[test]
    fn what_is_none_is_named() {
        for (text, said) in [
            ("", "no length of time"),
            ("10", "no length of time"),
            ("minutes 10", "no unit"),
            ("1 month", "the length of a month varies"),
            ("2 years", "the length of a year varies"),
            ("3 parsecs", "'parsecs' is no unit"),
            ("1.2.3 hours", "'1.2.3' is no number"),
            ("0.0000001 seconds", "no number of microseconds"),
            ("99999999999 weeks", "no number"),
        ] {
            let error = text_micros(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
