//! XXH64 as Spark's `xxhash64` uses it: each value is hashed with the hash of the values before it as the seed.

/// The seed of the first value in Spark's `xxhash64`.
pub const SPARK_SEED: u64 = 42;

const PRIME_1: u64 = 0x9E37_79B1_85EB_CA87;
const PRIME_2: u64 = 0xC2B2_AE3D_27D4_EB4F;
const PRIME_3: u64 = 0x1656_67B1_9E37_79F9;
const PRIME_4: u64 = 0x85EB_CA77_C2B2_AE63;
const PRIME_5: u64 = 0x27D4_EB2F_1656_67C5;

/// XXH64 of the four bytes of `value` (little endian).
#[inline]
pub fn hash_u32(value: u32, seed: u64) -> u64 {
    let hash = seed.wrapping_add(PRIME_5).wrapping_add(4);
    avalanche(mix_4(hash, value))
}

/// XXH64 of the eight bytes of `value` (little endian).
#[inline]
pub fn hash_u64(value: u64, seed: u64) -> u64 {
    let hash = seed.wrapping_add(PRIME_5).wrapping_add(8);
    avalanche(mix_8(hash, value))
}

/// XXH64 of any number of bytes.
#[inline]
pub fn hash_bytes(bytes: &[u8], seed: u64) -> u64 {
    let (mut hash, mut rest) = if bytes.len() >= 32 { hash_stripes(bytes, seed) } else { (seed.wrapping_add(PRIME_5), bytes) };
    hash = hash.wrapping_add(bytes.len() as u64);
    while let Some((chunk, after)) = rest.split_first_chunk::<8>() {
        hash = mix_8(hash, u64::from_le_bytes(*chunk));
        rest = after;
    }
    if let Some((chunk, after)) = rest.split_first_chunk::<4>() {
        hash = mix_4(hash, u32::from_le_bytes(*chunk));
        rest = after;
    }
    for byte in rest {
        hash = (hash ^ u64::from(*byte).wrapping_mul(PRIME_5)).rotate_left(11).wrapping_mul(PRIME_1);
    }
    avalanche(hash)
}

/// The whole 32-byte stripes of `bytes`: the hash so far and what is left.
fn hash_stripes(bytes: &[u8], seed: u64) -> (u64, &[u8]) {
    let mut lanes = [seed.wrapping_add(PRIME_1).wrapping_add(PRIME_2), seed.wrapping_add(PRIME_2), seed, seed.wrapping_sub(PRIME_1)];
    let mut rest = bytes;
    while let Some((stripe, after)) = rest.split_first_chunk::<32>() {
        let (words, _) = stripe.as_chunks::<8>();
        for (lane, word) in lanes.iter_mut().zip(words) {
            *lane = round(*lane, u64::from_le_bytes(*word));
        }
        rest = after;
    }
    let mut hash = lanes[0]
        .rotate_left(1)
        .wrapping_add(lanes[1].rotate_left(7))
        .wrapping_add(lanes[2].rotate_left(12))
        .wrapping_add(lanes[3].rotate_left(18));
    for lane in lanes {
        hash = (hash ^ round(0, lane)).wrapping_mul(PRIME_1).wrapping_add(PRIME_4);
    }
    (hash, rest)
}

#[inline]
fn round(lane: u64, word: u64) -> u64 {
    lane.wrapping_add(word.wrapping_mul(PRIME_2)).rotate_left(31).wrapping_mul(PRIME_1)
}

#[inline]
fn mix_8(hash: u64, word: u64) -> u64 {
    (hash ^ round(0, word)).rotate_left(27).wrapping_mul(PRIME_1).wrapping_add(PRIME_4)
}

#[inline]
fn mix_4(hash: u64, word: u32) -> u64 {
    (hash ^ u64::from(word).wrapping_mul(PRIME_1)).rotate_left(23).wrapping_mul(PRIME_2).wrapping_add(PRIME_3)
}

#[inline]
fn avalanche(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 33)).wrapping_mul(PRIME_2);
    hash = (hash ^ (hash >> 29)).wrapping_mul(PRIME_3);
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_test_vectors() {
        assert_eq!(hash_bytes(b"", 0), 0xEF46_DB37_51D8_E999);
        assert_eq!(hash_bytes(b"a", 0), 0xD24E_C4F1_A98C_6E5B);
        assert_eq!(hash_bytes(b"abc", 0), 0x44BC_2CF5_AD77_0999);
        assert_eq!(hash_bytes(b"Nobody inspects the spammish repetition", 0), 0xFBCE_A83C_8A37_8BF1);
    }

    #[test]
    fn fixed_widths_equal_the_bytes() {
        for value in [0u64, 1, 42, u64::MAX, 0x0123_4567_89AB_CDEF] {
            for seed in [0, SPARK_SEED, u64::MAX] {
                assert_eq!(hash_u64(value, seed), hash_bytes(&value.to_le_bytes(), seed));
                assert_eq!(hash_u32(value as u32, seed), hash_bytes(&(value as u32).to_le_bytes(), seed));
            }
        }
    }
}
