//! The number of bits that differ.
//!
//! Whole numbers, so there is nothing to round: the fast kernel and the canonical one are the same. Plain Rust, of which the
//! compiler makes the instructions that a level has for counting bits; the shapes of the loops are those that it does that well
//! for. (Rows side by side, several at once, are not among them: with 1,024 bits that took three times as long as one by one.)

/// The queries of a panel of bits.
pub(crate) const BIT_LANES: usize = 64;

/// A panel of bits: word 0 of every query, word 1 of every query, ...
pub(crate) type BitPanel = [[u64; BIT_LANES]];

/// The number of bits in which the two differ. Both must have the same length.
#[inline(always)]
pub(crate) fn hamming(a: &[u64], b: &[u64]) -> u32 {
    let (a_blocks, a_rest) = a.as_chunks::<8>();
    let (b_blocks, b_rest) = b.as_chunks::<8>();
    let mut bits = 0;
    for (x, y) in a_blocks.iter().zip(b_blocks) {
        for i in 0..8 {
            bits += (x[i] ^ y[i]).count_ones();
        }
    }
    for (x, y) in a_rest.iter().zip(b_rest) {
        bits += (x ^ y).count_ones();
    }
    bits
}

/// Writes the words of `query` into lane `lane` of a panel.
pub(crate) fn pack_bits(query: &[u64], lane: usize, panel: &mut BitPanel) {
    for (lanes, &word) in panel.iter_mut().zip(query) {
        lanes[lane] = word;
    }
}

/// The number of bits in which `row` differs from each query of a panel that has as many words. A word of the row, once read,
/// meets all queries; four words at a time, so that the counts are not read and written for each.
#[inline(always)]
pub(crate) fn hamming_panel(row: &[u64], panel: &BitPanel) -> [u64; BIT_LANES] {
    let mut bits = [0; BIT_LANES];
    let (row_blocks, row_rest) = row.as_chunks::<4>();
    let (blocks, rest) = panel.as_chunks::<4>();
    for ([a, b, c, d], [p, q, r, s]) in row_blocks.iter().zip(blocks) {
        for i in 0..BIT_LANES {
            let (low, high) = ((a ^ p[i]).count_ones() + (b ^ q[i]).count_ones(), (c ^ r[i]).count_ones());
            bits[i] += u64::from(low + high + (d ^ s[i]).count_ones());
        }
    }
    for (a, p) in row_rest.iter().zip(rest) {
        for i in 0..BIT_LANES {
            bits[i] += u64::from((a ^ p[i]).count_ones());
        }
    }
    bits
}
