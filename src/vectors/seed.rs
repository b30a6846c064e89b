//! Random bits that are a function of a seed and a position, the same everywhere.

/// Number `i` of the stream that `seed` names: SplitMix64 (Steele, Lea and Flood, Fast splittable pseudorandom number
/// generators, 2014).
pub(crate) fn random_bits(seed: u64, i: u64) -> u64 {
    let mut z = seed.wrapping_add((i + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
