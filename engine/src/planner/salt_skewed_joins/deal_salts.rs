//! Salts that send the rows of a frequent key to partitions of our choice.
//!
//! A shuffle sends a row to the partition `hash(key, salt) % partitions`. Salts drawn at random would leave some partitions out and hit others several times,
//! so for each partition that a key is to go to, a salt is looked for that leads there. A key goes to as many partitions as its share asks for, and to those
//! that have got least of the others.

use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use datafusion::common::Result;

use super::count_keys::FrequentKey;
use crate::operators::hot_keys::hash_rows;

/// Pieces per average partition that a key is cut into: what is left of unevenness is a quarter of a partition.
const PIECES_PER_PARTITION: f64 = 4.0;
/// Salts that are tried for each partition, on average. One that none of them leads to is left out.
const TRIES_PER_PARTITION: usize = 16;

/// The salts of each key. One that matches something is cut into `most` pieces at most, but into two at least.
///
/// # Errors
/// Values that cannot be hashed.
pub(super) fn deal_salts(keys: &[FrequentKey], most: usize, partitions: usize) -> Result<Vec<Vec<u32>>> {
    let frequent: f64 = keys.iter().map(|key| key.share).sum();
    let mut loads = vec![(1.0 - frequent).max(0.0) / partitions as f64; partitions];
    keys.iter()
        .map(|key| {
            let pieces = (key.share * partitions as f64 * PIECES_PER_PARTITION).ceil() as usize;
            let most = if key.has_null { partitions } else { most.clamp(2, partitions) };
            let pieces = pieces.clamp(2, most);
            let mut by_load: Vec<(usize, u32)> = salts_by_partition(&key.values, partitions)?;
            by_load.sort_by(|(a, _), (b, _)| loads[*a].total_cmp(&loads[*b]).then(a.cmp(b)));
            by_load.truncate(pieces);
            by_load.iter().for_each(|(partition, _)| loads[*partition] += key.share / by_load.len() as f64);
            Ok(by_load.into_iter().map(|(_, salt)| salt).collect())
        })
        .collect()
}

/// Partitions, each with the least salt that leads there.
fn salts_by_partition(key: &[ArrayRef], partitions: usize) -> Result<Vec<(usize, u32)>> {
    let tried = partitions * TRIES_PER_PARTITION;
    let again = UInt32Array::from(vec![0; tried]);
    let mut columns = key.iter().map(|value| Ok(take(value, &again, None)?)).collect::<Result<Vec<ArrayRef>>>()?;
    columns.push(Arc::new(UInt32Array::from_iter_values(0..tried as u32)));
    let mut hashes = Vec::new();
    hash_rows(&columns, tried, &mut hashes)?;
    let mut salts: Vec<Option<u32>> = vec![None; partitions];
    for (salt, hash) in (0u32..).zip(hashes) {
        salts[(hash % partitions as u64) as usize].get_or_insert(salt);
    }
    Ok(salts.into_iter().enumerate().filter_map(|(partition, salt)| Some((partition, salt?))).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use arrow::array::{Int64Array, RecordBatch, StringArray};
    use datafusion::physical_expr::PhysicalExpr;
    use datafusion::physical_expr::expressions::Column;
    use datafusion::physical_plan::metrics::Time;
    use datafusion::physical_plan::repartition::BatchPartitioner;

    use super::*;

    fn key(share: f64, values: Vec<ArrayRef>) -> FrequentKey {
        FrequentKey { hash: 0, has_null: false, share, values }
    }

    /// Where the shuffle sends the key with each of its salts.
    fn reached(key: &FrequentKey, salts: &[u32], partitions: usize) -> BTreeSet<usize> {
        let again = UInt32Array::from(vec![0; salts.len()]);
        let mut columns: Vec<ArrayRef> = key.values.iter().map(|value| take(value, &again, None).unwrap()).collect();
        columns.push(Arc::new(UInt32Array::from(salts.to_vec())));
        let names: Vec<String> = (0..columns.len()).map(|at| format!("c{at}")).collect();
        let batch = RecordBatch::try_from_iter(names.iter().zip(columns).map(|(name, column)| (name.as_str(), column))).unwrap();
        let by = names.iter().enumerate().map(|(at, name)| Arc::new(Column::new(name, at)) as Arc<dyn PhysicalExpr>).collect();
        let mut partitioner = BatchPartitioner::new_hash_partitioner(by, partitions, Time::new()).unwrap();
        partitioner
            .partition_iter(batch)
            .unwrap()
            .map(|part| part.unwrap())
            .filter(|(_, rows)| rows.num_rows() > 0)
            .map(|(at, _)| at)
            .collect()
    }

    #[test]
    fn half_of_the_rows_reach_every_partition_whatever_the_type_of_the_key() {
        let keys: [Vec<ArrayRef>; 3] = [
            vec![Arc::new(Int64Array::from(vec![7]))],
            vec![Arc::new(StringArray::from(vec!["paris"])), Arc::new(Int64Array::from(vec![7]))],
            vec![Arc::new(Int64Array::from(vec![None]))],
        ];
        for (values, partitions) in keys.into_iter().zip([2, 24, 7]) {
            let key = key(0.5, values);
            let salts = deal_salts(std::slice::from_ref(&key), partitions, partitions).unwrap();
            assert_eq!(reached(&key, &salts[0], partitions), (0..partitions).collect(), "{partitions}");
            assert_eq!(salts[0].len(), partitions);
        }
    }

    #[test]
    fn small_keys_get_few_partitions_and_not_the_same_ones() {
        let one = key(0.1, vec![Arc::new(Int64Array::from(vec![1]))]);
        let two = key(0.1, vec![Arc::new(Int64Array::from(vec![2]))]);
        for (most, pieces) in [(10, 4), (3, 3), (1, 2)] {
            let salts = deal_salts(&[one.clone(), two.clone()], most, 10).unwrap();
            let (first, second) = (reached(&one, &salts[0], 10), reached(&two, &salts[1], 10));
            assert_eq!((first.len(), second.len()), (pieces, pieces));
            assert!(first.is_disjoint(&second), "{first:?} {second:?}");
        }
    }
}
