//! Random numbers that are the same everywhere: keyed streams, a hash and a permutation.
//!
//! All of it is a few lines of integer arithmetic, written out here so that no version of a library can change the generated data. It is good
//! enough to draw samples with; it is not for secrets.

/// The step between the states of a stream: odd, with its bits well spread (2⁶⁴ divided by the golden ratio).
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Scrambles a word; neighbouring inputs give unrelated outputs.
pub(crate) fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// A hash of a seed, a purpose (so that two uses of one number are unrelated) and a number.
pub(crate) fn hash(seed: u64, purpose: u64, number: u64) -> u64 {
    mix(mix(seed.wrapping_add(purpose.wrapping_mul(STEP))).wrapping_add(number.wrapping_mul(0xd1b5_4a32_d192_ed03)))
}

/// A word as a number in [0, 1).
pub(crate) fn unit(word: u64) -> f64 {
    (word >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

/// `word` scaled to 0..`bound`. The bias is below `bound` / 2³², which no marginal can show.
pub(crate) fn scaled(word: u32, bound: u32) -> u32 {
    ((u64::from(word) * u64::from(bound)) >> 32) as u32
}

/// One of many unrelated streams of random numbers of a seed: SplitMix64, a counter that is scrambled.
pub(crate) struct Stream {
    state: u64,
}

impl Stream {
    /// The stream with this number.
    pub fn new(seed: u64, number: u64) -> Self {
        Stream { state: hash(seed, 1, number) }
    }

    /// 32 random bits.
    pub fn word(&mut self) -> u32 {
        (self.long() >> 32) as u32
    }

    /// 64 random bits.
    pub fn long(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        mix(self.state)
    }

    /// A number in [0, 1).
    pub fn unit(&mut self) -> f64 {
        unit(self.long())
    }

    /// About normal, with mean 0 and deviation 1, from additions only.
    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }

    /// A number in 0..`bound`; 0 for an empty range.
    pub fn below(&mut self, bound: u32) -> u32 {
        scaled(self.word(), bound)
    }

    /// True in `parts` of 1000 cases.
    pub fn chance(&mut self, parts: u32) -> bool {
        self.below(1000) < parts
    }

    /// Puts the items into random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u32 + 1) as usize);
        }
    }
}

/// A pseudo-random permutation of 0..`size` in constant memory: a four-round Feistel network over the next power of two, walked along its
/// cycles until it falls inside the range.
#[derive(Debug, Clone)]
pub(crate) struct Permutation {
    size: u64,
    low_bits: u32,
    high_bits: u32,
    keys: [u64; 4],
}

impl Permutation {
    /// The permutation of 0..`size` that belongs to a seed and a purpose.
    pub fn new(size: u64, seed: u64, purpose: u64) -> Self {
        let bits = (64 - size.saturating_sub(1).leading_zeros()).max(2);
        let mut keys = [0u64; 4];
        for (round, key) in keys.iter_mut().enumerate() {
            *key = hash(seed, purpose, round as u64);
        }
        Permutation { size, low_bits: bits / 2, high_bits: bits - bits / 2, keys }
    }

    /// Where `position` (below the size) goes.
    pub fn apply(&self, position: u64) -> u64 {
        debug_assert!(position < self.size);
        let mut value = position;
        loop {
            value = self.scramble(value);
            if value < self.size {
                return value;
            }
        }
    }

    /// One pass of the network. The halves may differ by a bit: each round changes one half by a hash of the other, which stays invertible.
    fn scramble(&self, value: u64) -> u64 {
        let low_mask = (1u64 << self.low_bits) - 1;
        let high_mask = (1u64 << self.high_bits) - 1;
        let mut low = value & low_mask;
        let mut high = value >> self.low_bits;
        for pair in self.keys.chunks_exact(2) {
            low ^= mix(high ^ pair[0]) & low_mask;
            high ^= mix(low ^ pair[1]) & high_mask;
        }
        (high << self.low_bits) | low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permutation_reaches_every_number_once() {
        for size in [1u64, 2, 3, 5, 64, 65, 1000, 4097] {
            let permutation = Permutation::new(size, 7, 3);
            let mut reached: Vec<u64> = (0..size).map(|position| permutation.apply(position)).collect();
            reached.sort_unstable();
            assert_eq!(reached, (0..size).collect::<Vec<_>>(), "size {size}");
        }
    }

    #[test]
    fn streams_repeat_and_differ() {
        let words = |seed, number| {
            let mut stream = Stream::new(seed, number);
            (0..8).map(|_| stream.word()).collect::<Vec<_>>()
        };
        assert_eq!(words(1, 2), words(1, 2));
        assert_ne!(words(1, 2), words(1, 3));
        assert_ne!(words(1, 2), words(2, 2));
    }

    #[test]
    fn the_words_of_a_stream_are_pinned() {
        // A change here changes every generated data set: it must be meant.
        let mut stream = Stream::new(42, 0);
        assert_eq!(stream.word(), PINNED_WORD);
    }

    const PINNED_WORD: u32 = 3_315_957_377;
}
