//! The kernels on bytes, signed and unsigned, and on halves, at every level that this machine has: nothing is rounded, so that every answer must be exact.

use super::suite::Numbers;
use super::{byte_dots, read_halves, reference};
use crate::simd::{Byte, Level, Operation, Simd, dispatch_at};

/// Below, at and beyond the ends of registers, of sixteen, of 32 and of 64 bytes; and as long as rows can be.
const DIMS: [usize; 19] = [1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 384, 1029, 1536, 65_534, 65_535];

/// What rows of bytes look like: drawn, nothing, and as large as they can be, of one sign or of both.
trait Cases: Byte + Into<i64> + Send {
    const CASES: [fn(&mut Numbers, usize) -> Self; 5];
}

impl Cases for i8 {
    const CASES: [fn(&mut Numbers, usize) -> i8; 5] = [
        |numbers, _| ((numbers.bits() % 255) as i16 - 127) as i8,
        |_, _| 0,
        |_, _| 127,
        |_, _| -127,
        |_, i| if i % 2 == 0 { 127 } else { -127 },
    ];
}

impl Cases for u8 {
    const CASES: [fn(&mut Numbers, usize) -> u8; 5] = [
        |numbers, _| numbers.bits() as u8,
        |_, _| 0,
        |_, _| 255,
        |_, _| 128,
        |_, i| if i % 2 == 0 { 255 } else { 127 },
    ];
}

/// A query against the first of some rows, the other way round, and against all of them at once, whether its sum is known or not.
struct Products<'a, Q, R>(&'a [Q], [&'a [R]; 4]);

impl<Q: Byte + Into<i64>, R: Byte> Operation for Products<'_, Q, R> {
    type Output = ([[i64; 1]; 3], [[i64; 4]; 2]);

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Self::Output {
        let Products(query, rows) = self;
        let (first, all) = (rows[0].as_ptr(), rows.map(<[R]>::as_ptr));
        let sum = Some(query.iter().map(|&value| value.into()).sum::<i64>() as i32);
        // SAFETY: all are equally long.
        unsafe {
            let alone = [
                byte_dots::<S, Q, R, 1, 2>(simd, query, None, [first]),
                byte_dots::<S, Q, R, 1, 2>(simd, query, sum, [first]),
                byte_dots::<S, R, Q, 1, 2>(simd, rows[0], None, [query.as_ptr()]),
            ];
            let together = [None, sum].map(|sum| byte_dots::<S, Q, R, 4, 1>(simd, query, sum, all));
            (alone, together)
        }
    }
}

fn check<Q: Cases, R: Cases>() {
    let mut numbers = Numbers(29);
    for dim in DIMS {
        for (q, of_query) in Q::CASES.into_iter().enumerate() {
            // Longer than needed, so that each row can start where no register is aligned.
            let query: Vec<Q> = (0..dim + 1).map(|i| of_query(&mut numbers, i)).collect();
            let query = &query[1..];
            for first in 0..R::CASES.len() {
                let case = |row: usize| R::CASES[(first + row) % R::CASES.len()];
                let rows: [Vec<R>; 4] =
                    std::array::from_fn(|row| (0..dim + 3).map(|i| case(row)(&mut numbers, i)).collect());
                let rows: [&[R]; 4] = std::array::from_fn(|row| &rows[row][row..row + dim]);
                let truth = rows.map(|row| reference::byte_dot(query, row));
                for level in Level::available() {
                    let found = dispatch_at(level, Products(query, rows));
                    let expected = ([[truth[0]]; 3], [truth; 2]);
                    assert_eq!(found, expected, "dim {dim}, query {q}, rows {first}, {}", level.name());
                }
            }
        }
    }
}

#[test]
fn products_of_bytes_are_exact_whatever_their_signs() {
    check::<i8, i8>();
    check::<i8, u8>();
    check::<u8, i8>();
    check::<u8, u8>();
}

struct Halves<'a>(&'a [u16]);

impl Operation for Halves<'_> {
    type Output = Vec<u32>;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Vec<u32> {
        // After a byte that belongs to nobody: no alignment is promised.
        let bytes: Vec<u8> = [0].into_iter().chain(self.0.iter().flat_map(|half| half.to_le_bytes())).collect();
        let mut values = vec![0.0f32; self.0.len()];
        read_halves(simd, bytes[1..].as_chunks().0, &mut values);
        values.into_iter().map(f32::to_bits).collect()
    }
}

/// Sign, exponent and fraction by their definition.
fn defined(half: u16) -> u32 {
    let (sign, fraction) = (u32::from(half >> 15) << 31, u32::from(half & 0x3ff));
    let magnitude = match half >> 10 & 0x1f {
        0 => (fraction as f32 * 2f32.powi(-24)).to_bits(),
        0x1f if fraction == 0 => f32::INFINITY.to_bits(),
        0x1f => f32::INFINITY.to_bits() | 1 << 22 | fraction << 13,
        exponent => ((1024 + fraction) as f32 * 2f32.powi(i32::from(exponent) - 25)).to_bits(),
    };
    sign | magnitude
}

#[test]
fn every_half_has_the_same_bits_at_every_level() {
    let halves: Vec<u16> = (0..=u16::MAX).collect();
    let expected: Vec<u32> = halves.iter().map(|&half| defined(half)).collect();
    for level in Level::available() {
        // Some short of whole registers.
        for count in (0..40).chain([65_536]) {
            let found = dispatch_at(level, Halves(&halves[65_536 - count..]));
            for (half, (found, expected)) in
                halves[65_536 - count..].iter().zip(found.iter().zip(&expected[65_536 - count..]))
            {
                assert_eq!(found, expected, "{half:#06x} of {count} at {}", level.name());
            }
        }
    }
}
