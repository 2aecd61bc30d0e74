//! Bad rows on request: which rows they are, and what is wrong with each.
//!
//! Both follow from the seed and the number of the row alone, so that a dirty data set is the clean one with some rows spoilt.

use crate::randomness::{hash, mix, scaled, unit};
use crate::rows::RawRow;

/// Text that is no time, or not the usual one: nothing, words, a month that does not exist.
const NO_TIMES: [&str; 4] = ["", "not a date", "2019-13-01 00:00:00 UTC", "2019-10-32 25:61:61 UTC"];
/// Types that no consumer expects.
const UNKNOWN_TYPES: [&str; 3] = ["remove_from_cart", "VIEW ", ""];
/// What the raw time ends with.
const ZONE: &str = " UTC";
/// Prices above this (in cents) are huge; the highest ones are a billion.
const HUGE_FROM_CENTS: u64 = 1_000_001;
const HUGE_TO_CENTS: u64 = 100_000_000_000;

/// Which rows are spoilt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dirt {
    /// The share of bad rows, from 0 to 1.
    pub rate: f64,
    /// The seed of the data set.
    pub seed: u64,
}

impl Dirt {
    /// Spoils a row, if it is one of the bad ones: a fifth each gets a malformed time, a negative price, a huge price, an unknown type or
    /// a missing key.
    pub fn spoil(self, number: u64, row: &mut RawRow<'_>) {
        if self.rate <= 0.0 || unit(hash(self.seed, 40, number)) >= self.rate {
            return;
        }
        let choice = hash(self.seed, 41, number);
        let detail = mix(choice);
        match scaled(choice as u32, 5) {
            0 => match scaled(detail as u32, NO_TIMES.len() as u32 + 1) as usize {
                kind if kind < NO_TIMES.len() => row.event_time = NO_TIMES[kind],
                _ => row.event_time = row.event_time.strip_suffix(ZONE).unwrap_or_default(),
            },
            1 => row.price_cents = -row.price_cents.max(1),
            2 => {
                // Evenly over the orders of magnitude: 10,000 to 100,000 as often as 100 million to a billion.
                let magnitude = (0..scaled(detail as u32, 5)).fold(1u64, |magnitude, _| magnitude * 10);
                let cents = HUGE_FROM_CENTS * magnitude + (detail >> 32) % (9 * HUGE_FROM_CENTS) * magnitude;
                row.price_cents = cents.min(HUGE_TO_CENTS) as i64;
            }
            3 => row.event_type = UNKNOWN_TYPES[scaled(detail as u32, UNKNOWN_TYPES.len() as u32) as usize],
            _ => match scaled(detail as u32, 3) {
                0 => row.user_id = None,
                1 => row.product_id = None,
                _ => row.user_session = None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLEAN: RawRow<'static> = RawRow {
        event_time: "2019-10-01 00:00:00 UTC",
        event_type: "view",
        product_id: Some(1),
        category_id: 2,
        category_code: None,
        brand: None,
        price_cents: 350,
        user_id: Some(3),
        user_session: Some("s"),
    };

    fn spoilt(rate: f64, seed: u64, rows: u64) -> Vec<RawRow<'static>> {
        let spoil = |number| {
            let mut row = CLEAN;
            Dirt { rate, seed }.spoil(number, &mut row);
            row
        };
        (0..rows).map(spoil).filter(|row| *row != CLEAN).collect()
    }

    #[test]
    fn the_rate_is_kept_and_every_kind_occurs() {
        assert!(spoilt(0.0, 1, 10_000).is_empty());
        assert_eq!(spoilt(1.0, 1, 10_000).len(), 10_000);
        let rows = spoilt(0.1, 1, 100_000);
        assert!((9_500..10_500).contains(&rows.len()), "{}", rows.len());
        for text in NO_TIMES {
            assert!(rows.iter().any(|row| row.event_time == text));
        }
        assert!(rows.iter().any(|row| row.event_time == "2019-10-01 00:00:00"));
        for text in UNKNOWN_TYPES {
            assert!(rows.iter().any(|row| row.event_type == text));
        }
        assert!(rows.iter().any(|row| row.price_cents < 0));
        assert!(rows.iter().any(|row| row.user_id.is_none()));
        assert!(rows.iter().any(|row| row.product_id.is_none()));
        assert!(rows.iter().any(|row| row.user_session.is_none()));
        let huge = rows.iter().filter(|row| row.price_cents > 1_000_000).count();
        assert!((1_800..2_200).contains(&huge));
        assert!(rows.iter().any(|row| row.price_cents > 10_000_000_000));
        assert!(rows.iter().all(|row| row.price_cents <= 100_000_000_000));
    }
}
