//! The path that every processor has: eight lanes of plain Rust, which the compiler turns into what the target offers.

use super::{Byte, Operation, Simd};

/// The token of the portable path. Nothing needs to be proven to hold it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Portable;

impl Simd for Portable {
    type F32 = [f32; 8];
    const LANES: usize = 8;

    #[inline(always)]
    fn zero(self) -> Self::F32 {
        [0.0; 8]
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Self::F32 {
        [value; 8]
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Self::F32 {
        // SAFETY: the caller vouches for eight readable values; arrays of f32 need no more than their alignment,
        // and `read_unaligned` not even that.
        unsafe { from.cast::<[f32; 8]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn load_partial(self, from: *const f32, count: usize) -> Self::F32 {
        let mut lanes = [0.0; 8];
        for (i, lane) in lanes.iter_mut().enumerate().take(count) {
            // SAFETY: the caller vouches for `count` readable values.
            *lane = unsafe { from.add(i).read_unaligned() };
        }
        lanes
    }

    #[inline(always)]
    unsafe fn load_half(self, from: *const u16) -> Self::F32 {
        // SAFETY: the caller vouches for eight readable values.
        unsafe { from.cast::<[u16; 8]>().read_unaligned() }.map(single)
    }

    #[inline(always)]
    unsafe fn load_i32(self, from: *const i32) -> Self::F32 {
        // SAFETY: the caller vouches for eight readable values.
        unsafe { from.cast::<[i32; 8]>().read_unaligned() }.map(|value| value as f32)
    }

    #[inline(always)]
    unsafe fn load_upper(self, from: *const u32) -> Self::F32 {
        // SAFETY: the caller vouches for eight readable values.
        unsafe { from.cast::<[u32; 8]>().read_unaligned() }.map(|word| f32::from_bits(word & 0xFFFF_0000))
    }

    #[inline(always)]
    unsafe fn load_lower(self, from: *const u32) -> Self::F32 {
        // SAFETY: the caller vouches for eight readable values.
        unsafe { from.cast::<[u32; 8]>().read_unaligned() }.map(|word| f32::from_bits(word << 16))
    }

    #[inline(always)]
    unsafe fn store(self, value: Self::F32, to: *mut f32) {
        // SAFETY: the caller vouches for eight writable values.
        unsafe { to.cast::<[f32; 8]>().write_unaligned(value) }
    }

    #[inline(always)]
    fn add(self, mut a: Self::F32, b: Self::F32) -> Self::F32 {
        for i in 0..8 {
            a[i] += b[i];
        }
        a
    }

    #[inline(always)]
    fn sub(self, mut a: Self::F32, b: Self::F32) -> Self::F32 {
        for i in 0..8 {
            a[i] -= b[i];
        }
        a
    }

    #[inline(always)]
    fn abs(self, a: Self::F32) -> Self::F32 {
        a.map(f32::abs)
    }

    #[inline(always)]
    fn mul_add(self, a: Self::F32, b: Self::F32, mut c: Self::F32) -> Self::F32 {
        // Two roundings: a fused one would be a call into libm on targets without the instruction.
        for i in 0..8 {
            c[i] += a[i] * b[i];
        }
        c
    }

    #[inline(always)]
    fn sum(self, a: Self::F32) -> f32 {
        ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]))
    }

    #[inline(always)]
    fn not_below(self, a: Self::F32, b: Self::F32) -> u32 {
        let mut mask = 0;
        for i in 0..8 {
            mask |= u32::from(!matches!(a[i].partial_cmp(&b[i]), Some(std::cmp::Ordering::Less))) << i;
        }
        mask
    }

    type Codes = [u8; 64];
    type Pairs = [i32; 16];
    type Sums = [i32; 16];
    type Words = [u16; 64];
    const PAIR_LIMIT: i32 = i32::MAX;

    #[inline(always)]
    fn no_pairs(self) -> [i32; 16] {
        [0; 16]
    }

    #[inline(always)]
    fn sums_of(self, value: i32) -> [i32; 16] {
        [value; 16]
    }

    #[inline(always)]
    unsafe fn load_codes(self, from: *const u8) -> [u8; 64] {
        // SAFETY: the caller vouches for 64 readable bytes.
        unsafe { from.cast::<[u8; 64]>().read() }
    }

    #[inline(always)]
    fn digits(self, codes: [u8; 64], shift: u32, mask: u8) -> [u8; 64] {
        codes.map(|code| (code >> shift) & mask)
    }

    #[inline(always)]
    fn join(self, high: [u8; 64], shift: u32, mut low: [u8; 64]) -> [u8; 64] {
        for i in 0..64 {
            low[i] |= high[i] << shift;
        }
        low
    }

    #[inline(always)]
    fn repeat(self, bytes: &[u8; 16]) -> [u8; 64] {
        std::array::from_fn(|i| bytes[i % 16])
    }

    #[inline(always)]
    fn look_up(self, tables: [u8; 64], mut codes: [u8; 64]) -> [u8; 64] {
        for i in 0..64 {
            codes[i] = tables[i / 16 * 16 + usize::from(codes[i] & 15)];
        }
        codes
    }

    #[inline(always)]
    fn add_bytes(self, mut a: [u8; 64], b: [u8; 64]) -> [u8; 64] {
        for i in 0..64 {
            a[i] = a[i].wrapping_add(b[i]);
        }
        a
    }

    #[inline(always)]
    unsafe fn multiply_signed(self, mut sums: [i32; 16], bytes: [u8; 64], query: *const i8) -> [i32; 16] {
        // SAFETY: the caller vouches for 64 readable values.
        let query = unsafe { query.cast::<[i8; 64]>().read() };
        for i in 0..64 {
            sums[i / 4] += i32::from(bytes[i].cast_signed()) * i32::from(query[i]);
        }
        sums
    }

    #[inline(always)]
    fn multiply_bytes<Q: Byte, R: Byte>(self, mut sums: [i32; 16], query: [u8; 64], row: [u8; 64]) -> [i32; 16] {
        for part in 0..4 {
            for i in 0..16 {
                let product = number::<Q>(query[16 * part + i]) * number::<R>(row[16 * part + i]);
                sums[i] = sums[i].wrapping_add(product);
            }
        }
        sums
    }

    #[inline(always)]
    fn no_words(self) -> [u16; 64] {
        [0; 64]
    }

    #[inline(always)]
    fn add_to_words(self, mut words: [u16; 64], bytes: [u8; 64]) -> [u16; 64] {
        for i in 0..64 {
            words[i] = words[i].wrapping_add(u16::from(bytes[i]));
        }
        words
    }

    #[inline(always)]
    fn fold_words(self, sums: [i32; 16], words: [u16; 64]) -> [i32; 16] {
        std::array::from_fn(|i| sums[i] + (0..4).map(|part| i32::from(words[16 * part + i])).sum::<i32>())
    }

    #[inline(always)]
    unsafe fn multiply(self, mut pairs: [i32; 16], codes: [u8; 64], query: *const i8) -> [i32; 16] {
        // SAFETY: the caller vouches for four readable values.
        let query = unsafe { query.cast::<[i8; 4]>().read() };
        for row in 0..16 {
            for i in 0..4 {
                pairs[row] += i32::from(codes[4 * row + i]) * i32::from(query[i]);
            }
        }
        pairs
    }

    #[inline(always)]
    fn multiply_each(self, pairs: [i32; 16], codes: [u8; 64], query: [u8; 64]) -> [i32; 16] {
        self.multiply_bytes::<i8, i8>(pairs, query, codes)
    }

    #[inline(always)]
    fn widen(self, mut sums: [i32; 16], pairs: [i32; 16]) -> [i32; 16] {
        for row in 0..16 {
            sums[row] += pairs[row];
        }
        sums
    }

    #[inline(always)]
    fn twice_less(self, sums: [i32; 16], less: i32) -> [i32; 16] {
        sums.map(|sum| sum.wrapping_mul(2).wrapping_sub(less))
    }

    #[inline(always)]
    fn to_rows(self, sums: [i32; 16]) -> [i32; 16] {
        sums
    }

    #[inline(always)]
    fn vectorize<O: Operation>(self, operation: O) -> O::Output {
        // A function of its own, as at the other levels: compiled once for each operation, not into everything that dispatches one.
        #[inline(never)]
        fn enter<O: Operation>(operation: O) -> O::Output {
            operation.run(Portable)
        }
        enter(operation)
    }
}

/// The number that a byte is.
#[inline(always)]
fn number<B: Byte>(byte: u8) -> i32 {
    if B::SIGNED { i32::from(byte.cast_signed()) } else { i32::from(byte) }
}

/// What the exponent of an f32 is larger by than that of the same value in half precision, in place.
const REBIAS: u32 = (127 - 15) << 23;
/// 2^-14, the smallest half with all its bits, as an f32.
const SMALLEST_NORMAL: u32 = (127 - 14) << 23;
/// The first half that is no number, moved to where the fraction of an f32 ends.
const BEYOND: u32 = 0x7c00 << 13;

/// The value of a half, in integers and in one float operation that is exact; none of them reads or makes an f32 in the denormal range, so that
/// no setting of the processor changes a bit.
#[inline(always)]
pub(super) fn single(half: u16) -> f32 {
    let sign = (u32::from(half) & 0x8000) << 16;
    let magnitude = (u32::from(half) & 0x7fff) << 13;
    // Of a small half the fraction is moved up behind a leading one, and that is taken off again.
    let small = (f32::from_bits(magnitude + SMALLEST_NORMAL) - f32::from_bits(SMALLEST_NORMAL)).to_bits();
    let normal = magnitude + REBIAS;
    // Infinity, or a NaN, which is made quiet.
    let beyond = (magnitude + 2 * REBIAS) | if magnitude > BEYOND { 1 << 22 } else { 0 };
    let number = if magnitude < 1 << 23 { small } else { normal };
    f32::from_bits(sign | if magnitude < BEYOND { number } else { beyond })
}
