//! The oracle: the definitions, in f64, one addition after another.

/// `sum(a[i] * b[i])`.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum()
}

/// `sum((a[i] - b[i])^2)`.
pub(crate) fn squared_l2(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&x, &y)| (f64::from(x) - f64::from(y)).powi(2)).sum()
}

/// `sum(digits[i] * query[i])`.
pub(crate) fn code_product(digits: &[u8], query: &[i8]) -> i64 {
    digits.iter().zip(query).map(|(&digit, &value)| i64::from(digit) * i64::from(value)).sum()
}

/// `sum(a[i] * b[i])`.
pub(crate) fn byte_dot<A: Copy + Into<i64>, B: Copy + Into<i64>>(a: &[A], b: &[B]) -> i64 {
    a.iter().zip(b).map(|(&x, &y)| x.into() * y.into()).sum()
}

/// The length of a vector.
pub(crate) fn norm(a: &[f32]) -> f64 {
    dot(a, a).sqrt()
}

/// `sum(|a[i] - b[i]|)`.
pub(crate) fn l1(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&x, &y)| (f64::from(x) - f64::from(y)).abs()).sum()
}

/// The number of positions at which the bits differ, bit by bit.
pub(crate) fn hamming(a: &[u64], b: &[u64]) -> u32 {
    let bit = |words: &[u64], i: usize| words[i / 64] >> (i % 64) & 1;
    (0..64 * a.len()).map(|i| u32::from(bit(a, i) != bit(b, i))).sum()
}
