//! Patterns of events, in the notation of ClickHouse's `sequenceMatch`: `(?1)(?t<=3600)(?2).*(?3)`.
//!
//! ```text
//! (?N)      one event that meets condition N
//! .         one event, whichever
//! .*        any number of events, also none
//! (?t<=D)   any number of events, also none, after which the next comes at most D after the one before this mark; or < >= > ==
//! ```
//!
//! A pattern may begin anywhere, as if with `.*`. Events that meet no condition at all are not seen. After `.*` the time of a
//! mark is taken from the event that comes next, and where no event is left `.*`, `(?t<=D)`, `(?t<D)` and `(?t>=0)` count as met:
//! in all this the original is followed.
//!
//! The original goes back and tries again, with a limit. Here all ways through the pattern are followed at once, event by
//! event, so the work is the number of events times the length of the pattern. For that it is enough to know of each place in
//! the pattern whether it was reached, and of a mark from which instant on or up to which the next event may come.

use std::collections::VecDeque;

use super::funnel::StepEvent;

/// How the time between two events is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `<=`
    AtMost,
    /// `<`
    Below,
    /// `>=`
    AtLeast,
    /// `>`
    Above,
    /// `==`
    Equal,
}

/// A part of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `(?N)`, with N - 1.
    Event(u32),
    /// `.`
    AnyEvent,
    /// `.*`
    AnyEvents,
    /// `(?t…)`
    Time(Comparison, i64),
}

/// A pattern that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPattern {
    parts: Vec<Part>,
}

/// What is left of a text to read.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn number(&mut self) -> Result<i64, String> {
        let rest = self.rest();
        let digits = &rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())];
        let number = digits.parse().map_err(|_| self.error("expected a number"))?;
        self.at += digits.len();
        Ok(number)
    }

    fn error(&self, what: &str) -> String {
        let character = self.text[..self.at].chars().count() + 1;
        let found = match self.rest() {
            "" => "the end".to_string(),
            rest => format!("'{rest}'"),
        };
        format!("{what} at character {character}, not {found}")
    }
}

impl EventPattern {
    /// Reads a pattern over `conditions` conditions.
    ///
    /// # Errors
    /// Says what was expected, and where.
    pub fn parse(text: &str, conditions: usize) -> Result<Self, String> {
        let mut reader = Reader { text, at: 0 };
        let mut parts = vec![Part::AnyEvents];
        while !reader.rest().is_empty() {
            let start = reader.at;
            if reader.eat("(?t") {
                if matches!(parts.last(), Some(Part::Time(..))) {
                    reader.at = start;
                    return Err(reader.error("expected an event between two conditions on time"));
                }
                parts.push(Self::parse_time(&mut reader)?);
            } else if reader.eat("(?") {
                let at = reader.at;
                let number = reader.number()?;
                if number < 1 || number > conditions as i64 {
                    reader.at = at;
                    return Err(reader.error(&format!("expected the number of a condition, 1 to {conditions},")));
                }
                parts.push(Part::Event(number as u32 - 1));
            } else if reader.eat(".*") {
                parts.push(Part::AnyEvents);
                continue;
            } else if reader.eat(".") {
                parts.push(Part::AnyEvent);
                continue;
            } else {
                return Err(reader.error("expected (?N), (?t…), . or .*"));
            }
            if !reader.eat(")") {
                return Err(reader.error("expected )"));
            }
        }
        Ok(Self { parts })
    }

    fn parse_time(reader: &mut Reader) -> Result<Part, String> {
        use Comparison::*;
        let comparisons = [("<=", AtMost), ("<", Below), (">=", AtLeast), (">", Above), ("==", Equal)];
        match comparisons.into_iter().find(|(token, _)| reader.eat(token)) {
            Some((_, comparison)) => Ok(Part::Time(comparison, reader.number()?)),
            None => Err(reader.error("expected <=, <, >=, > or ==")),
        }
    }

    /// The same pattern with all times in units of which there are `factor` in the one it was written in.
    pub fn scaled(mut self, factor: i64) -> Self {
        for part in &mut self.parts {
            if let Part::Time(_, time) = part {
                *time = time.saturating_mul(factor);
            }
        }
        self
    }

    /// Something to match events with.
    pub fn matcher(&self) -> Matcher<'_> {
        Matcher { parts: &self.parts, reached: vec![false; self.parts.len() + 1], open: vec![Open::default(); self.parts.len()] }
    }
}

/// From which instants the part after a `.*` or a mark can go on.
#[derive(Debug, Clone, Default)]
struct Open {
    is_open: bool,
    limit: i64,
    equal: VecDeque<i64>,
}

impl Open {
    /// The part was reached with `base` as the event to count from.
    fn reach(&mut self, part: Part, base: i64) {
        match part {
            Part::Time(comparison, time) => {
                let limit = base.saturating_add(time);
                match comparison {
                    // Later ways in reach further.
                    Comparison::AtMost | Comparison::Below => self.limit = limit,
                    // The first way in goes on earliest.
                    Comparison::AtLeast | Comparison::Above if self.is_open => {}
                    Comparison::AtLeast | Comparison::Above => self.limit = limit,
                    Comparison::Equal if self.equal.back() == Some(&limit) => {}
                    Comparison::Equal => self.equal.push_back(limit),
                }
                self.is_open = true;
            }
            _ => self.is_open = true,
        }
    }

    /// Can the next part begin at an event of this instant?
    fn lets_on(&mut self, part: Part, instant: i64) -> bool {
        if !self.is_open {
            return false;
        }
        match part {
            Part::Time(Comparison::AtMost, _) => instant <= self.limit,
            Part::Time(Comparison::Below, _) => instant < self.limit,
            Part::Time(Comparison::AtLeast, _) => instant >= self.limit,
            Part::Time(Comparison::Above, _) => instant > self.limit,
            Part::Time(Comparison::Equal, _) => {
                while self.equal.front().is_some_and(|limit| *limit < instant) {
                    self.equal.pop_front();
                }
                self.equal.front() == Some(&instant)
            }
            _ => true,
        }
    }

    fn close(&mut self) {
        self.is_open = false;
        self.equal.clear();
    }
}

/// Follows a pattern through events; what it needs for that is kept for the next group.
#[derive(Debug)]
pub struct Matcher<'a> {
    parts: &'a [Part],
    /// Which parts can begin at the present event; the last is the end of the pattern.
    reached: Vec<bool>,
    /// Parts that take any number of events.
    open: Vec<Open>,
}

impl Matcher<'_> {
    /// The place after the first match in `events`, which are in order; nothing, if there is none.
    pub fn find(&mut self, events: &[StepEvent]) -> Option<usize> {
        self.reached.fill(false);
        self.open.iter_mut().for_each(Open::close);
        self.reached[0] = true;
        for (place, event) in events.iter().enumerate() {
            let before = events[place.saturating_sub(1)].instant;
            self.spread(event.instant, before);
            if self.reached[self.parts.len()] {
                return Some(place);
            }
            self.consume(event.steps);
        }
        let rest_is_empty = |from: usize| self.parts[from..].iter().all(|part| needs_no_event(*part));
        (0..=self.parts.len()).any(|from| self.reached[from] && rest_is_empty(from)).then_some(events.len())
    }

    /// How many matches there are one after another, none of which overlap.
    pub fn count(&mut self, mut events: &[StepEvent]) -> i64 {
        let mut count = 0;
        while !events.is_empty() {
            let Some(end) = self.find(events) else { break };
            count += 1;
            // A match of nothing takes one event along, or there would be no end of them.
            events = &events[end.max(1)..];
        }
        count
    }

    /// Goes past the parts that take no event, before an event at `instant` and after one at `before`.
    fn spread(&mut self, instant: i64, before: i64) {
        for at in 0..self.parts.len() {
            let part = self.parts[at];
            if matches!(part, Part::Event(_) | Part::AnyEvent) {
                continue;
            }
            if self.reached[at] {
                let follows_event = at > 0 && matches!(self.parts[at - 1], Part::Event(_) | Part::AnyEvent);
                self.open[at].reach(part, if follows_event { before } else { instant });
            }
            self.reached[at + 1] |= self.open[at].lets_on(part, instant);
        }
    }

    /// Goes past the parts that an event meets; where it meets none the way ends.
    fn consume(&mut self, steps: u32) {
        for at in (0..self.parts.len()).rev() {
            let meets = match self.parts[at] {
                Part::Event(condition) => steps >> condition & 1 == 1,
                Part::AnyEvent => true,
                _ => false,
            };
            self.reached[at + 1] = self.reached[at] && meets;
        }
        self.reached[0] = false;
    }
}

fn needs_no_event(part: Part) -> bool {
    matches!(part, Part::AnyEvents | Part::Time(Comparison::AtMost | Comparison::Below, _) | Part::Time(Comparison::AtLeast, 0))
}

#[cfg(test)]
mod tests;
