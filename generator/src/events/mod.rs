//! Events, made one slice of the month at a time.
//!
//! A slice holds the sessions that begin in it; their last events may fall into the next slices. Each slice has random numbers of its own and
//! exact counts of everything, so slices can be made in any order and by any thread.

mod slice;

use crate::catalogue::Catalogue;
use crate::distribution::HeavyTail;
use crate::population::Population;
use crate::profile::{MONTH_SECONDS, Profile, SESSION_EVENTS_LIMIT};
use crate::quotas::Quotas;
use crate::randomness::hash;

/// A slice has about this many sessions,
const SLICE_SESSIONS: u64 = 8_192;
/// but lasts no less than ten minutes, so that the last one has room for its longest session.
const SLICES_LIMIT: u64 = 31 * 24 * 6;

/// What a visitor does with a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// Looks at it.
    View,
    /// Puts it into the cart.
    Cart,
    /// Buys it.
    Purchase,
}

impl Kind {
    /// The raw event type.
    pub fn name(self) -> &'static str {
        match self {
            Kind::View => "view",
            Kind::Cart => "cart",
            Kind::Purchase => "purchase",
        }
    }
}

/// One event, small enough to have hundreds of thousands of them waiting for their turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Event {
    /// The second of the month.
    pub second: u32,
    /// The number of the product in the catalogue.
    pub product: u32,
    /// The raw user id.
    pub user_id: u32,
    /// The number of the session.
    pub session: u32,
    /// What happens.
    pub kind: Kind,
}

/// Everything that events are made from; read-only and shared by all threads.
#[derive(Debug)]
pub(crate) struct Recipe {
    seed: u64,
    quotas: Quotas,
    profile: Profile,
    population: Population,
    catalogue: Catalogue,
    session_sizes: HeavyTail,
    gaps: slice::Gaps,
    slices: u32,
}

impl Recipe {
    /// The recipe for this many events of a seed.
    pub fn new(events: u64, seed: u64) -> Self {
        let quotas = Quotas::new(events);
        let mean = quotas.visitor_events as f64 / quotas.visitor_sessions as f64;
        Recipe {
            seed,
            profile: Profile::new(),
            population: Population::new(quotas.visitors, quotas.visitor_sessions, quotas.bots.len() as u64, seed),
            catalogue: Catalogue::new(seed),
            session_sizes: HeavyTail::with_mean(mean, SESSION_EVENTS_LIMIT),
            gaps: slice::Gaps::new(),
            slices: (quotas.visitor_sessions / SLICE_SESSIONS).clamp(1, SLICES_LIMIT) as u32,
            quotas,
        }
    }

    /// The seed that everything derives from.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The counts of the data set.
    pub fn quotas(&self) -> &Quotas {
        &self.quotas
    }

    /// The products.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// How many slices the month is cut into.
    pub fn slices(&self) -> u32 {
        self.slices
    }

    /// The second in which a slice begins; that of the slice after the last one is the end of the month.
    pub fn slice_begin(&self, slice: u32) -> u32 {
        (u64::from(MONTH_SECONDS) * u64::from(slice) / u64::from(self.slices)) as u32
    }

    /// The 128 bits that a session is known by.
    pub fn session_id(&self, session: u32) -> u128 {
        let half = |purpose| u128::from(hash(self.seed, purpose, u64::from(session)));
        half(60) << 64 | half(61)
    }
}
