//! Least squares with no factor below 0, from normal equations: the active-set method of C. L. Lawson and R. J. Hanson in the form of R. Bro and S. de Jong,
//! "A fast non-negativity-constrained least squares algorithm" (1997). It ends with the exact solution after finitely many steps.

/// How much of the greatest element of the right side a gradient may be and count as zero.
const TOLERANCE: f64 = 1e-12;
/// Exchanges of factors between the sets, for each factor; rounding could make the method turn in circles.
const EXCHANGES: usize = 10;

/// Room to solve in.
pub struct Nonnegative {
    rank: usize,
    passive: Vec<bool>,
    places: Vec<usize>,
    triangle: Vec<f64>,
    trial: Vec<f64>,
    gradient: Vec<f64>,
}

impl Nonnegative {
    /// Room for so many factors.
    pub fn new(rank: usize) -> Self {
        let zeros = vec![0.0; rank];
        Self {
            rank,
            passive: vec![false; rank],
            places: Vec::with_capacity(rank),
            triangle: vec![0.0; rank * rank],
            trial: zeros.clone(),
            gradient: zeros,
        }
    }

    /// The `x >= 0` of least `½ xᵀ A x - bᵀ x`. `A` is whole and symmetric, its rows `stride` apart.
    pub fn solve(&mut self, a: &[f64], stride: usize, b: &[f64], x: &mut [f64]) {
        let rank = self.rank;
        x[..rank].fill(0.0);
        self.passive.fill(false);
        self.gradient.copy_from_slice(&b[..rank]);
        let tolerance = TOLERANCE * b[..rank].iter().fold(0.0, |most: f64, v| most.max(v.abs()));
        let mut exchanges = EXCHANGES * rank;
        loop {
            let best =
                (0..rank).filter(|f| !self.passive[*f]).max_by(|p, q| self.gradient[*p].total_cmp(&self.gradient[*q]).then(q.cmp(p)));
            let Some(best) = best.filter(|f| self.gradient[*f] > tolerance) else { return };
            self.passive[best] = true;
            if !self.solve_passive(a, stride, b) || self.trial[best] <= 0.0 {
                // Nothing is gained by this factor beyond what rounding hides.
                self.passive[best] = false;
                self.gradient[best] = 0.0;
                if exchanges == 0 {
                    return;
                }
                exchanges -= 1;
                continue;
            }
            while (0..rank).any(|f| self.passive[f] && self.trial[f] <= 0.0) {
                if exchanges == 0 {
                    return;
                }
                exchanges -= 1;
                self.step_back(x);
                if !self.solve_passive(a, stride, b) {
                    return;
                }
            }
            for ((x, passive), trial) in x.iter_mut().zip(&self.passive).zip(&self.trial).take(rank) {
                *x = if *passive { *trial } else { 0.0 };
            }
            for factor in 0..rank {
                let row = &a[factor * stride..][..rank];
                self.gradient[factor] = b[factor] - row.iter().zip(x.iter()).map(|(a, x)| a * x).sum::<f64>();
            }
        }
    }

    /// Goes from `x` towards the trial until the first factor is 0, and takes the factors that are from the passive set.
    fn step_back(&mut self, x: &mut [f64]) {
        let blocked = (0..self.rank).filter(|f| self.passive[*f] && self.trial[*f] <= 0.0);
        let ratio = |f: usize| if x[f] > self.trial[f] { x[f] / (x[f] - self.trial[f]) } else { 0.0 };
        let Some((first, step)) = blocked.map(|f| (f, ratio(f))).min_by(|p, q| p.1.total_cmp(&q.1)) else { return };
        for (factor, x) in x.iter_mut().enumerate().take(self.rank) {
            if self.passive[factor] {
                *x += step * (self.trial[factor] - *x);
                if factor == first || *x <= 0.0 {
                    *x = 0.0;
                    self.passive[factor] = false;
                }
            }
        }
    }

    /// The solution with the factors that are not passive at 0, in `trial`; false when it is not determined.
    fn solve_passive(&mut self, a: &[f64], stride: usize, b: &[f64]) -> bool {
        self.places.clear();
        self.places.extend((0..self.rank).filter(|f| self.passive[*f]));
        let size = self.places.len();
        let triangle = &mut self.triangle;
        for i in 0..size {
            for j in 0..=i {
                let known: f64 = (0..j).map(|k| triangle[i * size + k] * triangle[j * size + k]).sum();
                let whole = a[self.places[i] * stride + self.places[j]];
                let left = whole - known;
                if i == j {
                    if left.is_nan() || left <= TOLERANCE * whole {
                        return false;
                    }
                    triangle[i * size + i] = left.sqrt();
                } else {
                    triangle[i * size + j] = left / triangle[j * size + j];
                }
            }
        }
        self.trial.fill(0.0);
        let mut z = vec![0.0; size];
        for i in 0..size {
            let known: f64 = (0..i).map(|k| triangle[i * size + k] * z[k]).sum();
            z[i] = (b[self.places[i]] - known) / triangle[i * size + i];
        }
        for i in (0..size).rev() {
            let known: f64 = (i + 1..size).map(|k| triangle[k * size + i] * z[k]).sum();
            z[i] = (z[i] - known) / triangle[i * size + i];
            self.trial[self.places[i]] = z[i];
        }
        true
    }
}
