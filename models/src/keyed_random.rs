//! Random numbers that depend on nothing but a seed and a key.
//!
//! A row, an id or a step has its numbers whatever came before it and wherever it lies, so that training does not depend on how rows are divided. The mixing
//! function is that of SplitMix64 (G. L. Steele, D. Lea, C. H. Flood, "Fast Splittable Pseudorandom Number Generators", 2014).

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Mixes 64 bits: a bijection in which every bit of the input changes half of the bits of the output.
#[inline(always)]
pub fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// 64 random bits of a seed, a key (a row, an id) and a counter.
#[inline(always)]
pub fn random(seed: u64, key: u64, counter: u64) -> u64 {
    mix(mix(mix(seed.wrapping_add(GOLDEN)) ^ key).wrapping_add(counter.wrapping_add(1).wrapping_mul(GOLDEN)))
}

/// A number in `[0, 1)` from random bits: a multiple of 2⁻⁵³.
#[inline(always)]
pub fn to_uniform(bits: u64) -> f64 {
    (bits >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

/// A number in `[0, 1)`.
#[inline(always)]
pub fn uniform(seed: u64, key: u64, counter: u64) -> f64 {
    to_uniform(random(seed, key, counter))
}

/// A number of the standard normal distribution (Marsaglia's polar method; logarithms are computed here, so that they are the same on every machine).
pub fn normal(seed: u64, key: u64, counter: u64) -> f64 {
    let mut sequence = Sequence::new(random(seed, key, counter), 0);
    loop {
        let (u, v) = (2.0 * sequence.uniform() - 1.0, 2.0 * sequence.uniform() - 1.0);
        let square = u * u + v * v;
        if square > 0.0 && square < 1.0 {
            return u * (-2.0 * natural_logarithm(square) / square).sqrt();
        }
    }
}

/// Good to a few units of the last place for normal positive numbers; only basic arithmetic, unlike the system's own, which differs from machine to machine.
fn natural_logarithm(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut exponent = ((bits >> 52) as i64 - 1023) as f64;
    let mut mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa *= 0.5;
        exponent += 1.0;
    }
    // ln m = 2 artanh((m - 1) / (m + 1)), |z| < 0.172: twelve terms leave 2^-60.
    let z = (mantissa - 1.0) / (mantissa + 1.0);
    let square = z * z;
    let series = (0..12).rev().fold(0.0, |sum, i| sum * square + 1.0 / f64::from(2 * i + 1));
    exponent * std::f64::consts::LN_2 + 2.0 * z * series
}

/// A key of a row's content; rows that are equal have the same, -0 and 0 being equal.
#[inline]
pub fn row_key(row: impl IntoIterator<Item = f64>) -> u64 {
    row.into_iter().fold(EMPTY_KEY, extend_key)
}

/// The key of a row that is longer by one number; [`row_key`] begins with [`EMPTY_KEY`].
#[inline(always)]
pub fn extend_key(key: u64, value: f64) -> u64 {
    let bits = (value + 0.0).to_bits(); // -0 + 0 = 0
    let mixed = (key ^ bits).wrapping_mul(0xd6e8_feb8_6659_fd93);
    let mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    (mixed ^ (mixed >> 32)).wrapping_add(GOLDEN)
}

/// The key of a row without numbers.
pub const EMPTY_KEY: u64 = GOLDEN;

/// A sequence of random numbers of a seed and a key.
#[derive(Debug, Clone)]
pub struct Sequence {
    state: u64,
}

impl Sequence {
    /// The sequence of a seed and a key.
    pub fn new(seed: u64, key: u64) -> Self {
        Self { state: random(seed, key, 0) }
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        mix(self.state)
    }

    /// The next number in `[0, 1)`.
    pub fn uniform(&mut self) -> f64 {
        to_uniform(self.bits())
    }

    /// The next whole number below `bound` (0 for 0).
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depends_on_every_part() {
        let one = random(1, 2, 3);
        assert_eq!(one, random(1, 2, 3));
        assert!([random(2, 2, 3), random(1, 3, 3), random(1, 2, 4)].iter().all(|other| *other != one));
    }

    #[test]
    fn uniform_and_normal_have_their_moments() {
        let n = 200_000u64;
        let moments = |f: &dyn Fn(u64) -> f64| {
            let mean = (0..n).map(f).sum::<f64>() / n as f64;
            (mean, (0..n).map(|i| (f(i) - mean).powi(2)).sum::<f64>() / n as f64)
        };
        let (mean, variance) = moments(&|i| uniform(7, i, 0));
        assert!((mean - 0.5).abs() < 0.003 && (variance - 1.0 / 12.0).abs() < 0.001, "{mean} {variance}");
        let (mean, variance) = moments(&|i| normal(7, i, 0));
        assert!(mean.abs() < 0.01 && (variance - 1.0).abs() < 0.015, "{mean} {variance}");
        let beyond_two = (0..n).filter(|i| normal(7, *i, 1).abs() > 2.0).count() as f64 / n as f64;
        assert!((beyond_two - 0.0455).abs() < 0.003, "{beyond_two}");
    }

    #[test]
    fn logarithm_is_that_of_the_library() {
        for i in 1..10_000 {
            let x = f64::from(i) / 10_000.0;
            assert!((natural_logarithm(x) - x.ln()).abs() <= 4.0 * f64::EPSILON * x.ln().abs().max(1e-3), "{x}");
        }
    }

    #[test]
    fn zero_has_one_key() {
        assert_eq!(row_key([0.0, 1.0]), row_key([-0.0, 1.0]));
        assert_ne!(row_key([0.0, 1.0]), row_key([1.0, 0.0]));
        assert_ne!(row_key([1.0]), row_key([1.0, 0.0]));
    }
}
