//! How many of everything a data set of a given size has. The parts add up to the rows asked for exactly.

use crate::profile::{
    BOT_EVENTS_PER_MILLION, BOT_SESSION_EVENTS, FULL_CARTS, FULL_DUPLICATES, FULL_EVENTS, FULL_MISSING_SESSIONS, FULL_PURCHASES,
    FULL_SESSIONS, FULL_USERS,
};

/// A visitor that views without end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bot {
    /// All its events.
    pub events: u64,
    /// How many sessions they are cut into.
    pub sessions: u64,
    /// The number of its first session.
    pub first_session: u64,
}

/// The counts of one data set. Sessions are numbered: first those of visitors in the order of their beginnings, then those of the bots, then
/// the ones that only a duplicate has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Quotas {
    /// All rows.
    pub events: u64,
    /// Rows of visitors' sessions, without bots and duplicates.
    pub visitor_events: u64,
    /// Sessions of visitors.
    pub visitor_sessions: u64,
    /// Users that are not bots.
    pub visitors: u64,
    /// The bots with at least one event.
    pub bots: Vec<Bot>,
    /// Rows that repeat another one.
    pub duplicates: u64,
    /// The number of the first session that only a duplicate has.
    pub first_stray_session: u64,
    /// Rows of type `cart`, before duplication.
    pub carts: u64,
    /// Rows of type `purchase`, before duplication.
    pub purchases: u64,
    /// Rows without a session.
    pub missing_sessions: u64,
}

/// Every so many duplicates, one is recorded under a session of its own; the others are exact copies.
const DUPLICATES_PER_STRAY: u64 = 8;

/// How many of the first `duplicates` have a session of their own.
pub(crate) fn stray_sessions(duplicates: u64) -> u64 {
    duplicates.div_ceil(DUPLICATES_PER_STRAY)
}

/// `part` of `whole`, applied to `amount`, rounded to the nearest.
fn share(amount: u64, part: u64, whole: u64) -> u64 {
    ((u128::from(amount) * u128::from(part) + u128::from(whole) / 2) / u128::from(whole)) as u64
}

impl Quotas {
    /// The counts for this many rows (at least one).
    pub fn new(events: u64) -> Self {
        let duplicates = share(FULL_DUPLICATES, events, FULL_EVENTS);
        let bot_events: Vec<u64> = BOT_EVENTS_PER_MILLION.iter().map(|part| events * part / 1_000_000).filter(|count| *count > 0).collect();
        let visitor_events = events - duplicates - bot_events.iter().sum::<u64>();
        let bot_sessions: u64 = bot_events.iter().map(|count| count.div_ceil(BOT_SESSION_EVENTS)).sum();
        let visitor_sessions = share(FULL_SESSIONS, events, FULL_EVENTS).saturating_sub(bot_sessions).clamp(1, visitor_events.max(1));
        let visitors = share(FULL_USERS, events, FULL_EVENTS).saturating_sub(bot_events.len() as u64).clamp(1, visitor_sessions);
        let mut next_session = visitor_sessions;
        let bots = bot_events
            .into_iter()
            .map(|events| {
                let bot = Bot { events, sessions: events.div_ceil(BOT_SESSION_EVENTS), first_session: next_session };
                next_session += bot.sessions;
                bot
            })
            .collect();
        let originals = events - duplicates;
        Quotas {
            events,
            visitor_events,
            visitor_sessions,
            visitors,
            bots,
            duplicates,
            first_stray_session: next_session,
            carts: share(FULL_CARTS, originals, FULL_EVENTS - FULL_DUPLICATES),
            purchases: share(FULL_PURCHASES, originals, FULL_EVENTS - FULL_DUPLICATES),
            missing_sessions: share(FULL_MISSING_SESSIONS, events, FULL_EVENTS),
        }
    }

    /// How many events the first `sessions` visitor sessions have together: each at least one, the rest spread evenly.
    pub fn events_of_first(&self, sessions: u64) -> u64 {
        let further = u128::from(self.visitor_events - self.visitor_sessions);
        sessions + (u128::from(sessions) * further / u128::from(self.visitor_sessions)) as u64
    }

    /// How many duplicates belong to events of the first `sessions` visitor sessions.
    pub fn duplicates_of_first(&self, sessions: u64) -> u64 {
        (u128::from(sessions) * u128::from(self.duplicates) / u128::from(self.visitor_sessions)) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up_at_every_size() {
        for events in (1..3000).chain([10_000, 300_000, 4_240_000, FULL_EVENTS, 10_000_000_000]) {
            let quotas = Quotas::new(events);
            let bots: u64 = quotas.bots.iter().map(|bot| bot.events).sum();
            assert_eq!(quotas.visitor_events + bots + quotas.duplicates, events);
            assert_eq!(quotas.events_of_first(quotas.visitor_sessions), quotas.visitor_events);
            assert_eq!(quotas.duplicates_of_first(quotas.visitor_sessions), quotas.duplicates);
            assert!(quotas.visitors >= 1 && quotas.visitors <= quotas.visitor_sessions);
            assert!(quotas.visitor_sessions <= quotas.visitor_events);
        }
    }

    #[test]
    fn the_full_size_has_the_published_counts() {
        let quotas = Quotas::new(FULL_EVENTS);
        assert_eq!(quotas.duplicates, FULL_DUPLICATES);
        assert_eq!(quotas.visitors + quotas.bots.len() as u64, FULL_USERS);
        assert_eq!(quotas.first_stray_session, FULL_SESSIONS);
        assert_eq!((quotas.carts, quotas.purchases), (FULL_CARTS, FULL_PURCHASES));
        assert_eq!(quotas.missing_sessions, FULL_MISSING_SESSIONS);
    }
}
