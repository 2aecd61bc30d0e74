//! The log against a list per group.

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn equals_a_list_per_group(rows in prop::collection::vec((0usize..6, 0i64..9), 0..60), cut in 0usize..7) {
        let mut log = GroupedLog::default();
        log.grow_to(6).unwrap();
        let mut expected: Vec<Vec<i64>> = vec![Vec::new(); 6];
        for (group, row) in rows {
            log.push(group, row);
            expected[group].push(row);
        }
        let cut = cut.min(6);
        let first = log.take_first(cut);
        prop_assert_eq!(first.iter().map(<[i64]>::to_vec).collect::<Vec<_>>(), &expected[..cut]);
        // What is left moved down and can be added to.
        log.grow_to(6).unwrap();
        log.push(5, 77);
        let mut rest = expected[cut..].to_vec();
        rest.resize(6, Vec::new());
        rest[5].push(77);
        let second = log.take_first(6);
        prop_assert_eq!(second.iter().map(<[i64]>::to_vec).collect::<Vec<_>>(), rest);
        prop_assert!(log.is_empty());
    }

    #[test]
    fn squeezing_sorts_and_joins_within_groups(lists in prop::collection::vec(prop::collection::vec(0i64..9, 0..9), 0..6)) {
        let mut starts = vec![0];
        let mut rows = Vec::new();
        for list in &lists {
            rows.extend(list);
            starts.push(rows.len());
        }
        let mut all = ByGroup { starts, rows };
        all.squeeze(i64::cmp, |rows| join_neighbours(rows, |last, row| *last == *row));
        let expected: Vec<Vec<i64>> = lists.into_iter().map(|mut list| { list.sort(); list.dedup(); list }).collect();
        prop_assert_eq!(all.iter().map(<[i64]>::to_vec).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn a_log_of_repetitions_stays_small() {
    let mut log = GroupedLog::default();
    log.grow_to(3).unwrap();
    for at in 0..1_000_000 {
        log.push(at % 3, (at % 7) as i64);
        log.squeeze_if_grown(i64::cmp, |rows| join_neighbours(rows, |last, row| *last == *row));
    }
    assert!(log.len() < 2 * LEAST_ROWS_TO_SQUEEZE);
    assert!(log.allocated_bytes() < 4 * LEAST_ROWS_TO_SQUEEZE * 16);
    let mut all = log.take_first(3);
    all.squeeze(i64::cmp, |rows| join_neighbours(rows, |last, row| *last == *row));
    assert_eq!(all.starts, [0, 7, 14, 21]);
    assert!(log.allocated_bytes() < 1024);
}

#[test]
fn rows_of_many_chunks_keep_their_places_and_order() {
    let mut log = GroupedLog::default();
    log.grow_to(1000).unwrap();
    let rows = 3 * CHUNK_ROWS + 5;
    (0..rows).for_each(|at| log.push(at % 1000, at));
    assert_eq!(log.len(), rows);
    *log.get_mut(2 * CHUNK_ROWS + 1) += 1_000_000;
    log.rows_mut().for_each(|row| *row += 1);
    assert!(log.groups().eq((0..rows).map(|at| (at % 1000) as u32)));
    let expected = |groups: std::ops::Range<usize>| -> Vec<usize> {
        let changed = |at: usize| at + 1 + if at == 2 * CHUNK_ROWS + 1 { 1_000_000 } else { 0 };
        groups.flat_map(|group| (0..rows).filter(move |at| at % 1000 == group)).map(changed).collect()
    };
    let first = log.take_first(300);
    assert_eq!((first.rows, log.len()), (expected(0..300), rows - first.starts[300]));
    assert_eq!(log.take_first(700).rows, expected(300..1000));
    assert!(log.is_empty());
}

#[test]
fn a_log_in_which_nothing_can_be_joined_is_seldom_looked_at() {
    let mut log = GroupedLog::default();
    log.grow_to(1).unwrap();
    let mut looked = Vec::new();
    for at in 0..600_000 {
        log.push(0, at);
        if log.squeeze_if_grown(i64::cmp, |rows| join_neighbours(rows, |last, row| *last == *row)) {
            looked.push(log.len());
        }
    }
    assert_eq!(looked, [LEAST_ROWS_TO_SQUEEZE, 8 * LEAST_ROWS_TO_SQUEEZE]);
    assert_eq!(log.take_first(1).rows, (0..600_000).collect::<Vec<i64>>());
}
