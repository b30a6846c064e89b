//! Two numbers in one word, as bf16: what codes keep of a row, or of a link, where eight significant bits are enough.

/// The bf16 that is nearest to a number; ties away from zero.
pub(super) fn nearest_bf16(value: f32) -> u16 {
    (value.to_bits().saturating_add(0x8000) >> 16) as u16
}

/// The bf16 that is next above a number that is not negative.
pub(super) fn upper_bf16(value: f32) -> u16 {
    value.to_bits().div_ceil(1 << 16) as u16
}

/// Two bf16 in a word.
pub(super) fn pair(high: u16, low: u16) -> u32 {
    u32::from(high) << 16 | u32::from(low)
}

#[inline(always)]
pub(super) fn low_of_pair(pair: u32) -> f32 {
    f32::from_bits(pair << 16)
}

#[inline(always)]
pub(super) fn high_of_pair(pair: u32) -> f32 {
    f32::from_bits(pair & 0xFFFF_0000)
}
