//! The events of the sessions that begin in one slice of the month.
//!
//! The counts of the slice are fixed first (see [`Plan`]); chance decides only how they are shared out. A cart or purchase takes the product
//! of the event before it, so it always follows a view of the same product in the same session.

use super::{Event, Kind, Recipe};
use crate::profile::{MONTH_SECONDS, Spread};
use crate::quotas::stray_sessions;
use crate::randomness::{Stream, hash};

/// Out of a thousand steps within a session, so many stay with the same product, and so many more with the same category.
const SAME_PRODUCT_PER_THOUSAND: u32 = 305;
const SAME_CATEGORY_PER_THOUSAND: u32 = 570;
/// Out of a thousand free choices of a category, so many fall on the user's favourite.
const FAVOURITE_PER_THOUSAND: u32 = 300;
/// Out of a thousand carts, so many are bought at once.
const BOUGHT_FROM_CART_PER_THOUSAND: u32 = 350;
/// Out of a thousand duplicates, so many repeat the event of the duplicate before.
const REPEATED_DUPLICATES_PER_THOUSAND: u32 = 150;
/// Out of five duplicates, so many repeat a cart.
const CARTS_OF_FIVE_DUPLICATES: u64 = 4;
/// Sessions of more events than this have shorter gaps instead of lasting longer.
const UNHURRIED_EVENTS: u32 = 40;
/// The chance of a slice to place a cart or purchase is limited: hours without buyers, sessions of one event.
const PLACING_ATTEMPTS: u32 = 400;
/// The gaps between a bot's views, in seconds, are 1 to this.
const BOT_GAP_LIMIT: u32 = 3;
const LAST_SECOND: u32 = MONTH_SECONDS - 1;

/// How long visitors wait before an event of each kind, in seconds.
#[derive(Debug)]
pub(crate) struct Gaps {
    by_kind: [Vec<u16>; 3],
}

impl Gaps {
    const STEPS: usize = 1 << 12;

    /// The gaps as quantiles of the first hours of the real file.
    pub fn new() -> Self {
        let view =
            [(0.0, 1.0), (0.02, 4.0), (0.1, 10.0), (0.25, 17.0), (0.5, 32.0), (0.75, 60.0), (0.9, 113.0), (0.99, 375.0), (1.0, 1500.0)];
        let cart = [(0.0, 1.0), (0.02, 4.0), (0.1, 7.0), (0.25, 13.0), (0.5, 26.0), (0.75, 45.0), (0.9, 84.0), (0.99, 203.0), (1.0, 900.0)];
        let purchase =
            [(0.0, 4.0), (0.02, 12.0), (0.1, 24.0), (0.25, 45.0), (0.5, 79.0), (0.75, 137.0), (0.9, 214.0), (0.99, 551.0), (1.0, 1500.0)];
        Gaps { by_kind: [view, cart, purchase].map(|quantiles| Self::table(&quantiles)) }
    }

    fn table(quantiles: &[(f64, f64)]) -> Vec<u16> {
        let at = |step: usize| {
            let quantile = (step as f64 + 0.5) / Self::STEPS as f64;
            let above = quantiles.partition_point(|(at, _)| *at <= quantile).clamp(1, quantiles.len() - 1);
            let ((low, low_gap), (high, high_gap)) = (quantiles[above - 1], quantiles[above]);
            (low_gap + (high_gap - low_gap) * (quantile - low) / (high - low)) as u16
        };
        (0..Self::STEPS).map(at).collect()
    }

    fn draw(&self, stream: &mut Stream, kind: Kind) -> u32 {
        u32::from(self.by_kind[kind as usize][stream.below(Self::STEPS as u32) as usize])
    }
}

/// The exact counts of a slice.
#[derive(Debug, Clone, Copy)]
struct Plan {
    from: u32,
    to: u32,
    first_session: u64,
    sessions: u32,
    events: u32,
    carts: u32,
    purchases: u32,
    first_duplicate: u64,
    duplicates: u32,
}

/// The visitors' sessions of a slice before their events are written out.
struct Sessions {
    begins: Vec<u32>,
    /// The index of each session's first event; one more entry than sessions.
    offsets: Vec<u32>,
    kinds: Vec<Kind>,
}

impl Recipe {
    /// The events of the sessions that begin in a slice, in the order of time.
    pub fn events_of_slice(&self, slice: u32) -> Vec<Event> {
        let plan = self.plan(slice);
        let mut stream = Stream::new(self.seed, u64::from(slice));
        let sessions = self.lay_out(&plan, &mut stream);
        let mut events = Vec::with_capacity(plan.events as usize + plan.duplicates as usize);
        for index in 0..plan.sessions as usize {
            self.walk(&plan, &sessions, index, &mut stream, &mut events);
        }
        self.add_bots(&plan, &mut stream, &mut events);
        self.add_duplicates(&plan, &mut stream, &mut events);
        in_order_of_time(&events, plan.from)
    }

    fn plan(&self, slice: u32) -> Plan {
        let (from, to) = (self.slice_begin(slice), self.slice_begin(slice + 1));
        let rounded = |spread: &Spread, second, count: u64| (spread.share_before(second) * count as f64 + 0.5) as u64;
        let between = |spread: &Spread, count| (rounded(spread, to, count) - rounded(spread, from, count)) as u32;
        let quotas = &self.quotas;
        let first_session = rounded(self.profile.sessions(), from, quotas.visitor_sessions);
        let next_session = rounded(self.profile.sessions(), to, quotas.visitor_sessions);
        let first_duplicate = quotas.duplicates_of_first(first_session);
        Plan {
            from,
            to,
            first_session,
            sessions: (next_session - first_session) as u32,
            events: (quotas.events_of_first(next_session) - quotas.events_of_first(first_session)) as u32,
            carts: between(self.profile.purchases(), quotas.carts),
            purchases: between(self.profile.purchases(), quotas.purchases),
            first_duplicate,
            duplicates: (quotas.duplicates_of_first(next_session) - first_duplicate) as u32,
        }
    }

    fn lay_out(&self, plan: &Plan, stream: &mut Stream) -> Sessions {
        let sizes = self.sizes(plan, stream);
        let mut offsets = Vec::with_capacity(sizes.len() + 1);
        offsets.push(0);
        offsets.extend(sizes.iter().scan(0, |sum, size| {
            *sum += size;
            Some(*sum)
        }));
        let spread = self.profile.sessions();
        let (share_from, share_to) = (spread.share_before(plan.from), spread.share_before(plan.to));
        let begin = |index: u32| {
            let part = (f64::from(index) + stream.unit()) / f64::from(plan.sessions);
            spread.second_at(share_from + (share_to - share_from) * part).clamp(plan.from, plan.to - 1)
        };
        let begins = (0..plan.sessions).map(begin).collect();
        let mut sessions = Sessions { begins, offsets, kinds: vec![Kind::View; plan.events as usize] };
        self.place_carts_and_purchases(plan, &mut sessions, stream);
        sessions
    }

    /// How many events each session has: the distribution, sampled evenly, in random order and corrected to the exact sum.
    fn sizes(&self, plan: &Plan, stream: &mut Stream) -> Vec<u32> {
        let quantile = |index: u32| (f64::from(index) + stream.unit()) / f64::from(plan.sessions);
        let mut sizes: Vec<u32> = (0..plan.sessions).map(quantile).map(|quantile| self.session_sizes.at_quantile(quantile)).collect();
        stream.shuffle(&mut sizes);
        let mut sum: u32 = sizes.iter().sum();
        while sum != plan.events {
            let size = &mut sizes[stream.below(plan.sessions) as usize];
            if sum < plan.events {
                *size += 1;
                sum += 1;
            } else if *size > 1 {
                *size -= 1;
                sum -= 1;
            }
        }
        sizes
    }

    /// Turns views that are not their session's first into carts and purchases, more of them at hours when visitors are ready to buy.
    fn place_carts_and_purchases(&self, plan: &Plan, sessions: &mut Sessions, stream: &mut Stream) {
        if sessions.kinds.is_empty() {
            return;
        }
        let mut owners = Vec::with_capacity(sessions.kinds.len());
        for (index, pair) in sessions.offsets.windows(2).enumerate() {
            owners.extend(std::iter::repeat_n(index as u32, (pair[1] - pair[0]) as usize));
        }
        let place = |sessions: &mut Sessions, stream: &mut Stream, kind| {
            for _ in 0..PLACING_ATTEMPTS {
                let event = stream.below(plan.events) as usize;
                let owner = owners[event] as usize;
                let free = sessions.offsets[owner] as usize != event && sessions.kinds[event] == Kind::View;
                if free && stream.word() <= self.profile.intent_at(sessions.begins[owner]) {
                    sessions.kinds[event] = kind;
                    return Some(event);
                }
            }
            None
        };
        let carts: Vec<usize> = (0..plan.carts).filter_map(|_| place(sessions, stream, Kind::Cart)).collect();
        let mut purchases = plan.purchases;
        for cart in carts {
            let next = cart + 1;
            let follows = next < owners.len() && owners[next] == owners[cart] && sessions.kinds[next] == Kind::View;
            if purchases > 0 && follows && stream.chance(BOUGHT_FROM_CART_PER_THOUSAND) {
                sessions.kinds[next] = Kind::Purchase;
                purchases -= 1;
            }
        }
        for _ in 0..purchases {
            place(sessions, stream, Kind::Purchase);
        }
    }

    /// Writes out one session: from product to product, with the visitor's pauses in between.
    fn walk(&self, plan: &Plan, sessions: &Sessions, index: usize, stream: &mut Stream, events: &mut Vec<Event>) {
        let session = plan.first_session + index as u64;
        let user = self.population.user_of(session);
        let user_id = self.population.id_of(user);
        let kinds = &sessions.kinds[sessions.offsets[index] as usize..sessions.offsets[index + 1] as usize];
        let size = kinds.len() as u32;
        let first = events.len();
        let (mut category, mut product, mut second) = (0, 0, sessions.begins[index]);
        for (position, kind) in kinds.iter().enumerate() {
            if position > 0 {
                let gap = self.gaps.draw(stream, *kind);
                second += if size > UNHURRIED_EVENTS { (gap * UNHURRIED_EVENTS / size).max(1) } else { gap };
            }
            if *kind == Kind::View {
                let step = if position == 0 { 1000 } else { stream.below(1000) };
                if step >= SAME_PRODUCT_PER_THOUSAND {
                    if step >= SAME_PRODUCT_PER_THOUSAND + SAME_CATEGORY_PER_THOUSAND {
                        category = self.choose_category(user, stream);
                    }
                    product = self.catalogue.draw_product(stream, category);
                }
            }
            events.push(Event { second, product, user_id, session: session as u32, kind: *kind });
        }
        end_within_month(&mut events[first..], plan.from);
    }

    fn choose_category(&self, user: u32, stream: &mut Stream) -> u32 {
        let bits = if stream.chance(FAVOURITE_PER_THOUSAND) { hash(self.seed, 70, u64::from(user)) } else { stream.long() };
        self.catalogue.pick_category(bits)
    }

    /// Writes out the sessions of bots that begin in the slice: one view after the other, across all categories.
    fn add_bots(&self, plan: &Plan, stream: &mut Stream, events: &mut Vec<Event>) {
        for (number, bot) in self.quotas.bots.iter().enumerate() {
            let user_id = self.population.id_of((self.quotas.visitors + number as u64) as u32);
            // Sessions begin evenly, in the middles of equal parts of the month.
            let begin = |session: u64| ((2 * session + 1) * u64::from(MONTH_SECONDS) / (2 * bot.sessions)) as u32;
            let first = (bot.sessions * u64::from(plan.from) / u64::from(MONTH_SECONDS)).saturating_sub(1);
            let here = (first..bot.sessions).skip_while(|session| begin(*session) < plan.from);
            for session in here.take_while(|session| begin(*session) < plan.to) {
                let views = bot.events * session / bot.sessions..bot.events * (session + 1) / bot.sessions;
                let mut second = begin(session);
                let from = events.len();
                for _ in views {
                    let category = self.catalogue.pick_category(stream.long());
                    let product = self.catalogue.draw_product(stream, category);
                    let session = (bot.first_session + session) as u32;
                    events.push(Event { second, product, user_id, session, kind: Kind::View });
                    second += 1 + stream.below(BOT_GAP_LIMIT);
                }
                end_within_month(&mut events[from..], plan.from);
            }
        }
    }

    /// Repeats some events, a part of them under a session that has no other event.
    fn add_duplicates(&self, plan: &Plan, stream: &mut Stream, events: &mut Vec<Event>) {
        let mut last: Option<Event> = None;
        for number in plan.first_duplicate..plan.first_duplicate + u64::from(plan.duplicates) {
            let mut event = match last {
                Some(event) if stream.chance(REPEATED_DUPLICATES_PER_THOUSAND) => event,
                _ => event_to_repeat(number, stream, events),
            };
            last = Some(event);
            if stray_sessions(number + 1) > stray_sessions(number) {
                event.session = (self.quotas.first_stray_session + stray_sessions(number)) as u32;
            }
            events.push(event);
        }
    }
}

/// Chooses an event to repeat. Most duplicates are carts: buttons are pressed twice.
fn event_to_repeat(number: u64, stream: &mut Stream, events: &[Event]) -> Event {
    let kind = if number % 5 < CARTS_OF_FIVE_DUPLICATES { Kind::Cart } else { Kind::View };
    let mut event = events[stream.below(events.len() as u32) as usize];
    for _ in 0..PLACING_ATTEMPTS {
        if event.kind == kind {
            break;
        }
        event = events[stream.below(events.len() as u32) as usize];
    }
    event
}

/// Moves and compresses a session that would end after the month, keeping its events in different seconds and after the slice's begin.
fn end_within_month(events: &mut [Event], slice_begin: u32) {
    let (Some(first), Some(last)) = (events.first(), events.last()) else { return };
    if last.second <= LAST_SECOND {
        return;
    }
    let steps = events.len() as u32 - 1;
    let begin = first.second.min(LAST_SECOND.saturating_sub(steps)).max(slice_begin);
    let (old_begin, old_length) = (u64::from(first.second), u64::from(last.second - first.second));
    let room = u64::from(LAST_SECOND - begin - steps.min(LAST_SECOND - begin));
    for (position, event) in events.iter_mut().enumerate() {
        let position = position as u64;
        let waited = (u64::from(event.second) - old_begin).saturating_sub(position);
        let spare = (old_length - u64::from(steps)).max(1);
        event.second = (u64::from(begin) + waited * room / spare + position).min(u64::from(LAST_SECOND)) as u32;
    }
}

/// Sorts by second, keeping the order within a second. Slices are short, so counting is faster than comparing.
fn in_order_of_time(events: &[Event], from: u32) -> Vec<Event> {
    let seconds = events.iter().map(|event| event.second - from).max().map_or(0, |last| last as usize + 1);
    let mut places = vec![0u32; seconds + 1];
    for event in events {
        places[(event.second - from) as usize + 1] += 1;
    }
    for second in 0..seconds {
        places[second + 1] += places[second];
    }
    let Some(any) = events.first() else { return Vec::new() };
    let mut sorted = vec![*any; events.len()];
    for event in events {
        let place = &mut places[(event.second - from) as usize];
        sorted[*place as usize] = *event;
        *place += 1;
    }
    sorted
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn slices_make_all_events_and_no_more() {
        for events in [1, 7, 5_000, 120_000] {
            let recipe = Recipe::new(events, 3);
            let made: usize = (0..recipe.slices()).map(|slice| recipe.events_of_slice(slice).len()).sum();
            assert_eq!(made as u64, events);
        }
    }

    #[test]
    fn the_last_sessions_end_with_the_month() {
        // So many events that slices are as short as they get.
        let recipe = Recipe::new(400_000_000, 3);
        let last = recipe.slices() - 1;
        let events = recipe.events_of_slice(last);
        let mut seconds: HashMap<(u32, Kind, u32), u32> = HashMap::new();
        for event in &events {
            assert!((recipe.slice_begin(last)..MONTH_SECONDS).contains(&event.second));
            *seconds.entry((event.session, event.kind, event.second)).or_default() += 1;
        }
        let repeated: u32 = seconds.values().map(|count| count - 1).sum();
        assert!(repeated <= events.len() as u32 / 500, "{repeated} of {} events share a second", events.len());
    }

    #[test]
    fn events_are_moved_into_the_month_in_order() {
        let event = |second| Event { second, product: 1, user_id: 1, session: 1, kind: Kind::View };
        let mut events: Vec<Event> = (0..50).map(|step| event(LAST_SECOND - 60 + step * 7)).collect();
        end_within_month(&mut events, LAST_SECOND - 600);
        assert!(events.windows(2).all(|pair| pair[0].second < pair[1].second));
        assert_eq!((events[0].second, events[49].second), (LAST_SECOND - 60, LAST_SECOND));

        let mut events: Vec<Event> = (0..50).map(|step| event(LAST_SECOND - 10 + step * 7)).collect();
        end_within_month(&mut events, LAST_SECOND - 600);
        assert!(events.windows(2).all(|pair| pair[0].second < pair[1].second));
        assert_eq!((events[0].second, events[49].second), (LAST_SECOND - 49, LAST_SECOND));
    }
}
