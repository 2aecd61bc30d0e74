//! The marginals of the month that is imitated, and when in the month things happen.
//!
//! The counts are those of the raw file of October 2019 published as "eCommerce behavior data from multi category store" by the REES46
//! Marketing Platform; the shape of gaps, prices and null rates follows the first hours of that file. Numbers marked as assumed are ours.

/// Raw rows of the month; every other count of this list scales with the rows asked for.
pub(crate) const FULL_EVENTS: u64 = 42_448_764;
/// Rows that repeat an earlier row's time, user, product, type and price.
pub(crate) const FULL_DUPLICATES: u64 = 35_207;
/// Rows of type `cart`, duplicates left out.
pub(crate) const FULL_CARTS: u64 = 898_443;
/// Rows of type `purchase`, duplicates left out; all others are views.
pub(crate) const FULL_PURCHASES: u64 = 742_773;
/// Distinct users.
pub(crate) const FULL_USERS: u64 = 3_022_290;
/// Distinct sessions, duplicates left out.
pub(crate) const FULL_SESSIONS: u64 = 9_240_085;
/// Rows without a session.
pub(crate) const FULL_MISSING_SESSIONS: u64 = 2;

/// The share of rows without a brand.
pub(crate) const BRAND_MISSING: f64 = 6_113_008.0 / FULL_EVENTS as f64;
/// The share of rows without a category code.
pub(crate) const CATEGORY_CODE_MISSING: f64 = 13_515_609.0 / FULL_EVENTS as f64;
/// The share of rows with price 0.
pub(crate) const PRICE_ZERO: f64 = 68_669.0 / FULL_EVENTS as f64;
/// How much more often a brand is missing where the category code is missing too, from the first hours of the file.
pub(crate) const BRAND_MISSING_UNCODED_RATIO: f64 = 3.315;
/// The highest price, in cents.
pub(crate) const PRICE_LIMIT_CENTS: u32 = 257_407;

/// Distinct combinations of product, category and brand in the month.
pub(crate) const PRODUCT_VERSIONS: u32 = 174_537;
/// Distinct products; the difference to the versions are products whose brand or category changed (the split is assumed).
pub(crate) const PRODUCTS: u32 = 166_794;
/// Distinct brands.
pub(crate) const BRANDS: u32 = 3_445;
/// Categories with a code, and how many codes they share; a code may have several category ids (assumed from the first hours).
pub(crate) const CODED_CATEGORIES: usize = 260;
/// Categories without a code (assumed).
pub(crate) const UNCODED_CATEGORIES: usize = 363;
/// The share of rows in the largest category, smartphones.
pub(crate) const SMARTPHONES: f64 = 0.27;

/// Visitors that view without end, by the events each makes in a million (assumed). They never sleep and buy nothing.
pub(crate) const BOT_EVENTS_PER_MILLION: [u64; 5] = [950, 820, 700, 600, 520];
/// A bot's session ends after about this many views.
pub(crate) const BOT_SESSION_EVENTS: u64 = 500;
/// No visitor's session has many more events than this, and no user many more sessions than the next.
pub(crate) const SESSION_EVENTS_LIMIT: usize = 500;
/// See [`SESSION_EVENTS_LIMIT`].
pub(crate) const USER_SESSIONS_LIMIT: usize = 800;

/// 2019-10-01 00:00:00 UTC is second 0; the last second of the month is one before this.
pub(crate) const MONTH_SECONDS: u32 = 31 * 86_400;

/// Sessions that begin in each hour of the day (UTC), relative to each other.
const SESSIONS_BY_HOUR: [f64; 24] = [
    0.33, 0.44, 0.86, 1.22, 1.52, 1.76, 1.92, 2.02, 2.08, 2.08, 2.04, 2.00, 2.04, 2.20, 2.50, 2.78, 2.94, 2.90, 2.60, 1.85, 1.12, 0.66,
    0.42, 0.32,
];

/// Carts and purchases in each hour of the day (UTC), relative to each other.
const PURCHASES_BY_HOUR: [f64; 24] = [
    0.15, 0.25, 0.50, 0.90, 1.30, 1.62, 1.86, 2.06, 2.44, 2.42, 2.06, 1.84, 1.70, 1.60, 1.55, 1.50, 1.40, 1.20, 0.95, 0.65, 0.40, 0.25,
    0.16, 0.12,
];

/// How busy each day of the month is; weekends and the middle of the month are a little busier (assumed). The month begins on a Tuesday.
const DAYS: [f64; 31] = [
    0.88, 0.86, 0.82, 0.98, 0.95, 0.96, 0.90, 0.98, 0.97, 0.94, 0.97, 1.02, 1.06, 1.06, 1.08, 1.10, 1.10, 1.08, 1.08, 1.08, 1.02, 1.00,
    0.98, 0.97, 0.98, 1.00, 1.04, 1.00, 0.98, 0.97, 1.00,
];

const CELL_SECONDS: u32 = 600;
const CELLS: usize = (MONTH_SECONDS / CELL_SECONDS) as usize;

/// How the sessions and the purchases of the month are spread over its seconds.
#[derive(Debug)]
pub(crate) struct Profile {
    sessions: Spread,
    purchases: Spread,
    intent_by_hour: [u32; 24],
}

impl Profile {
    /// The profile of the month.
    pub fn new() -> Self {
        let ratios: Vec<f64> = PURCHASES_BY_HOUR.iter().zip(SESSIONS_BY_HOUR).map(|(purchases, sessions)| purchases / sessions).collect();
        let highest = ratios.iter().copied().fold(0.0, f64::max);
        let mut intent_by_hour = [0; 24];
        for (intent, ratio) in intent_by_hour.iter_mut().zip(ratios) {
            *intent = (ratio / highest * f64::from(u32::MAX)) as u32;
        }
        Profile { sessions: Spread::new(&SESSIONS_BY_HOUR), purchases: Spread::new(&PURCHASES_BY_HOUR), intent_by_hour }
    }

    /// Where the sessions of the month begin.
    pub fn sessions(&self) -> &Spread {
        &self.sessions
    }

    /// Where its carts and purchases are.
    pub fn purchases(&self) -> &Spread {
        &self.purchases
    }

    /// How ready to buy visitors are at a second of the month, from 0 to `u32::MAX` in the best hour.
    pub fn intent_at(&self, second: u32) -> u32 {
        self.intent_by_hour[(second / 3600 % 24) as usize]
    }
}

/// A distribution over the seconds of the month, in cells of ten minutes.
#[derive(Debug)]
pub(crate) struct Spread {
    /// The share before each cell, from 0 to 1; one more entry than cells.
    before: Vec<f64>,
}

impl Spread {
    fn new(hours: &[f64; 24]) -> Self {
        let mut before = Vec::with_capacity(CELLS + 1);
        let mut sum = 0.0;
        before.push(0.0);
        for cell in 0..CELLS as u32 {
            sum += Self::weight(hours, cell);
            before.push(sum);
        }
        for share in &mut before {
            *share /= sum;
        }
        Spread { before }
    }

    /// Interpolates between the middles of the hours, so that nothing jumps on the hour.
    fn weight(hours: &[f64; 24], cell: u32) -> f64 {
        let second = cell * CELL_SECONDS + CELL_SECONDS / 2;
        let position = f64::from((second % 86_400 + 86_400 - 1800) % 86_400) / 3600.0;
        let hour = position as usize;
        let part = position - hour as f64;
        (hours[hour % 24] * (1.0 - part) + hours[(hour + 1) % 24] * part) * DAYS[(second / 86_400) as usize]
    }

    /// The share of everything that happens before a second of the month.
    pub fn share_before(&self, second: u32) -> f64 {
        let cell = (second / CELL_SECONDS) as usize;
        if cell >= CELLS {
            return 1.0;
        }
        let part = f64::from(second % CELL_SECONDS) / f64::from(CELL_SECONDS);
        self.before[cell] + (self.before[cell + 1] - self.before[cell]) * part
    }

    /// The second before which a share of everything (in [0, 1)) happens.
    pub fn second_at(&self, share: f64) -> u32 {
        let cell = self.before.partition_point(|before| *before <= share).saturating_sub(1).min(CELLS - 1);
        let part = (share - self.before[cell]) / (self.before[cell + 1] - self.before[cell]);
        cell as u32 * CELL_SECONDS + ((part * f64::from(CELL_SECONDS)) as u32).min(CELL_SECONDS - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_seconds_invert_each_other() {
        let profile = Profile::new();
        for second in (0..MONTH_SECONDS).step_by(4_567) {
            let back = profile.sessions().second_at(profile.sessions().share_before(second));
            assert!(back.abs_diff(second) <= 1, "{second} came back as {back}");
        }
        assert_eq!(profile.sessions().share_before(0), 0.0);
        assert_eq!(profile.sessions().share_before(MONTH_SECONDS), 1.0);
    }

    #[test]
    fn hours_peak_where_they_should() {
        let profile = Profile::new();
        let busiest = |spread: &Spread| {
            (0..24u32).max_by(|a, b| {
                let share = |hour: u32| spread.share_before((hour + 1) * 3600) - spread.share_before(hour * 3600);
                share(*a).total_cmp(&share(*b))
            })
        };
        assert_eq!(busiest(profile.sessions()), Some(16));
        assert!(matches!(busiest(profile.purchases()), Some(8 | 9)));
    }
}
