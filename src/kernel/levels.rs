//! The inner product of all levels of one row with a quantized query.
//!
//! A digit of b bits is kept as bit planes of a row: for every eight dimensions a byte of the highest bit, the sign; then *pieces* of
//! one, two or four bits, each in as many bytes as it has bits. All planes are read in the same order, so that what belongs
//! to one digit meets in one lane: the query lies in that order too, byte after byte of the sign plane for the first of eight
//! dimensions, then for the second, and so on.

use crate::simd::Simd;

/// Bytes of a plane that are read at once.
pub(crate) const PLANE_LINE: usize = 64;

/// The pieces below the sign: those that make the upper four bits with it, then the others.
pub(crate) fn pieces(bits: u32) -> (&'static [u32], &'static [u32]) {
    match bits {
        1 => (&[], &[]),
        2 => (&[1], &[]),
        3 => (&[2], &[]),
        4 => (&[2, 1], &[]),
        5 => (&[2, 1], &[1]),
        6 => (&[2, 1], &[2]),
        7 => (&[2, 1], &[2, 1]),
        _ => (&[2, 1], &[4]),
    }
}

/// Where the level of a digit comes from.
#[derive(Clone, Copy)]
pub(crate) enum Levels<'a> {
    /// Twice the digit less the most that it can be; the sum of the query's values goes with it.
    Even(i32),
    /// A table of the levels of digits of up to four bits.
    Table(&'a [i8; 16]),
}

/// Packs the planes of a row below the sign: `digits` of `bits` bits, a multiple of eight of them.
pub(crate) fn pack_planes(bits: u32, digits: &[u8], planes: &mut [u8]) {
    let (upper, lower) = pieces(bits);
    let (mut below, mut planes) = (bits - 1, planes.chunks_exact_mut(digits.len() / 8));
    for &piece in upper.iter().chain(lower) {
        below -= piece;
        let per_byte = 8 / piece as usize;
        for (part, plane) in (0..piece as usize).zip(planes.by_ref()) {
            for (byte, eight) in plane.iter_mut().zip(digits.as_chunks::<8>().0) {
                let mut packed = 0;
                for i in 0..per_byte {
                    let digit = eight[part * per_byte + i] >> below & ((1 << piece) - 1);
                    packed |= digit << (i as u32 * piece);
                }
                *byte = packed;
            }
        }
    }
}

/// Packs signs, the highest bits of `digits`, eight to a byte.
pub(crate) fn pack_signs(bits: u32, digits: &[u8]) -> impl Iterator<Item = u8> {
    digits.as_chunks::<8>().0.iter().map(move |eight| {
        let mut byte = 0;
        for (i, digit) in eight.iter().enumerate() {
            byte |= (digit >> (bits - 1)) << i;
        }
        byte
    })
}

/// Reads the digits from `planes`, each `stride` bytes long, signs first.
pub(crate) fn unpack_planes(bits: u32, planes: &[u8], stride: usize, digits: &mut [u8]) {
    let (upper, lower) = pieces(bits);
    for (i, digit) in digits.iter_mut().enumerate() {
        let mut plane = 1;
        *digit = planes[i / 8] >> (i % 8) & 1;
        for &piece in upper.iter().chain(lower) {
            let per_byte = 8 / piece as usize;
            let byte = planes[(plane + i % 8 / per_byte) * stride + i / 8];
            *digit = *digit << piece | byte >> (i % per_byte * piece as usize) & ((1 << piece) - 1);
            plane += piece as usize;
        }
    }
}

/// A query in the order of the planes, padded with zeros to whole lines.
pub(crate) fn order_query(query: &[i8]) -> Vec<i8> {
    let bytes = (query.len() / 8).next_multiple_of(PLANE_LINE);
    let mut ordered = vec![0; 8 * bytes];
    for (i, &value) in query.iter().enumerate() {
        let (byte, bit) = (i / 8, i % 8);
        ordered[byte / PLANE_LINE * 8 * PLANE_LINE + bit * PLANE_LINE + byte % PLANE_LINE] = value;
    }
    ordered
}

/// The inner product of the levels of a row with a query in the order of planes. `planes` holds the signs and all pieces, each in
/// `stride` bytes, a multiple of [`PLANE_LINE`].
#[inline(always)]
pub(crate) fn level_product<S: Simd>(
    simd: S,
    bits: u32,
    planes: &[u8],
    stride: usize,
    query: &[i8],
    levels: Levels<'_>,
) -> i64 {
    let (upper, lower) = pieces(bits);
    assert!(stride.is_multiple_of(PLANE_LINE) && planes.len() >= bits as usize * stride && query.len() >= 8 * stride);
    let mut sums = [simd.no_sums(); 2];
    for line in (0..stride).step_by(PLANE_LINE) {
        for bit in 0..8 {
            // SAFETY: line + 64 <= stride, and the query has eight values for every byte of a plane.
            let query = unsafe { query.as_ptr().add(8 * line + bit * PLANE_LINE) };
            let signs = digits(simd, &planes[line..], stride, (0, 1), bit);
            let (mut high, mut plane) = (signs, 1);
            for &piece in upper {
                high = simd.join(high, piece, digits(simd, &planes[line..], stride, (plane, piece), bit));
                plane += piece as usize;
            }
            if let Levels::Table(table) = levels {
                high = simd.look_up(simd.repeat(bytemuck::cast_ref(table)), high);
            }
            // SAFETY: 64 values follow; no digit of four bits and no level is below -127.
            sums[0] = unsafe { simd.multiply_signed(sums[0], high, query) };
            let Some((&first, rest)) = lower.split_first() else { continue };
            let mut low = digits(simd, &planes[line..], stride, (plane, first), bit);
            plane += first as usize;
            for &piece in rest {
                low = simd.join(low, piece, digits(simd, &planes[line..], stride, (plane, piece), bit));
                plane += piece as usize;
            }
            // SAFETY: as above.
            sums[1] = unsafe { simd.multiply_signed(sums[1], low, query) };
        }
    }
    let [high, low] = sums.map(|sums| simd.to_rows(sums).iter().map(|&sum| i64::from(sum)).sum::<i64>());
    match levels {
        Levels::Table(_) => high,
        Levels::Even(query_sum) => {
            let digit = (high << bits.saturating_sub(4)) + low;
            2 * digit - ((1 << bits) - 1) * i64::from(query_sum)
        }
    }
}

/// The piece of `piece` bits that begins with plane `plane`, of every eighth dimension from `bit` on.
#[inline(always)]
fn digits<S: Simd>(simd: S, planes: &[u8], stride: usize, (plane, piece): (usize, u32), bit: usize) -> S::Codes {
    let per_byte = 8 / piece as usize;
    let from = &planes[(plane + bit / per_byte) * stride..][..PLANE_LINE];
    // SAFETY: the slice has 64 bytes.
    let line = unsafe { simd.load_codes(from.as_ptr()) };
    simd.digits(line, (bit % per_byte) as u32 * piece, (1 << piece) - 1)
}
