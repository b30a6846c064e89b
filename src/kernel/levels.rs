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
pub(crate) const fn pieces(bits: u32) -> (&'static [u32], &'static [u32]) {
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
#[inline(always)]
pub(crate) fn pack_planes(bits: u32, digits: &[u8], planes: &mut [u8]) {
    let (upper, lower) = pieces(bits);
    let (mut below, mut planes) = (bits - 1, planes.chunks_exact_mut(digits.len() / 8));
    for &piece in upper.iter().chain(lower) {
        below -= piece;
        for (part, plane) in (0..piece).zip(planes.by_ref()) {
            for (byte, eight) in plane.iter_mut().zip(digits.as_chunks::<8>().0) {
                let fields = u64::from_le_bytes(*eight) >> below & (EVERY_BYTE * ((1 << piece) - 1));
                *byte = squeezed(fields >> (64 / piece * part), piece);
            }
        }
    }
}

/// Packs signs, the highest bits of `digits`, eight to a byte.
#[inline(always)]
pub(crate) fn pack_signs(bits: u32, digits: &[u8]) -> impl Iterator<Item = u8> {
    let digits = digits.as_chunks::<8>().0.iter();
    digits.map(move |eight| squeezed(u64::from_le_bytes(*eight) >> (bits - 1) & EVERY_BYTE, 1))
}

/// One in every byte.
const EVERY_BYTE: u64 = 0x0101_0101_0101_0101;

/// The lowest `piece` bits of the first bytes side by side, as many as fit a byte; all others are zero. A product adds copies shifted by one byte
/// less one piece more each: in its highest byte every field meets its place, and below it no two fields meet.
#[inline(always)]
fn squeezed(fields: u64, piece: u32) -> u8 {
    match piece {
        1 => (fields.wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8,
        2 => ((fields as u32).wrapping_mul(0x0104_1040) >> 24) as u8,
        _ => (fields | fields >> 4) as u8,
    }
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

/// The inner product of the levels of a row with a query in the order of planes. `signs` is a multiple of [`PLANE_LINE`] long; `tail` holds the other
/// planes one after another, none longer than that of the signs. What a line has beyond its plane meets zeros of the query.
#[inline(always)]
pub(crate) fn level_product<S: Simd>(
    simd: S,
    bits: u32,
    signs: &[u8],
    tail: &[u8],
    query: &[i8],
    levels: Levels<'_>,
) -> i64 {
    match bits {
        1 => product_of::<S, 1>(simd, signs, tail, query, levels),
        2 => product_of::<S, 2>(simd, signs, tail, query, levels),
        3 => product_of::<S, 3>(simd, signs, tail, query, levels),
        4 => product_of::<S, 4>(simd, signs, tail, query, levels),
        5 => product_of::<S, 5>(simd, signs, tail, query, levels),
        6 => product_of::<S, 6>(simd, signs, tail, query, levels),
        7 => product_of::<S, 7>(simd, signs, tail, query, levels),
        _ => product_of::<S, 8>(simd, signs, tail, query, levels),
    }
}

/// The same for a number of bits that is known, so that all shifts are.
#[inline(always)]
fn product_of<S: Simd, const BITS: u32>(simd: S, signs: &[u8], tail: &[u8], query: &[i8], levels: Levels<'_>) -> i64 {
    let (upper, lower) = const { pieces(BITS) };
    let planes = BITS as usize;
    let bytes = tail.len() / (planes - 1).max(1);
    assert!(signs.len().is_multiple_of(PLANE_LINE) && query.len() >= 8 * signs.len());
    let mut sums = [simd.sums_of(0); 2];
    let mut lines = [simd.repeat(&[0; 16]); 8];
    for line in (0..signs.len()).step_by(PLANE_LINE) {
        lines[0] = read_line(simd, signs, line);
        for (i, plane) in lines[1..planes].iter_mut().enumerate() {
            *plane = read_line(simd, tail, i * bytes + line);
        }
        for bit in 0..8 {
            // SAFETY: line + 64 <= signs.len(), and the query has eight values for every byte of a plane.
            let query = unsafe { query.as_ptr().add(8 * line + bit * PLANE_LINE) };
            let (mut high, mut plane) = (digits(simd, &lines, (0, 1), bit), 1);
            for &piece in upper {
                high = simd.join(high, piece, digits(simd, &lines, (plane, piece), bit));
                plane += piece as usize;
            }
            if let Levels::Table(table) = levels {
                high = simd.look_up(simd.repeat(bytemuck::cast_ref(table)), high);
            }
            // SAFETY: 64 values follow; no digit of four bits and no level is below -127.
            sums[0] = unsafe { simd.multiply_signed(sums[0], high, query) };
            let Some((&first, rest)) = lower.split_first() else { continue };
            let mut low = digits(simd, &lines, (plane, first), bit);
            plane += first as usize;
            for &piece in rest {
                low = simd.join(low, piece, digits(simd, &lines, (plane, piece), bit));
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
            let digit = (high << BITS.saturating_sub(4)) + low;
            2 * digit - ((1 << BITS) - 1) * i64::from(query_sum)
        }
    }
}

/// The line of 64 bytes at `at`, with zeros behind the end.
#[inline(always)]
fn read_line<S: Simd>(simd: S, bytes: &[u8], at: usize) -> S::Codes {
    let left = &bytes[at..];
    // SAFETY: as many bytes are left.
    unsafe {
        if left.len() >= PLANE_LINE {
            simd.load_codes(left.as_ptr())
        } else {
            simd.load_codes_partial(left.as_ptr(), left.len())
        }
    }
}

/// The piece of `piece` bits that begins with plane `plane`, of every eighth dimension from `bit` on.
#[inline(always)]
fn digits<S: Simd>(simd: S, lines: &[S::Codes; 8], (plane, piece): (usize, u32), bit: usize) -> S::Codes {
    let per_byte = 8 / piece as usize;
    simd.digits(lines[plane + bit / per_byte], (bit % per_byte) as u32 * piece, (1 << piece) - 1)
}
