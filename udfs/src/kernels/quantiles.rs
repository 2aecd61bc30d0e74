//! Percentiles of numbers, exact, by selection.

/// The quantiles of finite numbers at fractions from 0 to 1, interpolated linearly between neighbours (method 7 of R. J. Hyndman and Y. Fan, "Sample
/// Quantiles in Statistical Packages", 1996; the default of NumPy, pandas and R). Empty without numbers. The numbers are put in another order.
pub fn quantiles(numbers: &mut [f64], fractions: &[f64]) -> Vec<f64> {
    let Some(last) = numbers.len().checked_sub(1) else { return Vec::new() };
    // Where the wanted numbers stand among all in order.
    let place = |fraction: f64| {
        let place = fraction.clamp(0.0, 1.0) * last as f64;
        (place.floor() as usize, place - place.floor())
    };
    let mut wanted: Vec<usize> = fractions.iter().flat_map(|f| [place(*f).0, (place(*f).0 + 1).min(last)]).collect();
    wanted.sort_unstable();
    wanted.dedup();
    select(numbers, 0, &wanted);
    let quantile = |fraction: &f64| {
        let (at, part) = place(*fraction);
        let (below, above) = (numbers[at], numbers[(at + 1).min(last)]);
        if part == 0.0 || below == above { below } else { between(below, above, part) }
    };
    fractions.iter().map(quantile).collect()
}

/// Rounds as NumPy does: from the nearer end.
fn between(below: f64, above: f64, part: f64) -> f64 {
    let step = above - below;
    if part < 0.5 { below + step * part } else { above - step * (1.0 - part) }
}

/// Puts the numbers that stand at the wanted places (ascending, counted from `from`) in order to their places.
fn select(numbers: &mut [f64], from: usize, wanted: &[usize]) {
    let Some(middle) = wanted.get(wanted.len() / 2).copied() else { return };
    let (before, after) = (&wanted[..wanted.len() / 2], &wanted[wanted.len() / 2 + 1..]);
    let (low, _, high) = numbers.select_nth_unstable_by(middle - from, f64::total_cmp);
    select(low, from, before);
    select(high, middle + 1, after);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn agrees_with_numpy() {
        // numpy.percentile([15, 20, 35, 40, 50], [5, 30, 40, 95])
        assert_eq!(quantiles(&mut [50.0, 15.0, 40.0, 20.0, 35.0], &[0.05, 0.3, 0.4, 0.95]), [16.0, 23.0, 29.0, 48.0]);
        assert_eq!(quantiles(&mut [7.0], &[0.0, 0.5, 1.0]), [7.0, 7.0, 7.0]);
        assert!(quantiles(&mut [], &[0.5]).is_empty());
    }

    proptest! {
        #[test]
        fn selection_is_sorting(mut numbers in prop::collection::vec(-9i32..9, 1..200), fractions in prop::collection::vec(0.0f64..=1.0, 0..9)) {
            let mut given: Vec<f64> = numbers.iter().map(|n| f64::from(*n)).collect();
            numbers.sort_unstable();
            let found = quantiles(&mut given, &fractions);
            for (fraction, found) in fractions.iter().zip(found) {
                let place = fraction * (numbers.len() - 1) as f64;
                let low = f64::from(numbers[place.floor() as usize]);
                let high = f64::from(numbers[place.ceil() as usize]);
                prop_assert!((found - (low + (high - low) * place.fract())).abs() < 1e-12);
            }
        }
    }
}
