//! Looking through codes for the rows that are worth a closer look.
//!
//! A scan over a [`Plane`] gives every row a value that is never too low. Rows whose value reaches the limit of a query (what its
//! k-th score so far asks for) are set aside. After each chunk the best of them are looked at, which raises the limit, and those
//! that fall below it are dropped; in the end all that are left are looked at, best first, until the values fall below the
//! limit. A closer look is the canonical score of the row, if the plane is there to certify, or the estimate from all of its
//! code. So no row that belongs among the best k can be passed over, and the order in which chunks are done, or by how
//! many threads, changes nothing.
//!
//! The first chunks are small and find a limit; the later ones let little pass. Where bounds decide little, as between rows that are
//! nearly as far from a query as each other, a query is given up, to be answered from the rows themselves.

use super::Search;
use super::look::Look;
use super::selection::Selection;
use super::table::Table;
use super::topk::TopK;
use crate::error::Result;
use crate::kernel::{BLOCK_ROWS, Weights, row_values, rows_not_below};
use crate::runtime::{Call, for_each};
use crate::simd::{self, Simd};
use crate::vectors::{Coding, Plane, PlaneQuery, Purpose, Query, Space, Task, pack_panel};
use parking_lot::Mutex;
use std::ops::Range;
use std::sync::atomic::{self, AtomicUsize};

/// The streams of blocks that a lone query reads at once.
const STREAMS: usize = 4;
/// The queries of a group.
const GROUP: usize = 128;
/// The blocks of the first chunk; each further one is [`CHUNK_GROWTH`] times as long.
const FIRST_CHUNK: usize = 16;
const CHUNK_GROWTH: usize = 4;
/// The most products of a chunk.
const CHUNK_WORK: usize = 400_000_000;
/// The most bytes of blocks that a chunk reads.
const CHUNK_BYTES: usize = 4 << 20;
/// The blocks that a panel meets before the next: what it shows stays in the first-level cache meanwhile.
const TILE: usize = 16;
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
        let size = queries.len().div_ceil(call.threads()).clamp(1, GROUP);
        let chunks = self.chunks(size, call.threads());
        for queries in queries.chunks(size) {
            call.check()?;
            groups.push(Group::new(self, queries, chunks.len()));
        }
        for_each(call, groups.len() * chunks.len(), |task| {
            let (group, chunk) = (&groups[task / chunks.len()], &chunks[task % chunks.len()]);
            self.table.metric().run(Step { sieve: *self, group, blocks: chunk.clone() });
        })?;
        Ok(groups.into_iter().flat_map(|group| group.merged(self)).collect())
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

    /// The blocks with rows that are visible and selected, and which rows those are.
    fn candidates(&self, blocks: Range<usize>) -> Vec<(u32, u32)> {
        let selected = self.selection.map(Selection::bits);
        let mut found = Vec::with_capacity(blocks.len());
        for word in blocks.start / WORD_BLOCKS..blocks.end.div_ceil(WORD_BLOCKS) {
            let rows = self.table.live_word(word) & selected.map_or(u64::MAX, |bits| bits.word(word));
            for part in 0..WORD_BLOCKS {
                let (block, rows) = (word * WORD_BLOCKS + part, (rows >> (part * BLOCK_ROWS)) as u32 & 0xFFFF);
                if rows != 0 && blocks.contains(&block) {
                    found.push((block as u32, rows));
                }
            }
        }
        found
    }

    fn fresh(&self, query: &PlaneQuery) -> Sifted {
        Sifted::new(TopK::new(self.k, self.floor), self.plane.coding().limit(query, self.floor))
    }
}

/// Some queries, and what has been found for them so far.
struct Group<'a> {
    queries: &'a [Query<'a>],
    coded: Vec<PlaneQuery>,
    /// What they show to blocks, panel after panel.
    panels: Vec<u8>,
    /// Sets of results. A task takes a set, or makes one, and puts it back.
    found: Mutex<Vec<Vec<Sifted>>>,
    /// The tasks that are not done.
    left: AtomicUsize,
}

/// The queries of a panel: as many as registers hold sums for.
const fn panel_queries<S: Simd>() -> usize {
    if S::LANES == BLOCK_ROWS { 8 } else { 2 }
}

impl<'a> Group<'a> {
    fn new(sieve: &Sieve<'_>, queries: &'a [Query<'a>], tasks: usize) -> Group<'a> {
        let coded: Vec<PlaneQuery> = queries.iter().map(|query| sieve.plane.coding().query(query)).collect();
        let mut panels = Vec::new();
        let lanes = if queries.len() == 1 { 1 } else { simd::dispatch(PanelQueries) };
        for queries in coded.chunks(lanes) {
            pack_panel(queries, sieve.plane.coding().purpose, lanes, &mut panels);
        }
        Group { queries, coded, panels, found: Mutex::default(), left: AtomicUsize::new(tasks) }
    }

    fn take(&self, sieve: &Sieve<'_>) -> Vec<Sifted> {
        let free = self.found.lock().pop();
        free.unwrap_or_else(|| self.coded.iter().map(|query| sieve.fresh(query)).collect())
    }

    /// What all sets have together.
    fn merged(&self, sieve: &Sieve<'_>) -> Vec<Sifted> {
        let mut sets = std::mem::take(&mut *self.found.lock()).into_iter();
        let mut results = sets.next().unwrap_or_else(|| self.take(sieve));
        for set in sets {
            for ((result, part), query) in results.iter_mut().zip(set).zip(&self.coded) {
                result.top.merge(part.top);
                result.looked += part.looked;
                if result.given_up || part.given_up {
                    result.give_up();
                    continue;
                }
                result.aside.extend(part.aside);
                result.raise_limit(sieve.plane.coding(), query);
            }
        }
        results
    }
}

impl Sifted {
    fn new(top: TopK, limit: f32) -> Sifted {
        Sifted { top, looked: 0, met: 0, given_up: false, limit, aside: Vec::new() }
    }

    pub(super) fn raise_limit(&mut self, coding: &Coding, query: &PlaneQuery) {
        self.limit = self.limit.max(coding.limit(query, self.top.limit()));
    }

    pub(super) fn give_up(&mut self) {
        (self.given_up, self.limit) = (true, f32::INFINITY);
        self.aside.clear();
    }

    /// Sets some rows of a block aside. A function of its own, not compiled into the loop that rarely comes here.
    #[inline(never)]
    fn set_aside(&mut self, block: u32, mut rows: u32, values: &[f32; BLOCK_ROWS], products: &[i32; BLOCK_ROWS]) {
        self.aside.reserve(BLOCK_ROWS);
        while rows != 0 {
            let row = rows.trailing_zeros() as usize % BLOCK_ROWS;
            rows &= rows - 1;
            // No number: nothing is known of the row, and it is looked at first.
            let upper = if values[row].is_nan() { f32::INFINITY } else { values[row] };
            self.aside.push(Aside { upper, slot: block * BLOCK_ROWS as u32 + row as u32, product: products[row] });
        }
    }

    /// Drops what is below the limit.
    pub(super) fn drop_hopeless(&mut self) {
        let limit = self.limit;
        self.aside.retain(|row| row.upper >= limit);
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

/// One task: a group against a chunk of blocks.
struct Step<'a> {
    sieve: Sieve<'a>,
    group: &'a Group<'a>,
    blocks: Range<usize>,
}

impl Task for Step<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, M: Space>(self, simd: S, space: M) {
        let mut results = self.group.take(&self.sieve);
        match self.sieve.plane.coding().purpose {
            Purpose::Certify => simd.vectorize(Sift::<false> { step: &self, results: &mut results }),
            Purpose::Estimate => simd.vectorize(Sift::<true> { step: &self, results: &mut results }),
        }
        let mut look = Look::new(simd, space, &self.sieve);
        for ((result, query), coded) in results.iter_mut().zip(self.group.queries).zip(&self.group.coded) {
            look.at_the_best(query, coded, result);
            result.met += self.blocks.len() * BLOCK_ROWS;
            if look.is_hopeless(result) {
                result.give_up();
            } else if result.aside.len() > MOST_ASIDE {
                look.at_all(query, coded, result);
            }
        }
        self.group.found.lock().push(results);
        if self.group.left.fetch_sub(1, atomic::Ordering::AcqRel) > 1 {
            return;
        }
        let mut results = self.group.merged(&self.sieve);
        for ((result, query), coded) in results.iter_mut().zip(self.group.queries).zip(&self.group.coded) {
            look.at_all(query, coded, result);
        }
        self.group.found.lock().push(results);
    }
}

/// The scan of a chunk, of signs or of whole digits.
struct Sift<'s, 'a, const SIGNS: bool> {
    step: &'s Step<'a>,
    results: &'s mut [Sifted],
}

impl<const SIGNS: bool> simd::Operation for Sift<'_, '_, SIGNS> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let blocks = self.step.sieve.candidates(self.step.blocks.clone());
        if let [result] = self.results {
            self.step.one_query::<S, SIGNS>(simd, &blocks, result);
        } else if panel_queries::<S>() == 8 {
            self.step.panels::<S, SIGNS, 8>(simd, &blocks, self.results);
        } else {
            self.step.panels::<S, SIGNS, 2>(simd, &blocks, self.results);
        }
    }
}

impl Step<'_> {
    /// One query against blocks from several places at once.
    #[inline(always)]
    fn one_query<S: Simd, const SIGNS: bool>(&self, simd: S, blocks: &[(u32, u32)], result: &mut Sifted) {
        let (plane, coded) = (self.sieve.plane, &self.group.coded);
        let asked = Asked::new(coded, std::slice::from_ref(result));
        let stride = blocks.len() / STREAMS;
        for i in 0..stride {
            let (mut some, mut numbers) = ([(0, 0); STREAMS], [0; STREAMS]);
            for stream in 0..STREAMS {
                some[stream] = blocks[i + stream * stride];
                numbers[stream] = some[stream].0 as usize;
            }
            let products = plane.products::<S, SIGNS, STREAMS, 1>(simd, numbers, &self.group.panels, coded);
            for stream in 0..STREAMS {
                self.meet(simd, some[stream], &products[stream], &asked, std::slice::from_mut(result));
            }
        }
        for &(block, rows) in &blocks[stride * STREAMS..] {
            let [products] = plane.products::<S, SIGNS, 1, 1>(simd, [block as usize], &self.group.panels, coded);
            self.meet(simd, (block, rows), &products, &asked, std::slice::from_mut(result));
        }
    }

    /// Blocks against panels of `Q` queries.
    #[inline(always)]
    fn panels<S: Simd, const SIGNS: bool, const Q: usize>(
        &self,
        simd: S,
        blocks: &[(u32, u32)],
        results: &mut [Sifted],
    ) {
        let plane = self.sieve.plane;
        let panel = plane.coding().shown_bytes() * Q;
        for tile in blocks.chunks(TILE) {
            let queries = self.group.coded.chunks(Q).zip(results.chunks_mut(Q));
            for (shown, (coded, results)) in self.group.panels.chunks_exact(panel).zip(queries) {
                let asked = Asked::<Q>::new(coded, results);
                for &(block, rows) in tile {
                    let [products] = plane.products::<S, SIGNS, 1, Q>(simd, [block as usize], shown, coded);
                    self.meet(simd, (block, rows), &products, &asked, results);
                }
            }
        }
    }

    /// Sets those rows of a block aside whose values reach the limit of a query.
    #[inline(always)]
    fn meet<S: Simd, const Q: usize>(
        &self,
        simd: S,
        (block, rows): (u32, u32),
        products: &[[i32; BLOCK_ROWS]; Q],
        asked: &Asked<Q>,
        results: &mut [Sifted],
    ) {
        let columns = self.sieve.plane.columns(block as usize);
        let passing = rows_not_below(simd, products, columns, &asked.weights, &asked.limits);
        // Most blocks have none of any query.
        if passing.iter().fold(0, |some, passing| some | passing) & rows == 0 {
            return;
        }
        for (q, result) in results.iter_mut().enumerate() {
            if passing[q] & rows != 0 {
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
        let weights = std::array::from_fn(|q| coded[q.min(coded.len() - 1)].weights);
        let limits = std::array::from_fn(|q| results.get(q).map_or(f32::INFINITY, |result| result.limit));
        Asked { weights, limits }
    }
}
