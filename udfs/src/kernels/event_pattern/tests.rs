//! Patterns against trying every way, and their notation.

use proptest::prelude::*;

use super::*;

fn events(of: &[(i64, u32)]) -> Vec<StepEvent> {
    of.iter().map(|(instant, steps)| StepEvent { instant: *instant, steps: *steps }).collect()
}

/// All places after a match of `parts` from `place` on, with `base` as the event that time is counted from.
fn ends(parts: &[Part], events: &[StepEvent], place: usize, base: usize, found: &mut Vec<usize>) {
    let Some((part, rest)) = parts.split_first() else { return found.push(place) };
    let Some(event) = events.get(place) else {
        if parts.iter().all(|part| needs_no_event(*part)) {
            found.push(place);
        }
        return;
    };
    match part {
        Part::Event(condition) if event.steps >> condition & 1 == 0 => {}
        Part::Event(_) | Part::AnyEvent => ends(rest, events, place + 1, place, found),
        Part::AnyEvents => (place..events.len()).for_each(|next| ends(rest, events, next, next, found)),
        Part::Time(comparison, time) => {
            for next in place..events.len() {
                let between = events[next].instant - events[base].instant;
                let holds = match comparison {
                    Comparison::AtMost => between <= *time,
                    Comparison::Below => between < *time,
                    Comparison::AtLeast => between >= *time,
                    Comparison::Above => between > *time,
                    Comparison::Equal => between == *time,
                };
                if holds {
                    ends(rest, events, next, next, found);
                }
            }
        }
    }
}

fn first_end(pattern: &EventPattern, events: &[StepEvent]) -> Option<usize> {
    let mut found = Vec::new();
    ends(&pattern.parts, events, 0, 0, &mut found);
    found.into_iter().min()
}

fn part() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["(?1)", "(?2)", "(?3)", ".", ".*", "(?t<=2)", "(?t<3)", "(?t>=2)", "(?t>1)", "(?t==2)", "(?t>=0)"])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn equals_trying_every_way(
        parts in prop::collection::vec(part(), 0..6),
        steps in prop::collection::vec((0i64..3, 1u32..8), 0..10),
    ) {
        let Ok(pattern) = EventPattern::parse(&parts.concat(), 3) else { return Ok(()) };
        let mut instant = 0;
        let events: Vec<StepEvent> = steps.into_iter().map(|(later, steps)| { instant += later; StepEvent { instant, steps } }).collect();
        let mut matcher = pattern.matcher();
        prop_assert_eq!(matcher.find(&events), first_end(&pattern, &events), "{}", parts.concat());
        let (mut rest, mut expected) = (&events[..], 0);
        while let Some(end) = first_end(&pattern, rest).filter(|_| !rest.is_empty()) {
            expected += 1;
            rest = &rest[end.max(1)..];
        }
        prop_assert_eq!(matcher.count(&events), expected, "{}", parts.concat());
    }
}

#[test]
fn a_mark_lets_other_events_between() {
    let found = |pattern: &str, of: &[(i64, u32)]| EventPattern::parse(pattern, 3).unwrap().matcher().find(&events(of)).is_some();
    assert!(found("(?1)(?t<=10)(?2)", &[(0, 1), (5, 4), (10, 2)]));
    assert!(!found("(?1)(?t<=10)(?2)", &[(0, 1), (5, 4), (11, 2)]));
    assert!(!found("(?1)(?2)", &[(0, 1), (5, 4), (10, 2)]));
    assert!(found("(?1).(?2)", &[(0, 1), (5, 4), (10, 2)]));
    assert!(found("(?1).*(?2)(?t>3)(?3)", &[(0, 1), (1, 1), (2, 2), (3, 4), (9, 4)]));
    // The way in that counts began at the second event.
    assert!(found("(?1)(?t==4)(?2)", &[(0, 1), (3, 1), (7, 2)]));
}

#[test]
fn many_events_take_time_in_proportion() {
    let many = events(&vec![(0, 1); 200_000]);
    assert_eq!(EventPattern::parse("(?1).*(?1)(?t<=5)(?1).*(?2)", 2).unwrap().matcher().find(&many), None);
    assert_eq!(EventPattern::parse("(?1)(?1)", 2).unwrap().matcher().count(&many), 100_000);
}

#[test]
fn what_is_no_pattern_is_told_with_its_place() {
    for (pattern, expected) in [
        ("(?1)x", "expected (?N), (?t…), . or .* at character 5, not 'x'"),
        ("(?4)", "expected the number of a condition, 1 to 3, at character 3, not '4)'"),
        ("(?0)", "expected the number of a condition, 1 to 3, at character 3, not '0)'"),
        ("(?)", "expected a number at character 3, not ')'"),
        ("(?1", "expected ) at character 4, not the end"),
        ("(?1)(?t=5)(?2)", "expected <=, <, >=, > or == at character 8, not '=5)(?2)'"),
        ("(?1)(?t<=)(?2)", "expected a number at character 10, not ')(?2)'"),
        ("(?1)(?t<5)(?t>2)(?2)", "expected an event between two conditions on time at character 11, not '(?t>2)(?2)'"),
        ("(?99999999999999999999)", "expected a number at character 3, not '99999999999999999999)'"),
    ] {
        assert_eq!(EventPattern::parse(pattern, 3).unwrap_err(), expected, "{pattern}");
    }
}
