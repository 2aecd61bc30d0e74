//! The proleptic Gregorian calendar as arithmetic: dates to days since 1970-01-01.

/// Microseconds in a second.
pub const MICROS_PER_SECOND: i64 = 1_000_000;
/// Seconds in a day; UTC has no daylight saving and leap seconds are not represented.
pub const SECONDS_PER_DAY: i64 = 86_400;

/// True if `year` has a 29th of February.
pub fn is_leap_year(year: i32) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Number of days of `month` (1 to 12) in `year`; 0 for a month that does not exist.
pub fn days_in_month(year: i32, month: u32) -> u32 {
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if is_leap_year(year) => 29,
        2 => 28,
        _ => 0,
    }
}

/// Days from 1970-01-01 to the given date, or `None` where the calendar has no such date.
///
/// Years count from March here, so that the leap day is the last of its year and the length of the months before a
/// given month is a linear function.
pub fn days_since_epoch(year: i32, month: u32, day: u32) -> Option<i64> {
    if day == 0 || day > days_in_month(year, month) {
        return None;
    }
    let from_march = (month + 9) % 12;
    let year = i64::from(year) - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = i64::from((153 * from_march + 2) / 5 + day - 1);
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

/// Microseconds since the epoch of a date and a time of day (UTC), or `None` if any part is out of its range.
pub fn micros_since_epoch(date: (i32, u32, u32), time: (u32, u32, u32), micros: u32) -> Option<i64> {
    let (hour, minute, second) = time;
    if hour > 23 || minute > 59 || second > 59 || micros > 999_999 {
        return None;
    }
    let days = days_since_epoch(date.0, date.1, date.2)?;
    let seconds = days * SECONDS_PER_DAY + i64::from(hour * 3600 + minute * 60 + second);
    Some(seconds * MICROS_PER_SECOND + i64::from(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        assert_eq!(days_since_epoch(1970, 1, 1), Some(0));
        assert_eq!(days_since_epoch(1969, 12, 31), Some(-1));
        assert_eq!(days_since_epoch(2000, 2, 29), Some(11_016));
        assert_eq!(days_since_epoch(2019, 10, 1), Some(18_170));
        assert_eq!(days_since_epoch(1900, 2, 29), None);
        assert_eq!(days_since_epoch(2019, 2, 29), None);
        assert_eq!(days_since_epoch(2019, 13, 1), None);
        assert_eq!(days_since_epoch(2019, 0, 1), None);
        assert_eq!(days_since_epoch(2019, 4, 31), None);
        assert_eq!(days_since_epoch(2019, 4, 0), None);
    }

    #[test]
    fn every_day_of_four_centuries_follows_the_one_before() {
        let mut expected = days_since_epoch(1800, 1, 1).unwrap();
        for year in 1800..2200 {
            for month in 1..=12 {
                for day in 1..=days_in_month(year, month) {
                    assert_eq!(days_since_epoch(year, month, day), Some(expected));
                    expected += 1;
                }
            }
        }
    }

    #[test]
    fn times_out_of_range_have_no_instant() {
        assert_eq!(micros_since_epoch((2019, 10, 1), (0, 0, 1), 5), Some(18_170 * 86_400_000_000 + 1_000_005));
        assert_eq!(micros_since_epoch((2019, 10, 1), (24, 0, 0), 0), None);
        assert_eq!(micros_since_epoch((2019, 10, 1), (23, 60, 0), 0), None);
        assert_eq!(micros_since_epoch((2019, 10, 1), (23, 59, 60), 0), None);
    }
}
