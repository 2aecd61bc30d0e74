//! The published marginals, on a sample of the size of a small benchmark.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use crate::{Event, MANY, many_events, without_duplicates};

/// How many rows the published month has.
const FULL: f64 = 42_448_764.0;

fn scaled(count: f64) -> f64 {
    count * MANY as f64 / FULL
}

fn assert_near(name: &str, got: usize, expected: f64, tolerance: f64) {
    assert!((got as f64 - expected).abs() <= tolerance * expected, "{name}: {got} instead of {expected:.0}");
}

fn counted<K: Hash + Eq>(keys: impl Iterator<Item = K>) -> HashMap<K, usize> {
    let mut counts = HashMap::new();
    keys.for_each(|key| *counts.entry(key).or_default() += 1);
    counts
}

#[test]
fn counts_scale_with_the_rows() {
    let events = many_events();
    assert_eq!(events.len() as u64, MANY);
    assert!(events.is_sorted_by_key(|event| event.second));
    let originals = without_duplicates(&events);
    assert_near("duplicates", events.len() - originals.len(), scaled(35_207.0), 0.01);
    types(&originals);
    missing_values(&events);
    users_and_sessions(&events, &originals);
    products(&events);
    hours(&originals);
}

fn types(originals: &[Event]) {
    let types = counted(originals.iter().map(|event| event.kind.as_str()));
    assert_eq!(types.len(), 3);
    assert_near("views", types["view"], scaled(40_772_341.0), 0.001);
    assert_near("carts", types["cart"], scaled(898_443.0), 0.01);
    assert_near("purchases", types["purchase"], scaled(742_773.0), 0.01);
}

fn missing_values(events: &[Event]) {
    let count = |wanted: fn(&Event) -> bool| events.iter().filter(|event| wanted(event)).count();
    assert_near("rows without brand", count(|event| event.brand.is_empty()), scaled(6_113_008.0), 0.06);
    assert_near("rows without category code", count(|event| event.code.is_empty()), scaled(13_515_609.0), 0.05);
    assert_near("rows of price 0", count(|event| event.cents == 0), scaled(68_669.0), 0.25);
    assert_eq!(events.iter().map(|event| event.cents).max(), Some(257_407));
    assert_eq!(count(|event| event.session.is_empty()), 0);
}

fn users_and_sessions(events: &[Event], originals: &[Event]) {
    let by_user = counted(originals.iter().map(|event| event.user));
    let by_session = counted(originals.iter().map(|event| &event.session));
    assert_near("users", by_user.len(), scaled(3_022_290.0), 0.001);
    assert_near("sessions", by_session.len(), scaled(9_240_085.0), 0.001);
    let pairs: HashSet<(u64, &str)> = originals.iter().map(|event| (event.user, event.session.as_str())).collect();
    assert_eq!(pairs.len(), by_session.len(), "a session has two users");
    let sessions_by_user = counted(pairs.iter().map(|pair| pair.0));
    let share = |counts: &mut dyn Iterator<Item = &usize>, least: usize, of: usize| {
        counts.filter(|count| **count >= least).count() as f64 / of as f64
    };
    let users = sessions_by_user.len();
    assert!((0.45..0.60).contains(&share(&mut sessions_by_user.values(), 2, users)));
    assert!((0.02..0.08).contains(&share(&mut sessions_by_user.values(), 10, users)));
    assert!(sessions_by_user.values().max() > Some(&100));
    assert!((0.30..0.45).contains(&(1.0 - share(&mut by_session.values(), 2, by_session.len()))));
    assert!((0.05..0.15).contains(&share(&mut by_session.values(), 11, by_session.len())));

    // The bots: hundreds of views in a row, nothing else.
    let bots = by_session.iter().filter(|(_, count)| **count > 140).map(|(session, _)| session.as_str()).collect::<HashSet<_>>();
    let bots: HashSet<u64> = events.iter().filter(|event| bots.contains(event.session.as_str())).map(|event| event.user).collect();
    let shares = bots.iter().map(|user| by_user[user] as f64 / MANY as f64);
    assert!(shares.filter(|share| (0.0005..0.001).contains(share)).count() >= 5);
}

fn products(events: &[Event]) {
    let by_product = counted(events.iter().map(|event| event.product));
    let mut counts: Vec<usize> = by_product.into_values().collect();
    counts.sort_unstable_by(|a, b| b.cmp(a));
    let top: usize = counts.iter().take(counts.len() / 100).sum();
    assert!(top as f64 / MANY as f64 > 0.25, "the top hundredth has {top} rows");
    assert!((30_000..90_000).contains(&counts.len()), "{} products", counts.len());
    let brands = counted(events.iter().map(|event| event.brand.as_str()));
    assert!((1_500..=3_446).contains(&brands.len()), "{} brands", brands.len());
    let phones = events.iter().filter(|event| event.code == "electronics.smartphone").count();
    assert_near("rows of smartphones", phones, 0.27 * MANY as f64, 0.06);

    let mut versions: HashMap<u64, HashSet<(u64, &str, &str)>> = HashMap::new();
    let mut prices: HashMap<u64, (u64, u64)> = HashMap::new();
    let mut codes: HashMap<u64, &str> = HashMap::new();
    for event in events {
        versions.entry(event.product).or_default().insert((event.category, &event.code, &event.brand));
        let range = prices.entry(event.product).or_insert((event.cents, event.cents));
        *range = (range.0.min(event.cents), range.1.max(event.cents));
        assert_eq!(*codes.entry(event.category).or_insert(&event.code), event.code, "a category has two codes");
    }
    assert!(versions.values().all(|versions| versions.len() <= 2));
    let changed = versions.values().filter(|versions| versions.len() == 2).count();
    assert!(changed > 100 && changed < versions.len() / 20, "{changed} products changed");
    assert!(prices.values().all(|(low, high)| high * 100 <= low * 110 + 200), "a price jumps");
    assert!(prices.values().any(|(low, high)| low != high), "no price moves");
}

fn hours(originals: &[Event]) {
    let busiest = |kind: &str| {
        let hours = counted(originals.iter().filter(|event| event.kind == kind).map(|event| event.second / 3600 % 24));
        hours.into_iter().max_by_key(|(_, count)| *count).map(|(hour, _)| hour)
    };
    assert!(matches!(busiest("view"), Some(16..=18)));
    assert!(matches!(busiest("purchase"), Some(8 | 9)));
    let days = counted(originals.iter().map(|event| event.second / 86_400));
    assert_eq!(days.len(), 31);
}
