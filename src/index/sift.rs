//! The scan behind a [sieve](super::sieve): some queries against some blocks.
//!
//! A scan compares the values of sixteen rows with a limit in registers, so it is as good as its limit. The first limit comes from a
//! *sample*: of the rows of some blocks from everywhere the best are looked at, and what they reach is a limit that few of the others pass.
//! From everywhere, since rows that came in together are often alike. Which are the best, the largest values of small sets
//! of rows tell well enough: nothing depends on it but the time.

use super::look::Look;
use super::sieve::{Group, Sieve, Sifted};
use crate::kernel::{BLOCK_ROWS, Weights, row_values, rows_not_below};
use crate::simd::{Operation, Simd};
use crate::vectors::{PlaneQuery, Purpose, Space, Task};
use std::ops::Range;

/// The streams of blocks that a lone query reads at once.
const STREAMS: usize = 4;
/// The blocks that a panel meets before the next: what it shows stays in the first-level cache meanwhile.
const TILE: usize = 16;
/// The sets of rows of a sample: a lane of every so many blocks each.
const SETS: usize = 16;
/// The sets tell which rows are best, if no more of them than this are asked for.
const MOST_SAMPLED: usize = 100;

/// One task, for the queries of a group.
pub(super) struct Step<'a> {
    pub(super) sieve: Sieve<'a>,
    pub(super) group: &'a Group<'a>,
    pub(super) part: Part,
}

/// What there is to do.
#[derive(Clone)]
pub(super) enum Part {
    /// To find limits in the sample.
    Sample,
    /// To meet these blocks, but for those of the sample.
    Blocks(Range<usize>),
    /// To look at what is left aside.
    Rest,
}

impl Task for Step<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, M: Space>(self, simd: S, space: M) {
        let mut look = Look::new(simd, space, &self.sieve);
        let mut results = if matches!(self.part, Part::Rest) { self.group.merged() } else { self.group.take() };
        let blocks = self.sieve.candidates(&self.part);
        let mut seen = Vec::new();
        match self.part {
            Part::Sample => {
                seen.resize_with(results.len(), || Seen::new(blocks.len()));
                self.scan(simd, &blocks, &mut results, Some(&mut seen));
            }
            _ => self.scan(simd, &blocks, &mut results, None),
        }
        for (q, (result, query)) in results.iter_mut().zip(self.group.queries).enumerate() {
            let coded = &self.group.coded[q];
            result.met += blocks.len() * BLOCK_ROWS;
            match self.part {
                Part::Sample => look.at_sample(query, coded, result, &seen[q], &blocks),
                Part::Blocks(_) => look.at_the_better(query, coded, result),
                Part::Rest => look.at_all(query, coded, result),
            }
            if look.is_hopeless(result) {
                result.give_up();
            } else if result.has_too_many_aside() {
                look.at_all(query, coded, result);
            }
        }
        self.group.give_back(results);
    }
}

/// What a query has seen of the blocks of a sample.
pub(super) struct Seen {
    /// Minus infinity for rows that do not count.
    pub(super) values: Vec<[f32; BLOCK_ROWS]>,
    pub(super) products: Vec<[i32; BLOCK_ROWS]>,
}

impl Seen {
    fn new(blocks: usize) -> Seen {
        Seen { values: vec![[f32::NEG_INFINITY; BLOCK_ROWS]; blocks], products: vec![[0; BLOCK_ROWS]; blocks] }
    }

    fn note(&mut self, i: usize, rows: u32, values: &[f32; BLOCK_ROWS], products: &[i32; BLOCK_ROWS]) {
        self.products[i] = *products;
        for (row, (noted, &value)) in self.values[i].iter_mut().zip(values).enumerate() {
            *noted = if rows >> row & 1 == 1 { upper(value) } else { f32::NEG_INFINITY };
        }
    }

    /// A value that some more than `count` rows reach: so many of the largest values of small sets do.
    pub(super) fn bar(&self, count: usize) -> f32 {
        if count > MOST_SAMPLED {
            return f32::NEG_INFINITY;
        }
        let mut largest = [[f32::NEG_INFINITY; BLOCK_ROWS]; SETS];
        for (i, values) in self.values.iter().enumerate() {
            for (most, &value) in largest[i % SETS].iter_mut().zip(values) {
                *most = if value > *most { value } else { *most };
            }
        }
        let largest = largest.as_flattened_mut();
        let at = largest.len() - count;
        *largest.select_nth_unstable_by(at, f32::total_cmp).1
    }
}

/// No number: nothing is known of the row, and it is looked at first.
pub(super) fn upper(value: f32) -> f32 {
    if value.is_nan() { f32::INFINITY } else { value }
}

impl Step<'_> {
    /// Meets blocks: sets rows aside, or notes what is seen.
    #[inline(always)]
    fn scan<S: Simd>(&self, simd: S, blocks: &[(u32, u32)], results: &mut [Sifted], seen: Option<&mut [Seen]>) {
        match self.sieve.plane.coding().purpose {
            Purpose::Certify => simd.vectorize(Scan::<false> { step: self, blocks, results, seen }),
            Purpose::Estimate => simd.vectorize(Scan::<true> { step: self, blocks, results, seen }),
        }
    }
}

/// The queries of a panel: as many as registers hold sums for.
pub(super) const fn panel_queries<S: Simd>() -> usize {
    if S::LANES == BLOCK_ROWS { 8 } else { 2 }
}

/// A scan of some blocks, of signs or of whole digits.
struct Scan<'s, 'a, const SIGNS: bool> {
    step: &'s Step<'a>,
    /// Their numbers, and which of their rows count.
    blocks: &'s [(u32, u32)],
    results: &'s mut [Sifted],
    /// Where to note what is seen; `None`: rows are set aside.
    seen: Option<&'s mut [Seen]>,
}

impl<const SIGNS: bool> Operation for Scan<'_, '_, SIGNS> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        if self.results.len() == 1 {
            self.one_query(simd);
        } else if panel_queries::<S>() == 8 {
            self.panels::<S, 8>(simd);
        } else {
            self.panels::<S, 2>(simd);
        }
    }
}

impl<const SIGNS: bool> Scan<'_, '_, SIGNS> {
    /// One query against blocks from several places at once.
    #[inline(always)]
    fn one_query<S: Simd>(&mut self, simd: S) {
        let panel = self.step.group.panels[0].bytes();
        let asked = Asked::<1>::new(&self.step.group.coded, self.results);
        let stride = self.blocks.len() / STREAMS;
        for i in 0..stride {
            let at = std::array::from_fn::<_, STREAMS, _>(|stream| i + stream * stride);
            self.meet(simd, at, panel, 0, &asked);
        }
        for i in stride * STREAMS..self.blocks.len() {
            self.meet(simd, [i], panel, 0, &asked);
        }
    }

    /// Blocks against panels of `Q` queries.
    #[inline(always)]
    fn panels<S: Simd, const Q: usize>(&mut self, simd: S) {
        let group = self.step.group;
        for tile in (0..self.blocks.len()).step_by(TILE) {
            let tile = tile..self.blocks.len().min(tile + TILE);
            for (panel, coded) in group.coded.chunks(Q).enumerate() {
                let first = panel * Q;
                let asked = Asked::<Q>::new(coded, &self.results[first..first + coded.len()]);
                let panel = group.panels[panel].bytes();
                for i in tile.clone() {
                    self.meet(simd, [i], panel, first, &asked);
                }
            }
        }
    }

    /// The blocks with these numbers in the scan, and the queries of a panel, which are those from `first` on.
    #[inline(always)]
    fn meet<S: Simd, const R: usize, const Q: usize>(
        &mut self,
        simd: S,
        at: [usize; R],
        panel: &[u8],
        first: usize,
        asked: &Asked<Q>,
    ) {
        let plane = self.step.sieve.plane;
        let mut numbers = [0; R];
        for r in 0..R {
            numbers[r] = self.blocks[at[r]].0 as usize;
        }
        let products = plane.products::<S, SIGNS, R, Q>(simd, numbers, panel, &self.step.group.coded[first..]);
        let (mut passing, mut some) = ([[0; Q]; R], 0);
        for r in 0..R {
            let columns = plane.columns::<SIGNS>(numbers[r]);
            passing[r] = rows_not_below(simd, &products[r], columns, &asked.weights, &asked.limits);
            some |= passing[r].iter().fold(0, |some, passing| some | passing) & self.blocks[at[r]].1;
        }
        // One branch for all blocks is guessed right more often than one for each.
        if some == 0 && self.seen.is_none() {
            return;
        }
        for r in 0..R {
            self.keep(simd, at[r], first, &passing[r], &products[r], asked);
        }
    }

    /// Sets rows of block `i` aside for the queries from `first` on, or notes them.
    #[inline(always)]
    fn keep<S: Simd, const Q: usize>(
        &mut self,
        simd: S,
        i: usize,
        first: usize,
        passing: &[u32; Q],
        products: &[[i32; BLOCK_ROWS]; Q],
        asked: &Asked<Q>,
    ) {
        let (block, rows) = self.blocks[i];
        let columns = self.step.sieve.plane.columns::<SIGNS>(block as usize);
        for (q, result) in self.results[first..].iter_mut().take(Q).enumerate() {
            if let Some(seen) = &mut self.seen {
                let values = row_values(simd, &products[q], columns, asked.weights[q]);
                seen[first + q].note(i, rows, &values, &products[q]);
            } else if passing[q] & rows != 0 {
                let values = row_values(simd, &products[q], columns, asked.weights[q]);
                result.set_aside(block, passing[q] & rows, &values, &products[q]);
            }
        }
    }
}

/// What is asked of the rows of a block for each query of a panel. Limits stay as they are throughout a scan.
struct Asked<const Q: usize> {
    weights: [Weights; Q],
    limits: [f32; Q],
}

impl<const Q: usize> Asked<Q> {
    /// Lanes without a query ask for nothing that anybody looks at.
    fn new(coded: &[PlaneQuery], results: &[Sifted]) -> Asked<Q> {
        let mut asked = Asked { weights: [coded[0].weights; Q], limits: [f32::INFINITY; Q] };
        for (q, (query, result)) in coded.iter().zip(results).enumerate() {
            (asked.weights[q], asked.limits[q]) = (query.weights, result.limit);
        }
        asked
    }
}
