//! The exact median of absolute errors in 32 bits from counts alone: a first stage counts errors by the upper half of their bits, a second one, by the lower
//! half, those whose upper half is that of a median. However many rows there are, partial results keep their size.

/// Bytes of a count.
const COUNT: usize = 8;
/// Bytes of the counts of the first stage: absolute values have no sign.
pub const UPPER_BYTES: usize = (1 << 15) * COUNT;
/// Bytes of the counts of one upper half in the second stage.
const HALF_BYTES: usize = (1 << 16) * COUNT;
/// Bytes of the counts of the second stage.
pub const LOWER_BYTES: usize = 2 * HALF_BYTES;

fn counts(bytes: &[u8]) -> impl Iterator<Item = u64> + '_ {
    bytes.as_chunks::<COUNT>().0.iter().map(|count| u64::from_le_bytes(*count))
}

fn add(bytes: &mut [u8], place: usize, more: u64) {
    if let Some(count) = bytes.as_chunks_mut::<COUNT>().0.get_mut(place) {
        *count = u64::from_le_bytes(*count).saturating_add(more).to_le_bytes();
    }
}

/// The place where the number of a rank (from 0) was counted, and its rank among those of that place.
fn find(bytes: &[u8], rank: u64) -> Option<(usize, u64)> {
    let mut rest = rank;
    for (place, count) in counts(bytes).enumerate() {
        match rest.checked_sub(count) {
            None => return Some((place, rest)),
            Some(left) => rest = left,
        }
    }
    None
}

/// Adds counts of other rows, of the same stage.
pub fn merge(bytes: &mut [u8], other: &[u8]) {
    for (place, count) in counts(other).enumerate().filter(|(_, count)| *count > 0) {
        add(bytes, place, count);
    }
}

/// Counts an absolute error in the first stage.
pub fn count_upper(bytes: &mut [u8], error: f32) {
    add(bytes, (error.to_bits() >> 16) as usize, 1);
}

/// The two errors in the middle, which are one of an odd number: the upper half of each, and its rank among those of the same upper half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Middle([(usize, u64); 2]);

impl Middle {
    /// From the counts of the first stage; `None` without errors.
    pub fn of(upper: &[u8]) -> Option<Self> {
        let last = counts(upper).sum::<u64>().checked_sub(1)?;
        Some(Self([find(upper, last / 2)?, find(upper, last.div_ceil(2))?]))
    }

    /// Where errors of an upper half are counted in the second stage.
    fn half(&self, upper: usize) -> Option<usize> {
        self.0.iter().position(|(half, _)| *half == upper)
    }

    /// Counts an absolute error in the second stage.
    pub fn count_lower(&self, bytes: &mut [u8], error: f32) {
        let bits = error.to_bits() as usize;
        if let Some(half) = self.half(bits >> 16) {
            add(bytes, half << 16 | bits & 0xffff, 1);
        }
    }

    /// The median from the counts of the second stage. A query may give other rows when it is run again (`LIMIT`, `random()`); then it is as near as can be told.
    pub fn median(&self, lower: &[u8]) -> Option<f64> {
        let value = |(upper, rank): (usize, u64)| {
            let half = lower.get(self.half(upper)? * HALF_BYTES..)?.get(..HALF_BYTES)?;
            let low = match counts(half).sum::<u64>().checked_sub(1) {
                Some(last) => find(half, rank.min(last))?.0,
                None => 1 << 15,
            };
            Some(f64::from(f32::from_bits((upper << 16 | low) as u32)))
        };
        Some((value(self.0[0])? + value(self.0[1])?) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::matrix_factorization::errors::median;

    /// The median of errors that lie in parts, each counted alone.
    fn counted(parts: &[&[f32]]) -> Option<f64> {
        let of_all = |size: usize, count: &dyn Fn(&mut [u8], f32)| {
            let mut all = vec![0; size];
            for part in parts {
                let mut bytes = vec![0; size];
                part.iter().for_each(|error| count(&mut bytes, *error));
                merge(&mut all, &bytes);
            }
            all
        };
        let middle = Middle::of(&of_all(UPPER_BYTES, &count_upper))?;
        middle.median(&of_all(LOWER_BYTES, &|bytes, error| middle.count_lower(bytes, error)))
    }

    #[test]
    fn medians_of_few_errors() {
        assert_eq!(counted(&[]), None);
        assert_eq!(counted(&[&[0.0], &[]]), Some(0.0));
        assert_eq!(counted(&[&[3.0], &[1.0]]), Some(2.0));
        assert_eq!(counted(&[&[f32::INFINITY, 1e-40, 0.25]]), Some(0.25));
    }

    #[test]
    fn other_rows_in_the_second_stage_give_a_median_nearby() {
        let of = |size: usize, errors: &[f32], count: &dyn Fn(&mut [u8], f32)| {
            let mut bytes = vec![0; size];
            errors.iter().for_each(|error| count(&mut bytes, *error));
            bytes
        };
        let middle = Middle::of(&of(UPPER_BYTES, &[1.0, 2.0, 2.001, 2.002, 9.0], &count_upper)).unwrap();
        let again = |errors: &[f32]| middle.median(&of(LOWER_BYTES, errors, &|bytes, error| middle.count_lower(bytes, error))).unwrap();
        assert_eq!(again(&[9.0, 2.002, 2.001, 2.0, 1.0]), f64::from(2.001f32));
        assert_eq!(again(&[2.0, 9.0]), 2.0);
        assert!((again(&[7.0]) - 2.0).abs() < 0.02);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn medians_are_those_of_sorted_errors(
            errors in prop::collection::vec(prop_oneof![0.0f32..5.0, 1.0f32..1.000_1, Just(2.0), Just(1e-30)], 1..60), cut in any::<prop::sample::Index>(),
        ) {
            let (one, other) = errors.split_at(cut.index(errors.len()));
            prop_assert_eq!(counted(&[one, other]), median(&mut errors.clone()));
        }
    }
}
