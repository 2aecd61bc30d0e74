//! Text to microseconds since the epoch, for the ISO-like texts that event logs hold.

use super::civil::{MICROS_PER_SECOND, days_since_epoch, micros_since_epoch};

/// Parses `YYYY-MM-DD[(T| )HH:MM[:SS[.fraction]][ ][zone]]`, zone being `UTC`, `GMT`, `Z` or `±HH[[:]MM]` (UTC if absent).
///
/// Month, day, hour, minute and second may have one digit; blanks around the text are ignored; digits of the fraction
/// after the sixth are cut off. `None` for anything else, for dates the calendar does not have, and for leap seconds.
pub fn parse_timestamp_micros(text: &[u8]) -> Option<i64> {
    if text.len() >= 19
        && let Some(seconds) = parse_fixed_layout(text)
    {
        return match &text[19..] {
            b" UTC" | b"Z" | b"" => Some(seconds * MICROS_PER_SECOND),
            rest => parse_fraction_and_zone(rest).map(|micros| seconds * MICROS_PER_SECOND + micros),
        };
    }
    parse_any_layout(text.trim_ascii())
}

/// The first 19 bytes as `YYYY-MM-DD HH:MM:SS` (or with a `T`), in seconds since the epoch as if UTC.
fn parse_fixed_layout(text: &[u8]) -> Option<i64> {
    let text: &[u8; 19] = text.first_chunk()?;
    let separators = text[4] == b'-' && text[7] == b'-' && matches!(text[10], b' ' | b'T') && text[13] == b':' && text[16] == b':';
    // One accumulated flag in place of a branch per digit: well-formed rows are the rule.
    let mut wrong = !separators;
    let mut digit = |at: usize| {
        let value = text[at].wrapping_sub(b'0');
        wrong |= value > 9;
        u32::from(value)
    };
    let year = digit(0) * 1000 + digit(1) * 100 + digit(2) * 10 + digit(3);
    let month = digit(5) * 10 + digit(6);
    let day = digit(8) * 10 + digit(9);
    let hour = digit(11) * 10 + digit(12);
    let minute = digit(14) * 10 + digit(15);
    let second = digit(17) * 10 + digit(18);
    if wrong || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days_since_epoch(year as i32, month, day)?;
    Some(days * 86_400 + i64::from(hour * 3600 + minute * 60 + second))
}

/// `[.digits][ ][zone]` up to the end of the text: the microseconds to add to the instant before it.
fn parse_fraction_and_zone(rest: &[u8]) -> Option<i64> {
    let mut cursor = Cursor { rest };
    let micros = cursor.fraction()?;
    let offset = cursor.zone()?;
    Some(i64::from(micros) - offset * MICROS_PER_SECOND)
}

fn parse_any_layout(text: &[u8]) -> Option<i64> {
    let mut cursor = Cursor { rest: text };
    let year = cursor.number(4, 4)?;
    cursor.literal(b'-')?;
    let month = cursor.number(1, 2)?;
    cursor.literal(b'-')?;
    let day = cursor.number(1, 2)?;
    let date = (year as i32, month, day);
    if cursor.rest.is_empty() {
        return micros_since_epoch(date, (0, 0, 0), 0);
    }
    if !matches!(cursor.rest[0], b' ' | b'T') {
        return None;
    }
    cursor.rest = &cursor.rest[1..];
    let hour = cursor.number(1, 2)?;
    cursor.literal(b':')?;
    let minute = cursor.number(1, 2)?;
    let second = if cursor.literal(b':').is_some() { cursor.number(1, 2)? } else { 0 };
    let micros = cursor.fraction()?;
    let offset = cursor.zone()?;
    Some(micros_since_epoch(date, (hour, minute, second), micros)? - offset * MICROS_PER_SECOND)
}

/// A reader over the bytes that are still to be parsed. Every step returns `None` on malformed input.
pub(super) struct Cursor<'a> {
    pub(super) rest: &'a [u8],
}

impl Cursor<'_> {
    /// A number of `least` to `most` digits, as many as there are. `most` is at most 9.
    pub(super) fn number(&mut self, least: usize, most: usize) -> Option<u32> {
        let digits = self.rest.iter().take(most).take_while(|b| b.is_ascii_digit()).count();
        if digits < least {
            return None;
        }
        let value = self.rest[..digits].iter().fold(0, |value, b| value * 10 + u32::from(b - b'0'));
        self.rest = &self.rest[digits..];
        Some(value)
    }

    pub(super) fn literal(&mut self, byte: u8) -> Option<()> {
        self.rest = self.rest.strip_prefix(&[byte])?;
        Some(())
    }

    /// `.digits` in microseconds, 0 if there is no point. A point without digits is malformed.
    fn fraction(&mut self) -> Option<u32> {
        if self.literal(b'.').is_none() {
            return Some(0);
        }
        self.fraction_digits()
    }

    /// One or more digits after the decimal point, in microseconds.
    pub(super) fn fraction_digits(&mut self) -> Option<u32> {
        let digits = self.rest.iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        let kept = &self.rest[..digits.min(6)];
        let value = kept.iter().fold(0, |value, b| value * 10 + u32::from(b - b'0'));
        self.rest = &self.rest[digits..];
        Some(value * 10u32.pow(6 - kept.len() as u32))
    }

    /// The zone at the end of the text, as seconds east of UTC; an absent zone is UTC.
    fn zone(&mut self) -> Option<i64> {
        let rest = self.rest.trim_ascii_start();
        self.rest = rest.trim_ascii_end();
        if self.rest.is_empty() {
            return Some(0);
        }
        let offset = self.offset()?;
        self.rest.is_empty().then_some(offset)
    }

    /// `UTC`, `GMT`, `Z` or `±HH[[:]MM]`, as seconds east of UTC; at most 18 hours.
    pub(super) fn offset(&mut self) -> Option<i64> {
        for name in [b"UTC".as_slice(), b"GMT", b"Z", b"z"] {
            if let Some(rest) = self.rest.strip_prefix(name) {
                self.rest = rest;
                return Some(0);
            }
        }
        let sign = match self.rest.first()? {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        self.rest = &self.rest[1..];
        let hours = self.number(1, 2)?;
        let minutes =
            if self.literal(b':').is_some() || self.rest.first().is_some_and(u8::is_ascii_digit) { self.number(2, 2)? } else { 0 };
        let seconds = i64::from(hours * 3600 + minutes * 60);
        (minutes < 60 && seconds <= 18 * 3600).then_some(sign * seconds)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::civil::days_in_month;
    use super::*;

    fn parse(text: &str) -> Option<i64> {
        parse_timestamp_micros(text.as_bytes())
    }

    const OCTOBER: i64 = 1_569_888_000_000_000;

    #[test]
    fn accepts_the_layouts_of_event_logs() {
        for text in [
            "2019-10-01 00:00:00 UTC",
            "2019-10-01 00:00:00",
            "2019-10-01T00:00:00Z",
            "2019-10-01T00:00:00.000Z",
            "2019-10-01 02:00:00+02:00",
            "2019-10-01 02:00:00 +0200",
            "2019-09-30 22:30:00.0-01:30",
            "2019-10-01 02:00:00+02",
            "2019-10-01",
            "2019-10-1 0:0",
            "  2019-10-01 00:00:00 UTC ",
            "2019-10-01 00:00:00   GMT",
        ] {
            assert_eq!(parse(text), Some(OCTOBER), "{text}");
        }
        assert_eq!(parse("2019-10-01 00:00:01.5"), Some(OCTOBER + 1_500_000));
        assert_eq!(parse("2019-10-01 00:00:00.123456789 UTC"), Some(OCTOBER + 123_456));
        assert_eq!(parse("1969-12-31 23:59:59.999999 UTC"), Some(-1));
        assert_eq!(parse("0001-01-01 00:00:00"), Some(-62_135_596_800_000_000));
    }

    #[test]
    fn refuses_what_is_no_instant() {
        for text in [
            "",
            " ",
            "yesterday",
            "2019-02-29 00:00:00 UTC",
            "2019-13-01 00:00:00 UTC",
            "2019-10-00 00:00:00 UTC",
            "2019-10-01 24:00:00 UTC",
            "2019-10-01 00:60:00 UTC",
            "2019-10-01 00:00:60 UTC",
            "2019-10-01 00:00:00 UT",
            "2019-10-01 00:00:00 UTC+1",
            "2019-10-01 00:00:00. UTC",
            "2019-10-01 00:00:00+19:00",
            "2019-10-01 00:00:00+01:60",
            "2019-10-01 00:00:00 Europe/Paris",
            "2019-10-01 00:00:00 UTC trailing",
            "2019/10/01 00:00:00",
            "19-10-01 00:00:00",
            "2019-10-01 00",
            "2019-10-01x00:00:00",
            "1569888000",
            "2019-1O-01 00:00:00 UTC",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,40}") {
            let _ = parse(&text);
        }

        #[test]
        fn almost_timestamps_never_panic(text in "[0-9T:.+Z -]{10,32}") {
            let _ = parse(&text);
        }

        #[test]
        fn written_parts_are_read_back(
            (year, month, day) in (1i32..=9999, 1u32..=12, 1u32..=31),
            (hour, minute, second, micros) in (0u32..24, 0u32..60, 0u32..60, 0u32..1_000_000),
        ) {
            let text = format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{micros:06} UTC");
            let expected = (day <= days_in_month(year, month))
                .then(|| micros_since_epoch((year, month, day), (hour, minute, second), micros).unwrap());
            prop_assert_eq!(parse(&text), expected);
        }
    }
}
