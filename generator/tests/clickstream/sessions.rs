//! Sessions make sense: one user, a plausible time, and nothing is bought that was not looked at.

use std::collections::{HashMap, HashSet};

use crate::{Event, many_events, without_duplicates};

#[test]
fn sessions_are_coherent() {
    let events = many_events();
    let originals = without_duplicates(&events);
    let mut by_session: HashMap<&str, Vec<&Event>> = HashMap::new();
    for event in &originals {
        by_session.entry(&event.session).or_default().push(event);
    }
    let mut lengths = Vec::new();
    for (session, events) in &by_session {
        let is_uuid = session.len() == 36 && session.as_bytes()[14] == b'4' && session.matches('-').count() == 4;
        assert!(is_uuid, "{session} is no UUID");
        assert!(events.iter().all(|event| event.user == events[0].user));
        let mut viewed = HashSet::new();
        for event in events {
            if event.kind == "view" {
                viewed.insert(event.product);
            } else {
                assert!(viewed.contains(&event.product), "{} in {session} without a view before", event.kind);
            }
        }
        lengths.push(events[events.len() - 1].second - events[0].second);
    }
    lengths.sort_unstable();
    let quantile = |share: f64| lengths[(share * (lengths.len() - 1) as f64) as usize];
    assert!((20..120).contains(&quantile(0.5)), "half of the sessions last {} s", quantile(0.5));
    assert!(quantile(0.99) < 3600, "a hundredth of the sessions last {} s", quantile(0.99));
    assert!(quantile(1.0) < 3 * 3600);
}

#[test]
fn duplicates_are_near_their_originals() {
    let events = many_events();
    let mut first: HashMap<(u32, u64, u64, &str, u64), usize> = HashMap::new();
    let (mut exact, mut stray) = (0, 0);
    for (row, event) in events.iter().enumerate() {
        let key = (event.second, event.user, event.product, event.kind.as_str(), event.cents);
        if let Some(original) = first.get(&key) {
            assert!(row - original < 30);
            if events[*original] == *event {
                exact += 1;
            } else {
                assert_ne!(events[*original].session, event.session);
                stray += 1;
            }
        } else {
            first.insert(key, row);
        }
    }
    assert!(stray > 10 && exact > 3 * stray, "{exact} exact copies, {stray} under another session");
}

#[test]
fn users_come_back_soon() {
    let events = many_events();
    let mut spans: HashMap<u64, (u32, u32, HashSet<&str>)> = HashMap::new();
    for event in &events {
        let span = spans.entry(event.user).or_insert_with(|| (event.second, event.second, HashSet::new()));
        span.1 = event.second;
        span.2.insert(&event.session);
    }
    let twice: Vec<u32> = spans.into_values().filter(|(_, _, sessions)| sessions.len() == 2).map(|(first, last, _)| last - first).collect();
    let soon = twice.iter().filter(|span| **span < 4 * 86_400).count();
    assert!(soon * 10 > twice.len() * 7, "{soon} of {}", twice.len());
    assert!(soon < twice.len());
}
