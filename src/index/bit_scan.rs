//! Looking at every row of bits: exact answers, by counting.
//!
//! The distance of two rows of bits is a whole number, so nothing has to be allowed for: a row that differs from the query in fewer
//! bits than its limit is scored by that very number. Else the work is cut as in [`scan`](super::scan): into tasks, a group
//! of queries against a chunk of rows. A tile of the chunk, small enough for the second-level cache, meets all queries of
//! the group before the next is read: most of them in panels, and those that do not fill one each by itself.

use super::plan::Plan;
use super::scan::Scan;
use super::topk::{Sets, TopK};
use crate::error::Result;
use crate::kernel::{BIT_LANES, BitPanel, hamming, hamming_panel, pack_bits};
use crate::runtime::{Call, for_each};
use crate::simd::{Counting, Operation, Simd, dispatch};
use crate::vectors::{Query, write_words};
use std::ops::Range;

/// The queries of a group.
const GROUP: usize = 8 * BIT_LANES;
/// Fewer queries than this are compared one by one: a panel takes as long as about as many.
const PANEL_MIN: usize = 24;
/// The most words that a task compares.
const TASK_WORK: usize = 1 << 25;
/// The most bytes of rows that a task reads.
const TASK_BYTES: usize = 4 << 20;
/// The bytes of a tile.
const TILE_BYTES: usize = 192 << 10;

/// The best rows for each query.
pub(super) fn run(scan: &Scan<'_>, queries: &[Query<'_>], call: &Call<'_>) -> Result<Vec<TopK>> {
    let words = scan.table.kept().words();
    let by_work = TASK_WORK / (words * queries.len().clamp(1, GROUP));
    let plan = Plan::cut(scan.from..scan.table.slots(), by_work.min(TASK_BYTES / (words * size_of::<u64>())));
    let groups: Vec<Group> = queries.chunks(GROUP).map(|queries| Group::new(queries, words, scan)).collect();
    for_each(call, groups.len() * plan.chunks, |task| {
        let (group, range) = (&groups[task / plan.chunks], plan.range(task % plan.chunks));
        dispatch(Counting(Step { scan, group, words, range }));
    })?;
    Ok(groups.into_iter().flat_map(|group| group.found.finish()).collect())
}

/// Some queries, and the best rows found for them so far.
struct Group {
    /// The panels, one after another, `words` lanes each.
    panels: Vec<[u64; BIT_LANES]>,
    /// The queries in panels; they come first.
    in_panels: usize,
    /// The words of the others, one after another.
    lone: Vec<u64>,
    found: Sets,
}

impl Group {
    fn new(queries: &[Query<'_>], words: usize, scan: &Scan<'_>) -> Group {
        let rest = queries.len() % BIT_LANES;
        let in_panels = if rest < PANEL_MIN { queries.len() - rest } else { queries.len() };
        let mut panels = vec![[0; BIT_LANES]; in_panels.div_ceil(BIT_LANES) * words];
        let mut lone = vec![0; (queries.len() - in_panels) * words];
        let mut query_words = vec![0; words];
        for (i, query) in queries.iter().enumerate() {
            write_words(&query.values[..scan.table.dim()], &mut query_words);
            match i.checked_sub(in_panels) {
                None => pack_bits(&query_words, i % BIT_LANES, &mut panels[i / BIT_LANES * words..][..words]),
                Some(at) => lone[at * words..][..words].copy_from_slice(&query_words),
            }
        }
        Group { panels, in_panels, lone, found: Sets::new(queries.len(), TopK::new(scan.k, scan.floor)) }
    }
}

/// The number of differing bits from which on a row cannot enter.
fn limit(result: &TopK) -> u64 {
    let most = -result.limit();
    // The conversion stops at the ends of the range.
    if most < 0.0 { 0 } else { (most as u64).saturating_add(1) }
}

/// One task: a group against a chunk of rows.
struct Step<'a> {
    scan: &'a Scan<'a>,
    group: &'a Group,
    /// Words a row.
    words: usize,
    range: Range<usize>,
}

impl Operation for Step<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let mut found = self.group.found.take();
        let (in_panels, lone) = found.split_at_mut(self.group.in_panels);
        let limits: Vec<u64> = in_panels.iter().map(limit).collect();
        // In lanes without a query no row is below the limit.
        let mut limits: Vec<[u64; BIT_LANES]> = limits.chunks(BIT_LANES).map(lanes).collect();
        let mut slots = Vec::new();
        let tile = (TILE_BYTES / (self.words * size_of::<u64>())).max(64).next_multiple_of(64);
        for start in self.range.clone().step_by(tile) {
            let range = start..(start + tile).min(self.range.end);
            if !limits.is_empty() {
                self.scan.candidates(range.clone(), &mut slots);
            }
            let panels = self.group.panels.chunks_exact(self.words).zip(&mut limits);
            for ((panel, limits), results) in panels.zip(in_panels.chunks_mut(BIT_LANES)) {
                self.one_panel(&slots, panel, limits, results);
            }
            for (query, result) in self.group.lone.chunks_exact(self.words).zip(&mut *lone) {
                self.one_query(range.clone(), query, result);
            }
        }
        self.group.found.give_back(found);
    }
}

/// Limits in the lanes of a panel; 0 in those that are left.
fn lanes(limits: &[u64]) -> [u64; BIT_LANES] {
    std::array::from_fn(|lane| limits.get(lane).copied().unwrap_or(0))
}

impl Step<'_> {
    /// Rows of a tile against one panel of queries.
    #[inline(always)]
    fn one_panel(&self, slots: &[u32], panel: &BitPanel, limits: &mut [u64; BIT_LANES], results: &mut [TopK]) {
        for &slot in slots {
            let bits = hamming_panel(self.scan.table.kept().row_words(slot as usize, 1), panel);
            let mut passes = false;
            for i in 0..BIT_LANES {
                passes |= bits[i] < limits[i];
            }
            if passes {
                self.admit(slot as usize, &bits, limits, results);
            }
        }
    }

    /// Scores a row for the queries whose limit it is below. Rare, so it stays out of the loop.
    #[inline(never)]
    fn admit(&self, slot: usize, bits: &[u64; BIT_LANES], limits: &mut [u64; BIT_LANES], results: &mut [TopK]) {
        let id = self.scan.table.id(slot);
        for (i, result) in results.iter_mut().enumerate() {
            if bits[i] < limits[i] && result.push(score(bits[i]), id) {
                limits[i] = limit(result);
            }
        }
    }

    /// Rows of a tile against one query: 64 at a time where none is missing, which are read as they lie, without looking up each.
    #[inline(always)]
    fn one_query(&self, range: Range<usize>, query: &[u64], result: &mut TopK) {
        let table = self.scan.table;
        let mut most = limit(result);
        for word in range.start / 64..range.end.div_ceil(64) {
            let (first, mut left) = (word * 64, self.scan.candidate_word(word));
            if left == u64::MAX {
                let rows = table.kept().row_words(first, 64);
                for (i, row) in rows.chunks_exact(self.words).enumerate() {
                    let bits = u64::from(hamming(query, row));
                    if bits < most && result.push(score(bits), table.id(first + i)) {
                        most = limit(result);
                    }
                }
                continue;
            }
            while left != 0 {
                let slot = first + left.trailing_zeros() as usize;
                left &= left - 1;
                let bits = u64::from(hamming(query, table.kept().row_words(slot, 1)));
                if bits < most && result.push(score(bits), table.id(slot)) {
                    most = limit(result);
                }
            }
        }
    }
}

/// What a row that differs in so many bits scores.
fn score(bits: u64) -> f32 {
    0.0 - bits as f32
}
