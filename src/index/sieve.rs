//! Looking through codes for the rows that are worth a closer look.
//!
//! A scan over a [`Plane`] gives every row a value that is never too low. Rows whose value reaches the limit of a query (what its
//! k-th score so far asks for) are set aside. After each chunk the best of them are looked at, which raises the limit, and those
//! that fall below it are dropped; in the end all that are left are looked at, best first, until the values fall below the
//! limit. A closer look is the canonical score of the row, if the plane is there to certify, or the estimate from all of its
//! code. So no row that belongs among the best k can be passed over, and the order in which chunks are done, or by how
//! many threads, changes nothing.
//!
//! The first chunk finds a limit ([`sift`](super::sift)); the later ones let little pass. Where bounds decide little, as between rows that are
//! nearly as far from a query as each other, a query is given up, to be answered from the rows themselves.

use super::Search;
use super::selection::Selection;
use super::sift::{Hit, Part, Seen, Step, panel_queries, upper};
use super::table::Table;
use super::topk::TopK;
use crate::error::Result;
use crate::kernel::BLOCK_ROWS;
use crate::runtime::{Call, for_each};
use crate::simd::{self, Simd};
use crate::vectors::{Coding, Panel, Plane, PlaneQuery, Query};
use parking_lot::Mutex;
use std::ops::{Range, RangeInclusive};

/// The queries of a group. Fewer than some are met one by one: a panel would be mostly empty.
const GROUP: usize = 16;
const LEAST_GROUP: usize = 4;
/// The blocks of the sample.
const SAMPLE: usize = 128;
/// The blocks of the first chunk; each further one is [`CHUNK_GROWTH`] times as long.
const FIRST_CHUNK: usize = 256;
const CHUNK_GROWTH: usize = 2;
/// The most products of a chunk.
const CHUNK_WORK: usize = 400_000_000;
/// The most bytes of blocks that a chunk reads.
const CHUNK_BYTES: usize = 4 << 20;
/// The blocks whose rows a word of live bits has.
const WORD_BLOCKS: usize = 64 / BLOCK_ROWS;
/// More rows than this are not left aside for the end.
const MOST_ASIDE: usize = 1 << 16;

/// What to look for, and where.
#[derive(Clone, Copy)]
pub(crate) struct Sieve<'a> {
    pub(crate) plane: &'a Plane,
    pub(crate) table: &'a Table,
    pub(crate) selection: Option<&'a Selection>,
    pub(crate) k: usize,
    /// The smallest score that is wanted.
    pub(crate) floor: f32,
}

/// What has been found for one query.
#[derive(Clone)]
pub(crate) struct Sifted {
    pub(crate) top: TopK,
    /// Rows that were looked at.
    pub(crate) looked: usize,
    /// Rows that it has met so far.
    pub(super) met: usize,
    /// The codes rule too little out for this query: nothing has been found, and a scan of the rows is what is left.
    pub(crate) given_up: bool,
    pub(super) limit: f32,
    pub(super) aside: Vec<Aside>,
    /// No finite value that is set aside is above this.
    highest: f32,
}

/// A row that is set aside.
#[derive(Clone, Copy, Default)]
pub(super) struct Aside {
    pub(super) upper: f32,
    pub(super) slot: u32,
    pub(super) product: i32,
}

impl<'a> Sieve<'a> {
    /// What `search` looks for, in these codes of this table.
    pub(crate) fn new(plane: &'a Plane, table: &'a Table, search: &Search<'a>) -> Sieve<'a> {
        Sieve { plane, table, selection: search.selection, k: search.k, floor: search.floor() }
    }

    /// The best rows for each query.
    pub(crate) fn run(&self, queries: &[Query<'_>], call: &Call<'_>) -> Result<Vec<Sifted>> {
        if self.k == 0 {
            return Ok(queries.iter().map(|_| Sifted::new(TopK::new(0, self.floor), f32::INFINITY)).collect());
        }
        let mut groups = Vec::with_capacity(queries.len().div_ceil(GROUP));
        let share = queries.len().div_ceil(call.threads());
        let size = if share < LEAST_GROUP { 1 } else { share.min(GROUP) };
        let chunks = self.chunks(size, call.threads());
        for queries in queries.chunks(size) {
            call.check()?;
            groups.push(Group::new(self, queries));
        }
        for_each(call, groups.len(), |i| self.step(&groups[i], Part::Sample))?;
        groups.iter_mut().for_each(Group::start_from_sample);
        // All groups meet a chunk before the next: it stays in the caches meanwhile.
        for_each(call, groups.len() * chunks.len(), |i| {
            self.step(&groups[i % groups.len()], Part::Blocks(chunks[i / groups.len()].clone()));
        })?;
        for_each(call, groups.len(), |i| self.step(&groups[i], Part::Rest))?;
        Ok(groups.into_iter().flat_map(|group| group.merged()).collect())
    }

    fn step(&self, group: &Group<'_>, part: Part) {
        self.table.metric().run(Step { sieve: *self, group, part });
    }

    /// How the blocks are cut.
    fn chunks(&self, queries: usize, threads: usize) -> Vec<Range<usize>> {
        let coding = self.plane.coding();
        let by_work = CHUNK_WORK / (coding.width() * BLOCK_ROWS * queries.max(1));
        let by_threads = self.plane.blocks().div_ceil(if threads > 1 { 8 * threads } else { 1 });
        let most = by_work.min(CHUNK_BYTES / coding.block_bytes()).min(by_threads).max(FIRST_CHUNK);
        let (mut chunks, mut start, mut size) = (Vec::new(), 0, FIRST_CHUNK);
        while start < self.plane.blocks() {
            let end = (start + size).min(self.plane.blocks());
            chunks.push(start..end);
            (start, size) = (end, (size * CHUNK_GROWTH).min(most));
        }
        chunks
    }

    /// The blocks of a part with rows that are visible and selected, and which rows those are.
    pub(super) fn candidates(&self, part: &Part) -> Vec<(u32, u32)> {
        let stride = (self.plane.blocks() / SAMPLE).max(1);
        let sampled = self.plane.blocks().min(SAMPLE * stride);
        let mut found = Vec::new();
        match part {
            Part::Sample => {
                (0..sampled).step_by(stride).for_each(|block| self.add_candidates(block..block + 1, &mut found))
            }
            Part::Blocks(blocks) => {
                found.reserve(blocks.len());
                // What lies between the blocks of the sample, and behind them.
                let mut start = blocks.start;
                while start < blocks.end {
                    let next = if start < sampled { start.next_multiple_of(stride).min(sampled) } else { blocks.end };
                    self.add_candidates(start..next.min(blocks.end), &mut found);
                    start = if next < sampled { next + 1 } else { next };
                }
            }
            Part::Rest => {}
        }
        found
    }

    fn add_candidates(&self, blocks: Range<usize>, found: &mut Vec<(u32, u32)>) {
        let selected = self.selection.map(Selection::bits);
        let mut start = blocks.start;
        while start < blocks.end {
            let (word, end) = (start / WORD_BLOCKS, blocks.end.min((start / WORD_BLOCKS + 1) * WORD_BLOCKS));
            let rows = self.table.live_word(word) & selected.map_or(u64::MAX, |bits| bits.word(word));
            let some =
                (start..end).map(|block| (block as u32, (rows >> (block % WORD_BLOCKS * BLOCK_ROWS)) as u32 & 0xFFFF));
            if rows == u64::MAX {
                // All of them, and their number is known: room is made once.
                found.extend(some);
            } else {
                found.extend(some.filter(|&(_, rows)| rows != 0));
            }
            start = end;
        }
    }

    fn fresh(&self, query: &PlaneQuery) -> Sifted {
        Sifted::new(TopK::new(self.k, self.floor), self.plane.coding().limit(query, self.floor))
    }
}

/// Some queries, and what has been found for them so far.
pub(super) struct Group<'a> {
    pub(super) queries: &'a [Query<'a>],
    pub(super) coded: Vec<PlaneQuery>,
    /// What they show to blocks, panel after panel.
    pub(super) panels: Vec<Panel>,
    /// What sets begin as: nothing found, and the best limits that are known.
    fresh: Vec<Sifted>,
    /// Sets of results. A task takes a set, or makes one, and puts it back.
    found: Mutex<Vec<Vec<Sifted>>>,
}

impl<'a> Group<'a> {
    fn new(sieve: &Sieve<'_>, queries: &'a [Query<'a>]) -> Group<'a> {
        let coded: Vec<PlaneQuery> = queries.iter().map(|query| sieve.plane.coding().query(query)).collect();
        let lanes = if queries.len() == 1 { 1 } else { simd::dispatch(PanelQueries) };
        let purpose = sieve.plane.coding().purpose;
        let panels = coded.chunks(lanes).map(|queries| Panel::new(queries, purpose, lanes)).collect();
        let fresh = coded.iter().map(|query| sieve.fresh(query)).collect();
        Group { queries, coded, panels, fresh, found: Mutex::default() }
    }

    pub(super) fn take(&self) -> Vec<Sifted> {
        let free = self.found.lock().pop();
        free.unwrap_or_else(|| self.fresh.clone())
    }

    pub(super) fn give_back(&self, results: Vec<Sifted>) {
        self.found.lock().push(results);
    }

    /// Lets all sets begin with the limits of the sample, the only set so far.
    fn start_from_sample(&mut self) {
        for (fresh, result) in self.fresh.iter_mut().zip(self.found.get_mut().iter().flatten()) {
            fresh.limit = result.limit;
        }
    }

    /// What all sets have together.
    pub(super) fn merged(&self) -> Vec<Sifted> {
        let mut sets = std::mem::take(&mut *self.found.lock()).into_iter();
        let mut results = sets.next().unwrap_or_else(|| self.fresh.clone());
        for set in sets {
            for (result, part) in results.iter_mut().zip(set) {
                result.merge(part);
            }
        }
        results
    }
}

impl Sifted {
    fn new(top: TopK, limit: f32) -> Sifted {
        Sifted { top, looked: 0, met: 0, given_up: false, limit, aside: Vec::new(), highest: f32::NEG_INFINITY }
    }

    /// Takes in what another set has of the same query.
    fn merge(&mut self, other: Sifted) {
        self.top.merge(other.top);
        self.looked += other.looked;
        self.met += other.met;
        self.limit = self.limit.max(other.limit);
        if self.given_up || other.given_up {
            return self.give_up();
        }
        self.highest = self.highest.max(other.highest);
        self.aside.extend(other.aside);
    }

    pub(super) fn raise_limit(&mut self, coding: &Coding, query: &PlaneQuery) {
        self.limit = self.limit.max(coding.limit(query, self.top.limit()));
    }

    pub(super) fn give_up(&mut self) {
        (self.given_up, self.limit) = (true, f32::INFINITY);
        self.aside.clear();
    }

    /// Sets rows of a block aside.
    pub(super) fn set_aside(&mut self, hit: &Hit, block: u32) {
        let mut rows = hit.rows;
        while rows != 0 {
            let row = rows.trailing_zeros() as usize % BLOCK_ROWS;
            rows &= rows - 1;
            let upper = upper(hit.values[row]);
            self.highest = if upper < f32::INFINITY { self.highest.max(upper) } else { self.highest };
            self.aside.push(Aside { upper, slot: block * BLOCK_ROWS as u32 + row as u32, product: hit.products[row] });
        }
    }

    /// Sets those rows of a sample aside whose values are in this range.
    #[inline(always)]
    pub(super) fn set_seen_aside(&mut self, seen: &Seen, blocks: &[(u32, u32)], range: RangeInclusive<f32>) {
        for (at, (values, products)) in seen.values.iter().zip(&seen.products).enumerate() {
            let mut rows = 0;
            for (row, value) in values.iter().enumerate() {
                rows |= u32::from((value >= range.start()) & (value <= range.end())) << row;
            }
            if rows & blocks[at].1 != 0 {
                let hit = Hit { values: *values, products: *products, at: at as u32, rows: rows & blocks[at].1 };
                self.set_aside(&hit, blocks[at].0);
            }
        }
    }

    /// Whether what is set aside takes too much memory to be left for the end.
    pub(super) fn has_too_many_aside(&self) -> bool {
        self.aside.len() > MOST_ASIDE
    }

    /// Drops what is below the limit.
    #[inline(always)]
    pub(super) fn drop_hopeless(&mut self) {
        self.take(f32::INFINITY, &mut [Aside::default()]);
    }

    /// Takes the better half out of what is set aside, up to `most` rows, and drops what is below the limit. Half not of the rows, but of what
    /// lies between the limit and the best value: those are few, and one pass finds them.
    pub(super) fn take_better_half(&mut self, most: usize, taken: &mut Vec<Aside>) {
        let bar = self.limit + (self.highest.max(self.limit) - self.limit) / 2.0;
        self.highest = bar;
        taken.clear();
        taken.resize(most.min(self.aside.len()) + 1, Aside::default());
        let count = self.take(bar, taken);
        taken.truncate(count);
    }

    /// Takes rows that reach `bar`, one less than there is room for, and drops what is below the limit. Returns how many it has taken. Every row is
    /// written to both places, and written over by the next where it does not belong, since which way it goes nobody could guess.
    fn take(&mut self, bar: f32, taken: &mut [Aside]) -> usize {
        let (most, mut taking, mut staying) = (taken.len() - 1, 0, 0);
        for i in 0..self.aside.len() {
            let row = self.aside[i];
            let takes = (row.upper >= bar) & (taking < most);
            (taken[taking], self.aside[staying]) = (row, row);
            taking += usize::from(takes);
            staying += usize::from(!takes & (row.upper >= self.limit));
        }
        self.aside.truncate(staying);
        taking
    }
}

struct PanelQueries;

impl simd::Operation for PanelQueries {
    type Output = usize;

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> usize {
        panel_queries::<S>()
    }
}
