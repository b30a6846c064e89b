//! The scan behind a [sieve](super::sieve): some queries against some blocks.
//!
//! A scan compares the values of sixteen rows with a limit in registers, so it is as good as its limit. The first limit comes from a
//! *sample*: of the rows of some blocks from everywhere the best are looked at, and what they reach is a limit that few of the others pass.
//! From everywhere, since rows that came in together are often alike. Which are the best, the largest values of small sets
//! of rows tell well enough: nothing depends on it but the time.

use super::look::Look;
use super::sieve::{Group, Sieve, Sifted};
use crate::kernel::BLOCK_ROWS;
use crate::simd::{Operation, Simd};
use crate::vectors::{Heads, Met, Purpose, Space, Task, Wanted};
use std::ops::Range;

/// The streams of blocks that a lone query reads at once.
const STREAMS: usize = 4;
/// The blocks that a panel meets before the next: what it shows stays in the first-level cache meanwhile.
const TILE: usize = 16;
/// The blocks that are met before those of which rows pass are gone through.
const MOST_HITS: usize = STREAMS * TILE;
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
    /// Minus infinity for rows that do not count, or have not passed.
    pub(super) values: Vec<[f32; BLOCK_ROWS]>,
    pub(super) products: Vec<[i32; BLOCK_ROWS]>,
}

impl Seen {
    fn new(blocks: usize) -> Seen {
        Seen { values: vec![[f32::NEG_INFINITY; BLOCK_ROWS]; blocks], products: vec![[0; BLOCK_ROWS]; blocks] }
    }

    /// Notes the rows of a block that have passed.
    fn note(&mut self, hit: &Hit) {
        let at = hit.at as usize;
        self.products[at] = hit.products;
        for row in 0..BLOCK_ROWS {
            self.values[at][row] = if hit.rows >> row & 1 == 1 { upper(hit.values[row]) } else { f32::NEG_INFINITY };
        }
    }

    /// A value that some more than `count` rows reach: so many of the largest values of small sets do.
    #[inline(always)]
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
        let plane = self.sieve.plane;
        match plane.coding().purpose {
            Purpose::Certify => {
                simd.vectorize(Scan::<false> { step: self, heads: Heads::new(plane), blocks, results, seen })
            }
            Purpose::Estimate => {
                simd.vectorize(Scan::<true> { step: self, heads: Heads::new(plane), blocks, results, seen })
            }
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
    heads: Heads<'a, SIGNS>,
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

impl<'a, const SIGNS: bool> Scan<'_, 'a, SIGNS> {
    /// One query against blocks from several places at once.
    #[inline(always)]
    fn one_query<S: Simd>(&mut self, simd: S) {
        let wanted = self.wanted::<1>(0, 0);
        let mut hits = [Hits::NONE];
        let stride = self.blocks.len() / STREAMS;
        for tile in (0..stride).step_by(TILE) {
            for i in tile..stride.min(tile + TILE) {
                let at = std::array::from_fn::<_, STREAMS, _>(|stream| i + stream * stride);
                self.meet(simd, at, &wanted, &mut hits);
            }
            self.settle(0, &mut hits);
        }
        for i in stride * STREAMS..self.blocks.len() {
            self.meet(simd, [i], &wanted, &mut hits);
        }
        self.settle(0, &mut hits);
    }

    /// Blocks against panels of `Q` queries.
    #[inline(always)]
    fn panels<S: Simd, const Q: usize>(&mut self, simd: S) {
        let mut hits = [Hits::NONE; Q];
        for tile in (0..self.blocks.len()).step_by(TILE) {
            for panel in 0..self.step.group.panels.len() {
                let wanted = self.wanted::<Q>(panel, panel * Q);
                for i in tile..self.blocks.len().min(tile + TILE) {
                    self.meet(simd, [i], &wanted, &mut hits);
                }
                self.settle(panel * Q, &mut hits);
            }
        }
    }

    /// What the queries of a panel, those from `first` on, ask for. Limits stay as they are throughout a scan.
    #[inline(always)]
    fn wanted<const Q: usize>(&self, panel: usize, first: usize) -> Wanted<'a, Q> {
        let (group, limits) = (self.step.group, self.results[first..].iter().map(|result| result.limit));
        Wanted::new(&group.panels[panel], &group.coded[first..], limits)
    }

    /// The blocks with these numbers in the scan, and the queries of a panel.
    #[inline(always)]
    fn meet<S: Simd, const R: usize, const Q: usize>(
        &self,
        simd: S,
        at: [usize; R],
        wanted: &Wanted<'_, Q>,
        hits: &mut [Hits; Q],
    ) {
        let mut numbers = [0; R];
        for r in 0..R {
            numbers[r] = self.blocks[at[r]].0 as usize;
        }
        let met = self.heads.meet(simd, numbers, wanted);
        for r in 0..R {
            for (q, hits) in hits.iter_mut().enumerate() {
                hits.add(at[r], self.blocks[at[r]].1, &met[r], q);
            }
        }
    }

    /// Sets what has passed aside for the queries from `first` on, or notes it.
    #[inline(always)]
    fn settle(&mut self, first: usize, hits: &mut [Hits]) {
        for (q, (result, hits)) in self.results[first..].iter_mut().zip(&*hits).enumerate() {
            let some = &hits.hits[..hits.count];
            match &mut self.seen {
                Some(seen) => some.iter().for_each(|hit| seen[first + q].note(hit)),
                None => some.iter().for_each(|hit| result.set_aside(hit, self.blocks[hit.at as usize].0)),
            }
        }
        // In lanes without a query, too: what is no number passes there.
        hits.iter_mut().for_each(|hits| hits.count = 0);
    }
}

/// A block of which some rows have passed the limit of a query. On cache lines of its own, to be written in whole lines.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(super) struct Hit {
    pub(super) values: [f32; BLOCK_ROWS],
    pub(super) products: [i32; BLOCK_ROWS],
    /// Its number in the scan.
    pub(super) at: u32,
    /// Which rows have passed.
    pub(super) rows: u32,
}

/// The hits of a query since they were last gone through.
#[derive(Clone, Copy)]
struct Hits {
    hits: [Hit; MOST_HITS],
    count: usize,
}

impl Hits {
    const NONE: Hits = Hits {
        hits: [Hit { values: [0.0; BLOCK_ROWS], products: [0; BLOCK_ROWS], at: 0, rows: 0 }; MOST_HITS],
        count: 0,
    };

    /// Adds block `at` if rows that count have passed. Written it is in any case, and written over by the next if none have: nobody could guess a branch.
    #[inline(always)]
    fn add<const Q: usize>(&mut self, at: usize, rows: u32, met: &Met<Q>, q: usize) {
        let rows = met.passing[q] & rows;
        self.hits[self.count % MOST_HITS] =
            Hit { values: met.values[q], products: met.products[q], at: at as u32, rows };
        self.count += usize::from(rows != 0);
    }
}
