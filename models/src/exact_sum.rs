//! Sums of floating-point numbers that come out the same, to the bit, in any order.
//!
//! Two kinds, both integers underneath, so that adding, subtracting and merging are associative:
//!
//! * [`ExactSum`] needs to know nothing beforehand and is exact: a *superaccumulator*, a fixed-point number as wide as the range of `f64` (Kulisch; the
//!   layout is that of R. M. Neal, "Fast exact summation using small and large superaccumulators", 2015). [`ExactSum::add_slice`] sums most slices with
//!   vector instructions.
//! * [`Grid`] and [`GridSum`] are for inner loops that keep many sums: with a bound on the numbers known, each is rounded to a multiple of 2⁻¹⁰¹ of the bound
//!   (two limbs; the pre-rounding of J. Demmel and H. D. Nguyen, "Parallel Reproducible Summation", 2015, on a grid of integers). Numbers that are not
//!   smaller than 2⁻⁴⁸ of the bound are kept exactly.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::simd::{Kernel, widest};

const LIMB_BITS: u32 = 32;
/// 2098 bits from the smallest subnormal to the largest number, and 110 for carries.
const LIMBS: usize = 69;
/// Exponent of the lowest bit of the lowest limb.
const LOWEST: i32 = -1074;
/// Additions of less than 2³² to a limb that an `i64` takes before carries have to be moved on.
const MAX_PENDING: u32 = 1 << 29;
/// Adding this to a number below 2⁵¹ in size leaves its nearest integer in the lowest bits of the mantissa.
const MAGIC: f64 = 6_755_399_441_055_744.0; // 1.5 * 2^52
/// Bits of a limb of the grid.
const GRID_BITS: i32 = 50;
/// How many grid numbers are summed in an `i64` at most: 2⁵⁰ · 2¹² < 2⁶³.
const GRID_RUN: usize = 4096;

/// An exact sum of finite `f64`s.
#[derive(Clone)]
pub struct ExactSum {
    limbs: [i64; LIMBS],
    pending: u32,
}

impl Default for ExactSum {
    fn default() -> Self {
        Self { limbs: [0; LIMBS], pending: 0 }
    }
}

impl std::fmt::Debug for ExactSum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ExactSum({})", self.value())
    }
}

impl PartialEq for ExactSum {
    fn eq(&self, other: &Self) -> bool {
        self.canonical() == other.canonical()
    }
}

impl ExactSum {
    /// Zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a finite number (others are ignored; refuse them where rows are read).
    #[inline]
    pub fn add(&mut self, value: f64) {
        let bits = value.to_bits();
        let exponent = ((bits >> 52) & 0x7ff) as u32;
        if exponent == 0x7ff {
            return;
        }
        let fraction = bits & ((1 << 52) - 1);
        let (mantissa, position) = if exponent == 0 { (fraction, 0) } else { (fraction | (1 << 52), exponent - 1) };
        self.add_bits(mantissa, position, value.is_sign_negative());
    }

    /// Subtracts a finite number.
    pub fn subtract(&mut self, value: f64) {
        self.add(-value);
    }

    /// Adds the exact product of two numbers whose product neither overflows nor underflows; exact for factors between 1e-140 and 1e150 in size.
    pub fn add_product(&mut self, a: f64, b: f64) {
        let (high, low) = two_product(a, b);
        self.add(high);
        self.add(low);
    }

    /// Adds every number of a slice; all have to be finite.
    pub fn add_slice(&mut self, values: &[f64]) {
        for run in values.chunks(GRID_RUN) {
            let (largest, finite) = widest(Largest { values: run });
            if !finite {
                continue;
            }
            let grid = Grid::new(largest);
            let (high, low, exact) = widest(SumRun { values: run, grid });
            if exact {
                self.add_scaled(high, -grid.exponent);
                self.add_scaled(low, -grid.exponent - GRID_BITS - 1);
            } else {
                run.iter().for_each(|value| self.add(*value));
            }
        }
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &Self) {
        self.carry();
        let mut other = other.clone();
        other.carry();
        for (limb, more) in self.limbs.iter_mut().zip(&other.limbs) {
            *limb += more;
        }
        self.pending = 1;
    }

    /// The sum, correctly rounded.
    pub fn value(&self) -> f64 {
        let (negative, first, magnitude) = self.canonical();
        let Some(top) = magnitude.len().checked_sub(1) else { return 0.0 };
        let from = top.saturating_sub(3);
        let mut leading = magnitude[from..].iter().rev().fold(0u128, |sum, limb| (sum << LIMB_BITS) | u128::from(*limb));
        if magnitude[..from].iter().any(|limb| *limb != 0) {
            leading |= 1; // far below the bits that are kept: only breaks ties
        }
        let value = times_power_of_two(leading as f64, LOWEST + (LIMB_BITS as usize * (first + from)) as i32);
        if negative { -value } else { value }
    }

    /// The sum as two numbers: itself rounded, and what rounding took away, rounded.
    pub fn value_pair(&self) -> (f64, f64) {
        let high = self.value();
        let mut rest = self.clone();
        rest.subtract(high);
        (high, rest.value())
    }

    /// `mantissa * 2^(position + LOWEST)`.
    #[inline]
    fn add_bits(&mut self, mantissa: u64, position: u32, negative: bool) {
        if self.pending >= MAX_PENDING {
            self.carry();
        }
        self.pending += 1;
        let at = (position / LIMB_BITS) as usize;
        let shifted = u128::from(mantissa) << (position % LIMB_BITS);
        let sign = if negative { -1 } else { 1 };
        for (i, limb) in self.limbs[at..at + 3].iter_mut().enumerate() {
            *limb += sign * i64::from((shifted >> (LIMB_BITS as usize * i)) as u32);
        }
    }

    /// Adds `value * 2^exponent`, which is a multiple of the smallest subnormal.
    fn add_scaled(&mut self, value: i64, exponent: i32) {
        let position = exponent - LOWEST;
        let magnitude =
            if position < 0 { value.unsigned_abs().checked_shr(position.unsigned_abs()).unwrap_or(0) } else { value.unsigned_abs() };
        self.add_bits(magnitude, position.max(0) as u32, value < 0);
    }

    /// Moves carries on: every limb but the highest is in `0..2^32`.
    fn carry(&mut self) {
        let mut carry = 0;
        for limb in &mut self.limbs[..LIMBS - 1] {
            let sum = *limb + carry;
            carry = sum >> LIMB_BITS;
            *limb = sum & 0xffff_ffff;
        }
        self.limbs[LIMBS - 1] += carry;
        self.pending = 0;
    }

    /// Sign, the lowest limb that is not zero, and the magnitude from there to the highest that is not zero.
    fn canonical(&self) -> (bool, usize, Vec<u32>) {
        let mut sum = self.clone();
        sum.carry();
        let negative = sum.limbs[LIMBS - 1] < 0;
        if negative {
            sum.limbs.iter_mut().for_each(|limb| *limb = -*limb);
            sum.carry();
        }
        let Some(first) = sum.limbs.iter().position(|limb| *limb != 0) else { return (false, 0, Vec::new()) };
        let last = sum.limbs.iter().rposition(|limb| *limb != 0).unwrap_or(first);
        (negative, first, sum.limbs[first..=last].iter().map(|limb| *limb as u32).collect())
    }
}

impl Serialize for ExactSum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (negative, first, magnitude) = self.canonical();
        (negative, first as u8, magnitude).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ExactSum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (negative, first, magnitude) = <(bool, u8, Vec<u32>)>::deserialize(deserializer)?;
        let first = usize::from(first);
        if first + magnitude.len() > LIMBS {
            return Err(serde::de::Error::custom("a sum that is wider than any can be"));
        }
        let mut sum = Self::new();
        for (limb, value) in sum.limbs[first..].iter_mut().zip(magnitude) {
            *limb = if negative { -i64::from(value) } else { i64::from(value) };
        }
        Ok(sum)
    }
}

/// Exact count, sum and sum of squares: mean and variance without cancellation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ExactMoments {
    /// How many numbers.
    pub count: u64,
    /// Their sum.
    pub sum: ExactSum,
    /// The sum of their squares.
    pub squares: ExactSum,
}

impl ExactMoments {
    /// Adds every number of a slice; each finite and at most 1e150 in size.
    pub fn add_slice(&mut self, values: &[f64]) {
        self.count += values.len() as u64;
        self.sum.add_slice(values);
        let (mut high, mut low) = ([0.0; 256], [0.0; 256]);
        for run in values.chunks(256) {
            let (high, low) = (&mut high[..run.len()], &mut low[..run.len()]);
            widest(Squares { values: run, high, low });
            self.squares.add_slice(high);
            self.squares.add_slice(low);
        }
    }

    /// Adds those of other rows.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum.merge(&other.sum);
        self.squares.merge(&other.squares);
    }

    /// The mean; `None` of no numbers.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum.value() / self.count as f64)
    }

    /// The sum of squared deviations from the mean.
    pub fn squared_deviations(&self) -> f64 {
        if self.count == 0 {
            return 0.0;
        }
        // (Σx)² / n and Σx² as pairs of numbers: 106 bits, so that what is left after the subtraction is still good to the last places.
        let (sum, sum_low) = self.sum.value_pair();
        let n = self.count as f64;
        let (square, square_low) = two_product(sum, sum);
        let square_low = square_low + 2.0 * sum * sum_low;
        let quotient = square / n;
        let (back, back_low) = two_product(quotient, n);
        let quotient_low = ((square - back) - back_low + square_low) / n;
        let (squares, squares_low) = self.squares.value_pair();
        let deviations = (squares - quotient) + (squares_low - quotient_low);
        deviations.max(0.0)
    }

    /// The sample variance (divided by n - 1); `None` of fewer than two numbers.
    pub fn sample_variance(&self) -> Option<f64> {
        (self.count > 1).then(|| self.squared_deviations() / (self.count - 1) as f64)
    }
}

/// The product of two numbers as its rounded value and the error of that (T. J. Dekker, 1971): the same on every machine, with or without fused
/// instructions.
#[inline(always)]
pub fn two_product(a: f64, b: f64) -> (f64, f64) {
    let (a_high, a_low) = halves(a);
    let (b_high, b_low) = halves(b);
    let product = a * b;
    let error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low;
    (product, error)
}

#[inline(always)]
fn halves(x: f64) -> (f64, f64) {
    let factor = 134_217_729.0 * x; // 2^27 + 1
    let high = factor - (factor - x);
    (high, x - high)
}

/// `x * 2^exponent`, rounded once at most.
fn times_power_of_two(x: f64, exponent: i32) -> f64 {
    let half = exponent / 2;
    x * power_of_two(half) * power_of_two(exponent - half)
}

/// `2^exponent` for exponents of normal numbers.
#[inline(always)]
fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023).clamp(1, 2046) as u64) << 52)
}

/// The grid on which numbers up to a bound are added as integers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Grid {
    /// A number `x` counts `x * 2^exponent` units of the high limb.
    exponent: i32,
}

impl Grid {
    /// A grid for numbers that are at most `bound` in size.
    pub fn new(bound: f64) -> Self {
        // bound < 2^(e + 1): at most 2^50 units.
        let binary_exponent = ((bound.abs().to_bits() >> 52) as i32) - 1023;
        Self { exponent: (GRID_BITS - 1 - binary_exponent).clamp(-975, 950) }
    }

    /// The integers of a number: multiples of the unit, and of 2⁻⁵¹ of the unit.
    #[inline(always)]
    pub fn split(self, value: f64) -> (i64, i64) {
        self.split_pair(value, 0.0)
    }

    /// The integers of a number that is given as a sum of two, the second being the rounding error of the first.
    #[inline(always)]
    pub fn split_pair(self, value: f64, error: f64) -> (i64, i64) {
        let units = value * power_of_two(self.exponent);
        let shifted = units + MAGIC;
        let rest = ((units - (shifted - MAGIC)) + error * power_of_two(self.exponent)) * power_of_two(GRID_BITS + 1);
        (shifted.to_bits().wrapping_sub(MAGIC.to_bits()) as i64, (rest + MAGIC).to_bits().wrapping_sub(MAGIC.to_bits()) as i64)
    }
}

/// A sum on a [`Grid`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GridSum {
    high: i128,
    low: i128,
}

impl GridSum {
    /// Adds a number.
    #[inline(always)]
    pub fn add(&mut self, grid: Grid, value: f64) {
        let (high, low) = grid.split(value);
        self.high += i128::from(high);
        self.low += i128::from(low);
    }

    /// Takes a number away again: as if it had never been added.
    #[inline(always)]
    pub fn subtract(&mut self, grid: Grid, value: f64) {
        let (high, low) = grid.split(value);
        self.high -= i128::from(high);
        self.low -= i128::from(low);
    }

    /// Adds the integers of [`Grid::split`] `sign` times (1 or -1).
    #[inline(always)]
    pub fn add_split(&mut self, (high, low): (i64, i64), sign: i64) {
        self.high += i128::from(sign * high);
        self.low += i128::from(sign * low);
    }

    /// Adds a sum on the same grid.
    pub fn merge(&mut self, other: &Self) {
        self.high += other.high;
        self.low += other.low;
    }

    /// The sum, correctly rounded.
    pub fn value(&self, grid: Grid) -> f64 {
        let low_bits = GRID_BITS + 1;
        let high = self.high + (self.low >> low_bits);
        let low = self.low & ((1 << low_bits) - 1);
        if high.unsigned_abs() < 1 << (126 - low_bits) {
            return times_power_of_two(((high << low_bits) | low) as f64, -grid.exponent - low_bits);
        }
        times_power_of_two((high | i128::from(low != 0)) as f64, -grid.exponent)
    }
}

struct Largest<'a> {
    values: &'a [f64],
}

impl Kernel for Largest<'_> {
    type Output = (f64, bool);

    #[inline(always)]
    fn run(self) -> (f64, bool) {
        // As integers: the order of the bits of positive numbers is theirs.
        let bits = self.values.iter().fold(0u64, |most, value| most.max(value.to_bits() & !(1 << 63)));
        (f64::from_bits(bits), bits < f64::INFINITY.to_bits())
    }
}

struct SumRun<'a> {
    values: &'a [f64],
    grid: Grid,
}

impl Kernel for SumRun<'_> {
    type Output = (i64, i64, bool);

    #[inline(always)]
    fn run(self) -> (i64, i64, bool) {
        let (scale, back, low_scale) = (power_of_two(self.grid.exponent), power_of_two(-self.grid.exponent), power_of_two(GRID_BITS + 1));
        let (mut high, mut low, mut lost) = (0i64, 0i64, 0u64);
        for value in self.values {
            let units = value * scale;
            let shifted = units + MAGIC;
            let rest = (units - (shifted - MAGIC)) * low_scale;
            let low_shifted = rest + MAGIC;
            high = high.wrapping_add(shifted.to_bits().wrapping_sub(MAGIC.to_bits()) as i64);
            low = low.wrapping_add(low_shifted.to_bits().wrapping_sub(MAGIC.to_bits()) as i64);
            lost |= ((rest - (low_shifted - MAGIC)).to_bits() | (units * back - value).to_bits()) << 1;
        }
        (high, low, lost == 0 && self.grid.exponent < 950)
    }
}

struct Squares<'a> {
    values: &'a [f64],
    high: &'a mut [f64],
    low: &'a mut [f64],
}

impl Kernel for Squares<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for ((value, high), low) in self.values.iter().zip(self.high).zip(self.low) {
            (*high, *low) = two_product(*value, *value);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn finite() -> impl Strategy<Value = f64> {
        any::<u64>().prop_map(f64::from_bits).prop_filter("finite", |x| x.is_finite() && x.abs() < 1e300)
    }

    fn sum(values: &[f64]) -> ExactSum {
        let mut sum = ExactSum::new();
        values.iter().for_each(|v| sum.add(*v));
        sum
    }

    #[test]
    fn cancels_completely() {
        assert_eq!(sum(&[1e300, 1.0, -1e300]).value(), 1.0);
        assert_eq!(sum(&[1e-320, -1.0, 1.0]).value(), 1e-320);
        assert_eq!(sum(&[]).value(), 0.0);
        assert_eq!(sum(&[-3.5, -0.25]).value(), -3.75);
        // A tie that a far smaller number breaks.
        assert_eq!(sum(&[1.0, f64::EPSILON / 2.0, 1e-300]).value(), 1.0 + f64::EPSILON);
        assert_eq!(sum(&[1.0, f64::EPSILON / 2.0]).value(), 1.0);
    }

    #[test]
    fn variance_of_large_numbers_with_small_spread() {
        let values: Vec<f64> = (0..1000).map(|i| 1.7e9 + f64::from(i)).collect();
        let mut moments = ExactMoments::default();
        moments.add_slice(&values);
        assert_eq!(moments.mean(), Some(1.7e9 + 499.5));
        assert_eq!(moments.squared_deviations(), 1000.0 * (1000.0 * 1000.0 - 1.0) / 12.0);
    }

    proptest! {
        #[test]
        fn any_order_and_division(mut values in prop::collection::vec(finite(), 0..60), cut in 0usize..60) {
            let all = sum(&values);
            let mut sliced = ExactSum::new();
            sliced.add_slice(&values);
            prop_assert_eq!(&all, &sliced);
            let cut = cut.min(values.len());
            let mut parts = sum(&values[cut..]);
            parts.merge(&sum(&values[..cut]));
            prop_assert_eq!(postcard::to_allocvec(&all).unwrap(), postcard::to_allocvec(&parts).unwrap());
            values.reverse();
            prop_assert_eq!(all.value().to_bits(), sum(&values).value().to_bits());
            let read: ExactSum = postcard::from_bytes(&postcard::to_allocvec(&all).unwrap()).unwrap();
            prop_assert_eq!(&read, &all);
            let mut none = all.clone();
            values.iter().for_each(|v| none.subtract(*v));
            prop_assert_eq!(none, ExactSum::new());
        }

        #[test]
        fn slices_equal_singles(values in prop::collection::vec(-1e3..1e3f64, 0..9000)) {
            let mut sliced = ExactSum::new();
            sliced.add_slice(&values);
            prop_assert_eq!(sliced, sum(&values));
        }

        #[test]
        fn whole_numbers_equal_integer_arithmetic(values in prop::collection::vec(-(1i64 << 53)..(1i64 << 53), 0..200)) {
            let exact: i128 = values.iter().map(|v| i128::from(*v)).sum();
            let floats: Vec<f64> = values.iter().map(|v| *v as f64).collect();
            prop_assert_eq!(sum(&floats).value(), exact as f64);
            let grid = Grid::new((1i64 << 53) as f64);
            let mut gridded = GridSum::default();
            floats.iter().for_each(|v| gridded.add(grid, *v));
            prop_assert_eq!(gridded.value(grid), exact as f64);
        }

        #[test]
        fn grid_adds_subtracts_and_is_accurate(values in prop::collection::vec(-1e6..1e6f64, 0..300), bound in 1e6..1e9f64) {
            let grid = Grid::new(bound);
            let mut gridded = GridSum::default();
            values.iter().for_each(|v| gridded.add(grid, *v));
            prop_assert_eq!(gridded.value(grid), sum(&values).value());
            for v in values.iter().rev() {
                gridded.subtract(grid, *v);
            }
            prop_assert_eq!(gridded, GridSum::default());
        }

        #[test]
        fn products_are_exact(a in -1_000_000_000i64..1_000_000_000, b in -1_000_000_000i64..1_000_000_000, shift in -60i32..60) {
            let (high, low) = two_product(a as f64, b as f64);
            prop_assert_eq!(high as i128 + low as i128, i128::from(a) * i128::from(b));
            let scale = power_of_two(shift);
            prop_assert_eq!(two_product(a as f64 * scale, b as f64), (high * scale, low * scale));
        }

        #[test]
        fn moments_agree_with_a_second_pass(values in prop::collection::vec(-1e3..1e3f64, 2..100), shift in -1e6..1e6f64) {
            let values: Vec<f64> = values.iter().map(|v| v + shift).collect();
            let mut moments = ExactMoments::default();
            moments.add_slice(&values);
            let mean = moments.mean().unwrap();
            let expected: f64 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
            prop_assert!((moments.squared_deviations() - expected).abs() <= 1e-9 * expected.max(1e-9), "{} {}", moments.squared_deviations(), expected);
        }
    }
}
