//! Text to microseconds since the epoch by a pattern that the user wrote, in Java's letters (as in Spark) or strftime's.

use super::civil::{MICROS_PER_SECOND, micros_since_epoch};
use super::timestamp_text::Cursor;

/// A compiled pattern. Compile once, parse many texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimestampPattern {
    steps: Vec<Step>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// A year of exactly four digits.
    Year4,
    /// A year of two digits, 2000 to 2099.
    Year2,
    Month {
        least: usize,
    },
    MonthName,
    Day {
        least: usize,
    },
    DayName,
    Hour24 {
        least: usize,
    },
    Hour12 {
        least: usize,
    },
    HalfDay,
    Minute {
        least: usize,
    },
    Second {
        least: usize,
    },
    Fraction,
    /// `.` and digits, or nothing.
    OptionalFraction,
    Zone,
    Literal(u8),
}

const MONTHS: [&[u8]; 12] =
    [b"january", b"february", b"march", b"april", b"may", b"june", b"july", b"august", b"september", b"october", b"november", b"december"];
const DAYS: [&[u8]; 7] = [b"monday", b"tuesday", b"wednesday", b"thursday", b"friday", b"saturday", b"sunday"];

impl TimestampPattern {
    /// Compiles a pattern: strftime's directives if it contains a `%`, Java's letters otherwise.
    ///
    /// Java: `y M d H h m s S a E X x Z z V`, `'quoted text'`, `[` and `]` are not supported. strftime: `%Y %y %m %d %e
    /// %H %I %M %S %f %.f %p %b %B %a %A %z %Z %F %T %D %R %%`. The error names the part that is not understood.
    pub fn compile(pattern: &str) -> Result<Self, String> {
        let steps = if pattern.contains('%') { compile_strftime(pattern)? } else { compile_java(pattern)? };
        let has_year = steps.iter().any(|s| matches!(s, Step::Year4 | Step::Year2));
        if !has_year {
            return Err(format!(
                "timestamp format '{pattern}' has no year; write for example 'yyyy-MM-dd HH:mm:ss' or '%Y-%m-%d %H:%M:%S'"
            ));
        }
        Ok(Self { steps })
    }

    /// The instant that `text` means, in microseconds since the epoch; `None` where it does not match the whole pattern or
    /// names an instant that does not exist. Parts that the pattern lacks are the first of their kind (January, the 1st,
    /// midnight, UTC).
    pub fn parse_micros(&self, text: &[u8]) -> Option<i64> {
        let mut cursor = Cursor { rest: text.trim_ascii() };
        let mut parts = Parts::default();
        for step in &self.steps {
            parts.read(*step, &mut cursor)?;
        }
        if cursor.rest.is_empty() { parts.micros() } else { None }
    }
}

struct Parts {
    year: i32,
    month: u32,
    day: u32,
    hour: u32,
    minute: u32,
    second: u32,
    micros: u32,
    offset: i64,
    /// Hours on a clock face are 1 to 12, with the half of the day beside them.
    on_clock_face: bool,
    afternoon: bool,
}

impl Default for Parts {
    fn default() -> Self {
        Self { year: 1970, month: 1, day: 1, hour: 0, minute: 0, second: 0, micros: 0, offset: 0, on_clock_face: false, afternoon: false }
    }
}

impl Parts {
    fn read(&mut self, step: Step, cursor: &mut Cursor) -> Option<()> {
        match step {
            Step::Year4 => self.year = cursor.number(4, 4)? as i32,
            Step::Year2 => self.year = 2000 + cursor.number(2, 2)? as i32,
            Step::Month { least } => self.month = cursor.number(least, 2)?,
            Step::MonthName => self.month = read_name(&MONTHS, cursor)? as u32 + 1,
            Step::Day { least } => self.day = cursor.number(least, 2)?,
            Step::DayName => _ = read_name(&DAYS, cursor)?,
            Step::Hour24 { least } => self.hour = cursor.number(least, 2)?,
            Step::Hour12 { least } => {
                self.on_clock_face = true;
                self.hour = cursor.number(least, 2)?;
            }
            Step::HalfDay => {
                let letters = cursor.rest.first_chunk::<2>()?;
                self.afternoon = if letters.eq_ignore_ascii_case(b"pm") {
                    true
                } else if letters.eq_ignore_ascii_case(b"am") {
                    false
                } else {
                    return None;
                };
                cursor.rest = &cursor.rest[2..];
            }
            Step::Minute { least } => self.minute = cursor.number(least, 2)?,
            Step::Second { least } => self.second = cursor.number(least, 2)?,
            Step::Fraction => self.micros = cursor.fraction_digits()?,
            Step::OptionalFraction => {
                if cursor.literal(b'.').is_some() {
                    self.micros = cursor.fraction_digits()?;
                }
            }
            Step::Zone => self.offset = cursor.offset()?,
            Step::Literal(byte) => cursor.literal(byte)?,
        }
        Some(())
    }

    fn micros(&self) -> Option<i64> {
        let hour = match (self.on_clock_face, self.hour) {
            (false, hour) => hour,
            (true, hour @ 1..=12) => hour % 12 + if self.afternoon { 12 } else { 0 },
            (true, _) => return None,
        };
        let local = micros_since_epoch((self.year, self.month, self.day), (hour, self.minute, self.second), self.micros)?;
        Some(local - self.offset * MICROS_PER_SECOND)
    }
}

/// A full name or its first three letters, in any case: its place in `names`.
fn read_name(names: &[&[u8]], cursor: &mut Cursor) -> Option<usize> {
    let letters = cursor.rest.iter().take_while(|b| b.is_ascii_alphabetic()).count();
    let word = &cursor.rest[..letters];
    let at = names.iter().position(|name| word.eq_ignore_ascii_case(name) || word.eq_ignore_ascii_case(&name[..3]))?;
    cursor.rest = &cursor.rest[letters..];
    Some(at)
}

fn compile_java(pattern: &str) -> Result<Vec<Step>, String> {
    let bytes = pattern.as_bytes();
    let mut steps = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let letter = bytes[at];
        if letter == b'\'' {
            at = quoted_literal(pattern, at, &mut steps)?;
            continue;
        }
        if !letter.is_ascii_alphabetic() {
            if matches!(letter, b'[' | b']' | b'{' | b'}' | b'#') {
                return Err(format!("timestamp format '{pattern}' uses '{}', which is not supported", letter as char));
            }
            steps.push(Step::Literal(letter));
            at += 1;
            continue;
        }
        let count = bytes[at..].iter().take_while(|b| **b == letter).count();
        let least = count.min(2);
        steps.push(match (letter, count) {
            (b'y' | b'u', 4) => Step::Year4,
            (b'y' | b'u', 2) => Step::Year2,
            (b'M' | b'L', 1 | 2) => Step::Month { least },
            (b'M' | b'L', 3 | 4) => Step::MonthName,
            (b'd', 1 | 2) => Step::Day { least },
            (b'E', 1..=4) => Step::DayName,
            (b'H', 1 | 2) => Step::Hour24 { least },
            (b'h', 1 | 2) => Step::Hour12 { least },
            (b'a', 1) => Step::HalfDay,
            (b'm', 1 | 2) => Step::Minute { least },
            (b's', 1 | 2) => Step::Second { least },
            (b'S', 1..=9) => Step::Fraction,
            (b'X' | b'x' | b'Z' | b'z' | b'V' | b'O', _) => Step::Zone,
            _ => {
                let part = &pattern[at..at + count];
                return Err(format!(
                    "timestamp format '{pattern}': '{part}' is not supported; use yyyy, yy, M, MM, MMM, d, dd, H, HH, h, hh, m, mm, s, ss, S, a, E, X, z or text in single quotes"
                ));
            }
        });
        at += count;
    }
    Ok(steps)
}

/// `'text'`, or `''` for one quote; returns the place after it.
fn quoted_literal(pattern: &str, start: usize, steps: &mut Vec<Step>) -> Result<usize, String> {
    let bytes = pattern.as_bytes();
    if bytes.get(start + 1) == Some(&b'\'') {
        steps.push(Step::Literal(b'\''));
        return Ok(start + 2);
    }
    let length = bytes[start + 1..].iter().position(|b| *b == b'\'');
    let length = length.ok_or_else(|| format!("timestamp format '{pattern}' has a quote that is not closed"))?;
    let end = start + 1 + length;
    steps.extend(bytes[start + 1..end].iter().map(|b| Step::Literal(*b)));
    Ok(end + 1)
}

fn compile_strftime(pattern: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    let mut rest = pattern.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte != b'%' {
            steps.push(Step::Literal(byte));
            rest = after;
            continue;
        }
        if let Some(after) = after.strip_prefix(b".f".as_slice()) {
            steps.push(Step::OptionalFraction);
            rest = after;
            continue;
        }
        let Some((&directive, after)) = after.split_first() else {
            return Err(format!("timestamp format '{pattern}' ends in '%'"));
        };
        match directive {
            b'Y' => steps.push(Step::Year4),
            b'y' => steps.push(Step::Year2),
            b'm' => steps.push(Step::Month { least: 1 }),
            b'b' | b'B' | b'h' => steps.push(Step::MonthName),
            b'd' | b'e' => steps.push(Step::Day { least: 1 }),
            b'a' | b'A' => steps.push(Step::DayName),
            b'H' | b'k' => steps.push(Step::Hour24 { least: 1 }),
            b'I' | b'l' => steps.push(Step::Hour12 { least: 1 }),
            b'p' | b'P' => steps.push(Step::HalfDay),
            b'M' => steps.push(Step::Minute { least: 1 }),
            b'S' => steps.push(Step::Second { least: 1 }),
            b'f' => steps.push(Step::Fraction),
            b'z' | b'Z' => steps.push(Step::Zone),
            b'F' => steps.extend(compile_strftime("%Y-%m-%d")?),
            b'T' => steps.extend(compile_strftime("%H:%M:%S")?),
            b'R' => steps.extend(compile_strftime("%H:%M")?),
            b'D' => steps.extend(compile_strftime("%m/%d/%y")?),
            b'%' => steps.push(Step::Literal(b'%')),
            _ => {
                let shown = String::from_utf8_lossy(&[directive]).into_owned();
                return Err(format!("timestamp format '{pattern}': '%{shown}' is not supported; for example '%Y-%m-%d %H:%M:%S' is"));
            }
        }
        rest = after;
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OCTOBER: i64 = 1_569_888_000_000_000;

    fn parse(pattern: &str, text: &str) -> Option<i64> {
        TimestampPattern::compile(pattern).unwrap().parse_micros(text.as_bytes())
    }

    #[test]
    fn java_patterns() {
        assert_eq!(parse("yyyy-MM-dd", "2019-10-01"), Some(OCTOBER));
        assert_eq!(parse("dd/MM/yyyy HH:mm:ss", "01/10/2019 00:00:01"), Some(OCTOBER + 1_000_000));
        assert_eq!(parse("d-M-yy", "1-10-19"), Some(OCTOBER));
        assert_eq!(parse("dd MMM yyyy hh:mm a", "01 Oct 2019 12:30 AM"), Some(OCTOBER + 30 * 60 * 1_000_000));
        assert_eq!(parse("dd MMMM yyyy hh:mm a", "01 OCTOBER 2019 12:00 pm"), Some(OCTOBER + 12 * 3_600_000_000));
        assert_eq!(parse("EEE, dd MMM yyyy", "Tue, 01 Oct 2019"), Some(OCTOBER));
        assert_eq!(parse("yyyy-MM-dd'T'HH:mm:ss.SSSXXX", "2019-10-01T02:00:00.250+02:00"), Some(OCTOBER + 250_000));
        assert_eq!(parse("yyyy-MM-dd HH:mm:ss z", "2019-10-01 00:00:00 UTC"), Some(OCTOBER));
        assert_eq!(parse("yyyy 'o''clock'".replace("''", "").as_str(), "2019 oclock"), Some(1_546_300_800_000_000));
        assert_eq!(parse("yyyy''MM", "2019'10"), Some(OCTOBER));
    }

    #[test]
    fn strftime_patterns() {
        assert_eq!(parse("%Y-%m-%d", "2019-10-01"), Some(OCTOBER));
        assert_eq!(parse("%d.%m.%Y %H:%M", "1.10.2019 00:05"), Some(OCTOBER + 300_000_000));
        assert_eq!(parse("%FT%T%.f%z", "2019-10-01T00:00:00+00:00"), Some(OCTOBER));
        assert_eq!(parse("%FT%T%.f%z", "2019-10-01T00:00:00.5Z"), Some(OCTOBER + 500_000));
        assert_eq!(parse("%b %e %Y %I%p%%", "Oct 1 2019 1AM%"), Some(OCTOBER + 3_600_000_000));
    }

    #[test]
    fn texts_that_do_not_fit_are_none() {
        assert_eq!(parse("yyyy-MM-dd", "2019-10-01 00:00:00"), None);
        assert_eq!(parse("yyyy-MM-dd", "2019-10"), None);
        assert_eq!(parse("yyyy-MM-dd", "2019-02-30"), None);
        assert_eq!(parse("dd MMM yyyy", "01 Okt 2019"), None);
        assert_eq!(parse("yyyy-MM-dd hh:mm a", "2019-10-01 13:00 PM"), None);
        assert_eq!(parse("yyyy-MM-dd hh:mm a", "2019-10-01 01:00"), None);
    }

    #[test]
    fn wrong_patterns_are_errors_that_name_the_part() {
        for (pattern, named) in [
            ("yyyy-QQ", "QQ"),
            ("yyyy [HH]", "["),
            ("yyyy 'open", "quote"),
            ("%Y %q", "%q"),
            ("%Y %", "%"),
            ("HH:mm", "year"),
            ("", "year"),
        ] {
            let error = TimestampPattern::compile(pattern).unwrap_err();
            assert!(error.contains(named), "{pattern}: {error}");
        }
    }
}
