//! Raw rows: the nine columns of an event as text and numbers. Both file formats are written from these, so they hold the same.

use crate::catalogue::Catalogue;
use crate::dirt::Dirt;
use crate::events::{Event, Recipe};
use crate::randomness::hash;

/// One raw row. The columns that are not optional here are never null in the files either, though the schema would allow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RawRow<'a> {
    /// `2019-10-01 00:00:00 UTC`, unless spoilt.
    pub event_time: &'a str,
    /// `view`, `cart` or `purchase`, unless spoilt.
    pub event_type: &'a str,
    /// Never null unless spoilt.
    pub product_id: Option<i64>,
    /// The id of the product's category at the time.
    pub category_id: i64,
    /// The code of that category, if it has one.
    pub category_code: Option<&'a str>,
    /// The product's brand at the time, if it has one.
    pub brand: Option<&'a str>,
    /// In hundredths; negative or huge in spoilt rows.
    pub price_cents: i64,
    /// Never null unless spoilt.
    pub user_id: Option<i64>,
    /// A UUID; null in a handful of rows.
    pub user_session: Option<&'a str>,
}

/// Turns events into raw rows.
#[derive(Debug)]
pub(crate) struct Renderer {
    recipe: Recipe,
    dirt: Dirt,
    /// The numbers of the rows without a session, ascending.
    without_session: Vec<u64>,
}

impl Renderer {
    /// The renderer of a data set's events.
    pub fn new(recipe: Recipe, dirt_rate: f64) -> Self {
        let quotas = recipe.quotas();
        let count = quotas.missing_sessions;
        let seed = recipe.seed();
        let place = |index: u64| {
            let from = u128::from(quotas.events) * u128::from(index) / u128::from(count);
            from as u64 + hash(seed, 50, index) % (quotas.events / count)
        };
        let without_session = (0..count).map(place).collect();
        Renderer { dirt: Dirt { rate: dirt_rate, seed }, without_session, recipe }
    }

    /// What the events come from.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// Hands each event to `sink` as a row; the first one has the number `first_row`.
    pub fn render(&self, first_row: u64, events: &[Event], mut sink: impl FnMut(&RawRow<'_>)) {
        let catalogue: &Catalogue = self.recipe.catalogue();
        let mut time = TimeText::new();
        let mut session = SessionText::new();
        let mut missing = self.without_session[self.without_session.partition_point(|row| *row < first_row)..].iter().peekable();
        for (number, event) in (first_row..).zip(events) {
            let description = catalogue.describe(event.product, event.second);
            let user_session = match missing.next_if_eq(&&number) {
                Some(_) => None,
                None => Some(session.of(self.recipe.session_id(event.session))),
            };
            let mut row = RawRow {
                event_time: time.at(event.second),
                event_type: event.kind.name(),
                product_id: Some(description.product_id),
                category_id: description.category_id,
                category_code: description.category_code,
                brand: description.brand,
                price_cents: i64::from(description.price_cents),
                user_id: Some(i64::from(event.user_id)),
                user_session,
            };
            self.dirt.spoil(number, &mut row);
            sink(&row);
        }
    }
}

/// The text of the last time; events of the same second follow each other.
struct TimeText {
    second: u32,
    text: String,
}

impl TimeText {
    fn new() -> Self {
        TimeText { second: u32::MAX, text: String::with_capacity(23) }
    }

    fn at(&mut self, second: u32) -> &str {
        if self.second != second {
            self.second = second;
            self.text.clear();
            self.text.push_str("2019-10-");
            for (value, separator) in [(second / 86_400 + 1, ' '), (second / 3600 % 24, ':'), (second / 60 % 60, ':'), (second % 60, ' ')] {
                self.text.push(digit(value / 10));
                self.text.push(digit(value % 10));
                self.text.push(separator);
            }
            self.text.push_str("UTC");
        }
        &self.text
    }
}

fn digit(value: u32) -> char {
    char::from(b'0' + (value % 10) as u8)
}

/// The text of the last session id: a version 4 UUID.
struct SessionText {
    text: String,
}

impl SessionText {
    fn new() -> Self {
        SessionText { text: String::with_capacity(36) }
    }

    fn of(&mut self, id: u128) -> &str {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        // The version and variant bits of a random UUID.
        let id = id & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
        self.text.clear();
        for (position, byte) in id.to_be_bytes().into_iter().enumerate() {
            if matches!(position, 4 | 6 | 8 | 10) {
                self.text.push('-');
            }
            self.text.push(char::from(HEX[usize::from(byte >> 4)]));
            self.text.push(char::from(HEX[usize::from(byte & 15)]));
        }
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sessions_have_the_raw_shape() {
        let mut time = TimeText::new();
        assert_eq!(time.at(0), "2019-10-01 00:00:00 UTC");
        assert_eq!(time.at(31 * 86_400 - 1), "2019-10-31 23:59:59 UTC");
        assert_eq!(time.at(3_661), "2019-10-01 01:01:01 UTC");
        let mut session = SessionText::new();
        assert_eq!(session.of(u128::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(session.of(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef), "01234567-89ab-4def-8123-456789abcdef");
    }
}
