//! Looking at every row: exact answers.
//!
//! A fast f32 kernel computes each row's *scan value*; a row whose value is not below the limit of the query (the scan form of
//! the k-th canonical score so far, rounding errors included) is scored canonically and enters the k best if it belongs there. No
//! row that belongs to the answer can be passed over, so ids and scores are those of the definition, bit for bit.
//!
//! The work is cut into tasks: a *group* of queries against a *chunk* of rows, each a few milliseconds. Queries of a group
//! are packed into panels, so that a row, once read, meets all of them; a lone query meets the rows one by one.

use super::Search;
use super::bit_scan;
use super::plan::Plan;
use super::selection::{Bits, Selection};
use super::table::Table;
use super::tile::{Room, Rooms, Tile, lone_tile, panel_tile};
use super::topk::{Sets, TopK};
use crate::error::Result;
use crate::kernel::{PANEL_ROWS, pack_queries, pair_sum, panel, stream_sums};
use crate::runtime::{Call, for_each};
use crate::simd::{Operation, Simd};
use crate::vectors::{Codec, Query, Space, Task};
use std::ops::Range;

/// The streams of rows that a lone query reads at once.
const STREAMS: usize = 4;
/// Fewer queries than this are compared one by one: a panel would be mostly empty.
const PANEL_MIN: usize = 4;
/// The panels of a group.
const GROUP_PANELS: usize = 8;
/// The queries that are packed before any of them is answered.
const QUERIES_AT_ONCE: usize = 4096;
/// The most multiply-adds of a task.
const TASK_WORK: usize = 200_000_000;
/// The most bytes of rows that a task reads.
const TASK_BYTES: usize = 4 << 20;

/// What to look for, and where.
#[derive(Clone, Copy)]
pub(crate) struct Scan<'a> {
    pub(crate) table: &'a Table,
    /// Which of the visible rows; `None`: all.
    pub(crate) selection: Option<&'a Selection>,
    /// The first slot that is looked at.
    pub(crate) from: usize,
    pub(crate) k: usize,
    /// The smallest score that is wanted.
    pub(crate) floor: f32,
}

impl<'a> Scan<'a> {
    /// What `search` looks for, in this table.
    pub(crate) fn new(table: &'a Table, search: &Search<'a>) -> Scan<'a> {
        Scan { table, selection: search.selection, from: 0, k: search.k, floor: search.floor() }
    }

    /// The best rows for each query.
    pub(crate) fn run(&self, queries: &[Query<'_>], call: &Call<'_>) -> Result<Vec<TopK>> {
        if self.table.codec() == Codec::B1 {
            return bit_scan::run(self, queries, call);
        }
        let mut found = Vec::with_capacity(queries.len());
        for queries in queries.chunks(QUERIES_AT_ONCE) {
            found.extend(self.table.metric().run(Prepare { scan: *self, queries, call })?);
        }
        Ok(found)
    }

    /// The chunks of tasks that so many queries meet.
    fn plan(&self, queries: usize) -> Plan {
        let width = self.table.width();
        let by_work = TASK_WORK / (width * queries.max(1));
        Plan::cut(self.from..self.table.slots(), by_work.min(TASK_BYTES / (width * size_of::<f32>())))
    }

    /// Which of the 64 slots from `64 * word` on are visible and selected.
    #[inline]
    pub(super) fn candidate_word(&self, word: usize) -> u64 {
        let selected = self.selection.map(Selection::bits);
        let later = match self.from.saturating_sub(word * 64) {
            skipped @ 0..64 => u64::MAX << skipped,
            _ => 0,
        };
        self.table.live_word(word) & selected.map_or(u64::MAX, |bits: &Bits| bits.word(word)) & later
    }

    /// The slots of `range` that are visible and selected, appended to `slots`.
    pub(super) fn candidates(&self, range: Range<usize>, slots: &mut Vec<u32>) {
        slots.clear();
        for word in range.start / 64..range.end.div_ceil(64) {
            let mut left = self.candidate_word(word);
            while left != 0 {
                slots.push((word * 64) as u32 + left.trailing_zeros());
                left &= left - 1;
            }
        }
    }
}

/// Picks the shape of the work once the instruction set is known.
struct Prepare<'a, 'q> {
    scan: Scan<'a>,
    queries: &'a [Query<'q>],
    call: &'a Call<'a>,
}

impl Task for Prepare<'_, '_> {
    type Output = Result<Vec<TopK>>;

    #[inline(always)]
    fn run<S: Simd, M: Space>(self, _simd: S, _space: M) -> Result<Vec<TopK>> {
        let lanes = if self.queries.len() <= S::LANES { S::LANES } else { 2 * S::LANES };
        let group = if self.queries.len() < PANEL_MIN { 1 } else { lanes * GROUP_PANELS };
        let mut results = Vec::with_capacity(self.queries.len());
        let plan = self.scan.plan(self.queries.len().min(group));
        let groups: Vec<Group<'_>> =
            self.queries.chunks(group).map(|queries| Group::new(queries, lanes, group > 1, &self.scan)).collect();
        let tasks = groups.len() * plan.chunks;
        let size = if group > 1 { panel_tile(self.scan.table) } else { lone_tile(self.scan.table) };
        let rooms = Rooms::new(self.scan.table, size, self.call.threads().min(tasks))?;
        for_each(self.call, tasks, |task| {
            let group = &groups[task / plan.chunks];
            let step = Step { scan: self.scan, group, range: plan.range(task % plan.chunks), rooms: &rooms };
            self.scan.table.metric().run(step);
        })?;
        for group in groups {
            results.extend(group.found.finish());
        }
        Ok(results)
    }
}

/// Some queries, and the best rows found for them so far.
struct Group<'a> {
    queries: &'a [Query<'a>],
    /// Queries a panel.
    lanes: usize,
    /// The panels, one after another; empty for a lone query.
    packed: Vec<f32>,
    gamma: f64,
    found: Sets,
}

impl<'a> Group<'a> {
    fn new(queries: &'a [Query<'a>], lanes: usize, panels: bool, scan: &Scan<'_>) -> Group<'a> {
        let width = scan.table.width();
        let mut packed = Vec::new();
        if panels {
            packed = vec![0.0; queries.len().div_ceil(lanes) * lanes * width];
            for (queries, packed) in queries.chunks(lanes).zip(packed.chunks_exact_mut(lanes * width)) {
                pack_queries(queries.iter().map(|query| query.values), lanes, packed);
            }
        }
        let gamma = crate::vectors::gamma(scan.table.dim());
        let found = Sets::new(queries.len(), TopK::new(scan.k, scan.floor));
        Group { queries, lanes, packed, gamma, found }
    }
}

/// One task: a group against a chunk of rows.
struct Step<'a> {
    scan: Scan<'a>,
    group: &'a Group<'a>,
    range: Range<usize>,
    rooms: &'a Rooms,
}

impl Task for Step<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, M: Space>(self, simd: S, space: M) {
        let mut results = self.group.found.take();
        let (mut slots, mut room) = (Vec::new(), self.rooms.take());
        if self.group.packed.is_empty() {
            self.scan.candidates(self.range.clone(), &mut slots);
            for (query, result) in self.group.queries.iter().zip(&mut results) {
                let mut lone = Lone { query, weight: space.scan_weight(query, self.group.gamma), limit: 0.0, result };
                lone.limit = space.scan_limit(query, lone.result.limit(), self.group.gamma);
                let mut left = &slots[..];
                while !left.is_empty() {
                    let tile = room.tile(simd, self.scan.table, left);
                    self.one_query(simd, space, &tile, &mut lone);
                    left = &left[tile.slots.len()..];
                }
            }
        } else {
            self.panels(simd, space, (&mut slots, &mut room), &mut results);
        }
        self.rooms.give_back(room);
        self.group.found.give_back(results);
    }
}

impl Step<'_> {
    /// One query against rows from several places at once.
    #[inline(always)]
    fn one_query<S: Simd, M: Space>(&self, simd: S, space: M, tile: &Tile<'_>, lone: &mut Lone<'_, '_>) {
        let Tile { slots, places, rows } = *tile;
        let stride = slots.len() / STREAMS;
        for i in 0..stride {
            let mut addresses = [std::ptr::null(); STREAMS];
            for (stream, address) in addresses.iter_mut().enumerate() {
                // SAFETY: places are rows of the tile.
                *address = unsafe { rows.address_unchecked(places[i + stream * stride] as usize) };
            }
            // SAFETY: rows are as wide as the query, a multiple of sixteen.
            let sums = unsafe { stream_sums::<S, M::Pairing, STREAMS>(simd, lone.query.values, addresses, None) };
            for (stream, sum) in sums.into_iter().enumerate() {
                self.look(simd, space, (tile, i + stream * stride), sum, lone);
            }
        }
        for i in stride * STREAMS..slots.len() {
            let sum = pair_sum::<S, M::Pairing>(simd, lone.query.values, tile.row(i).1);
            self.look(simd, space, (tile, i), sum, lone);
        }
    }

    /// Scores row `i` of a tile if its scan value, given what the kernel made of it and the query, reaches the limit.
    #[inline(always)]
    fn look<S: Simd, M: Space>(
        &self,
        simd: S,
        space: M,
        (tile, i): (&Tile<'_>, usize),
        sum: f32,
        lone: &mut Lone<'_, '_>,
    ) {
        // SAFETY: candidates are slots of the table.
        let term = unsafe { *self.scan.table.terms().scan().address_unchecked(tile.slots[i] as usize) };
        let (scale, offset) = space.scan_row(term, self.group.gamma);
        let below = sum * scale + offset * lone.weight < lone.limit;
        // A NaN is not below, and passes.
        if !below {
            simd.vectorize(AdmitLone { step: self, space, row: tile.row(i), lone });
        }
    }

    #[inline(always)]
    fn panels<S: Simd, M: Space>(
        &self,
        simd: S,
        space: M,
        (slots, room): (&mut Vec<u32>, &mut Room),
        results: &mut [TopK],
    ) {
        let (table, group) = (self.scan.table, self.group);
        let size = panel_tile(table);
        let mut limits = Vec::with_capacity(group.packed.len() / table.width());
        let mut weights = Vec::with_capacity(limits.capacity());
        for (query, result) in group.queries.iter().zip(&*results) {
            limits.push(space.scan_limit(query, result.limit(), group.gamma));
            weights.push(space.scan_weight(query, group.gamma));
        }
        // Lanes without a query: nothing reaches their limit.
        limits.resize(limits.capacity(), f32::INFINITY);
        weights.resize(weights.capacity(), 0.0);
        self.scan.candidates(self.range.clone(), slots);
        let mut left = &slots[..];
        while !left.is_empty() {
            let tile = room.tile(simd, table, &left[..left.len().min(size)]);
            for panel in 0..group.queries.len().div_ceil(group.lanes) {
                let first = panel * group.lanes;
                let mut lanes = Lanes {
                    packed: &group.packed[first * table.width()..][..group.lanes * table.width()],
                    queries: &group.queries[first..],
                    limits: &mut limits[first..first + group.lanes],
                    weights: &weights[first..first + group.lanes],
                    results: &mut results[first..],
                };
                // The first panel finds the rows of a tile in memory, the others in the caches.
                let ahead = if panel == 0 && table.codec() == Codec::F32 { left } else { &[] };
                if group.lanes == S::LANES {
                    self.one_panel::<S, M, 1>(simd, space, &tile, ahead, &mut lanes);
                } else {
                    self.one_panel::<S, M, 2>(simd, space, &tile, ahead, &mut lanes);
                }
            }
            left = &left[tile.slots.len()..];
        }
    }

    /// All rows of a tile against one panel of `W * LANES` queries. Those `ahead`, the tile's and what comes after it, are asked for before their turn.
    #[inline(always)]
    fn one_panel<S: Simd, M: Space, const W: usize>(
        &self,
        simd: S,
        space: M,
        tile: &Tile<'_>,
        ahead: &[u32],
        lanes: &mut Lanes<'_>,
    ) {
        let (table, gamma) = (self.scan.table, self.group.gamma);
        for (start, places) in (0..).step_by(PANEL_ROWS).zip(tile.places.chunks(PANEL_ROWS)) {
            // The last chunk repeats its last row; what comes of the repetition is not looked at.
            let six = |places: &[u32]| {
                // SAFETY: places are rows of the tile; so are the slots that are ahead, of rows that are read where they lie.
                [0, 1, 2, 3, 4, 5]
                    .map(|i| unsafe { tile.rows.address_unchecked(places[i.min(places.len() - 1)] as usize) })
            };
            let addresses = six(places);
            let coming = ahead.get(start + PANEL_ROWS..).filter(|coming| !coming.is_empty()).map(six);
            // SAFETY: every row has `width` values, and the panel `width * W * LANES`.
            let sums =
                unsafe { panel::<S, M::Pairing, W>(simd, addresses, table.width(), lanes.packed.as_ptr(), coming) };
            for (i, sums) in (start..).zip(sums.iter().take(places.len())) {
                // SAFETY: candidates are slots of the table.
                let term = unsafe { *table.terms().scan().address_unchecked(tile.slots[i] as usize) };
                let (scale, offset) = space.scan_row(term, gamma);
                let (scale, offset) = (simd.splat(scale), simd.splat(offset));
                for (w, &sum) in sums.iter().enumerate() {
                    // SAFETY: weights and limits hold W * LANES values.
                    let (weight, limit) = unsafe {
                        (
                            simd.load(lanes.weights.as_ptr().add(w * S::LANES)),
                            simd.load(lanes.limits.as_ptr().add(w * S::LANES)),
                        )
                    };
                    let value = simd.mul_add(sum, scale, simd.mul_add(offset, weight, simd.zero()));
                    let passing = simd.not_below(value, limit);
                    if passing != 0 {
                        let first = w * S::LANES;
                        simd.vectorize(Admit { step: self, space, row: tile.row(i), passing, first, lanes });
                    }
                }
            }
        }
    }
}

/// A lone query while it meets the rows of a chunk.
struct Lone<'a, 'q> {
    query: &'a Query<'q>,
    weight: f32,
    limit: f32,
    result: &'a mut TopK,
}

/// Scores a row for a lone query; an operation of its own for the reason given at [`Admit`].
struct AdmitLone<'a, 'l, 'q, M> {
    step: &'a Step<'a>,
    space: M,
    /// Its slot, and its values.
    row: (usize, &'a [f32]),
    lone: &'a mut Lone<'l, 'q>,
}

impl<M: Space> Operation for AdmitLone<'_, '_, '_, M> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let Lone { query, limit, result, .. } = self.lone;
        let (table, (slot, values)) = (self.step.scan.table, self.row);
        if result.push(self.space.score(query, values, table.terms().square(slot)), table.id(slot)) {
            *limit = self.space.scan_limit(query, result.limit(), self.step.group.gamma);
        }
    }
}

/// Scores a row for the queries whose limit it has reached. An operation of its own: it is rare, and should be compiled once,
/// for the instruction set, and not into every place that may need it.
struct Admit<'a, 'q, M> {
    step: &'a Step<'a>,
    space: M,
    /// Its slot, and its values.
    row: (usize, &'a [f32]),
    passing: u32,
    first: usize,
    lanes: &'a mut Lanes<'q>,
}

impl<M: Space> Operation for Admit<'_, '_, M> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, _simd: S) {
        let (table, gamma) = (self.step.scan.table, self.step.group.gamma);
        let (slot, values) = self.row;
        while self.passing != 0 {
            let lane = self.first + self.passing.trailing_zeros() as usize;
            self.passing &= self.passing - 1;
            let queries = self.lanes.queries;
            let (Some(query), Some(result)) = (queries.get(lane), self.lanes.results.get_mut(lane)) else { break };
            if result.push(self.space.score(query, values, table.terms().square(slot)), table.id(slot)) {
                self.lanes.limits[lane] = self.space.scan_limit(query, result.limit(), gamma);
            }
        }
    }
}

/// The queries of one panel.
struct Lanes<'a> {
    packed: &'a [f32],
    queries: &'a [Query<'a>],
    limits: &'a mut [f32],
    weights: &'a [f32],
    results: &'a mut [TopK],
}
