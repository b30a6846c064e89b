//! What all indexes on a table do alike, written once.
//!
//! An index is a [`State`](Tabular::State) behind a lock, rows in a table and whatever is built over them, and a few settings
//! outside. [`Tabular`] is what one kind of index says of itself: how rows are put in, how queries are answered in one
//! state, how the state is built anew and kept in a file. From that every [`Index`] follows, with the order of its checks
//! and the guards it takes.

use super::intake::{Intake, Staged};
use super::selection::Selection;
use super::table::Table;
use super::topk::{Scored, TopK};
use super::{Hits, Index, IndexFile, RangeHits, Search, Stats};
use crate::error::{Error, Result};
use crate::runtime::{Call, ReadGuard, Shared, Writer};
use crate::storage::{Container, ContainerWriter};
use crate::vectors::{Codec, Metric, Piece, Query, QueryBatch, RowSource};
use std::io;
use std::path::Path;

/// A table and whatever is built on it: what the lock of an index guards.
pub(crate) trait Tabled: Send + Sync + Sized {
    fn table(&self) -> &Table;
    fn table_mut(&mut self) -> &mut Table;

    /// Makes room for `additional` slots.
    fn try_reserve(&mut self, additional: usize) -> Result<()> {
        self.table_mut().try_reserve(additional)
    }

    /// Puts rows of a piece into hidden slots, old or new; of the new ones in order.
    fn store(writer: &Writer<'_, Self>, piece: &Piece, staged: &[Staged], call: &Call<'_>) -> Result<()> {
        let _ = call;
        writer.write().table_mut().store(piece, staged);
        Ok(())
    }

    /// Forgets the slots from `slots` on, after a write that failed.
    fn forget(&mut self, slots: usize) {
        self.table_mut().truncate(slots);
    }

    /// Told which slots have lost their rows.
    fn freed(&mut self, slots: &[u32]) {
        let _ = slots;
    }

    /// The values of the rows in `slots`, as they are kept, one after another.
    fn read_rows(&self, slots: &[u32], out: &mut [f32]) {
        self.table().kept().read(slots, out);
    }

    /// Bytes of the rows, ids and all else.
    fn bytes(&self) -> usize {
        self.table().bytes()
    }

    /// Sees to it that the rows in `slots` may be believed, or, for `None`, all rows: of such as lie in files.
    fn check_rows(&self, slots: Option<&[u32]>, call: &Call<'_>) -> Result<()> {
        let _ = (slots, call);
        Ok(())
    }

    /// How many slots had a row that is gone.
    fn dead(&self) -> usize {
        self.table().slots() - self.table().live()
    }

    /// Adds the numbers that only this kind of index has.
    fn describe(&self, stats: &mut Stats) {
        let _ = stats;
    }

    /// A state of its own with the same slots.
    fn try_clone(&self) -> Result<Self>;
}

/// The state of an index behind its lock, and beside it what never changes.
pub(crate) struct Body<S> {
    dim: usize,
    metric: Metric,
    codec: Codec,
    max_bytes: Option<u64>,
    state: Shared<S>,
}

impl<S: Tabled> Body<S> {
    pub(crate) fn new(state: S, max_bytes: Option<u64>) -> Body<S> {
        let (dim, metric, codec) = (state.table().dim(), state.table().metric(), state.table().codec());
        Body { dim, metric, codec, max_bytes, state: Shared::new(state) }
    }

    /// The turn to write, unless nothing can be written.
    pub(crate) fn writer(&self, call: &Call<'_>) -> Result<Writer<'_, S>> {
        if self.state.read().table().is_mapped() {
            return Err(Error::ReadOnly);
        }
        self.state.writer(call)
    }

    /// The state as it is, for as long as the guard is held.
    pub(crate) fn read(&self) -> ReadGuard<'_, S> {
        self.state.read()
    }

    /// Refuses rows of another dimension.
    fn check_dim(&self, rows: &dyn RowSource) -> Result<()> {
        if rows.dim() == self.dim {
            return Ok(());
        }
        Err(Error::Dimension { expected: self.dim, given: rows.dim() })
    }

    /// Refuses what would take `state` beyond the limit. By how many bytes it grows is asked only where there is one.
    pub(crate) fn check_room(&self, state: &S, growth: impl FnOnce() -> usize) -> Result<()> {
        let Some(max) = self.max_bytes else { return Ok(()) };
        let needed = state.bytes() as u64 + growth() as u64;
        if needed <= max {
            return Ok(());
        }
        let limit = format!("and max_bytes is {max}");
        Err(Error::Capacity { what: "the index with these rows", needed, limit })
    }

    /// Reads and checks the queries of a search.
    fn read_queries(&self, queries: &dyn RowSource, call: &Call<'_>) -> Result<QueryBatch> {
        self.check_dim(queries)?;
        QueryBatch::read(queries, self.metric, call)
    }
}

/// How many queries a scan answers under one guard: enough that reading the rows costs little beside them.
const QUERIES_PER_GUARD: usize = 256;

/// One kind of index on a table: only what sets it apart from the others.
///
/// What is given a `writer` has the turn, but no guard, and lets each guard go before it takes the next: a write waits for all
/// who read, the thread itself among them.
pub(crate) trait Tabular: Send + Sync + Sized {
    /// The kind of its files.
    const KIND: &'static str;

    /// Whether it looks at all rows that may be returned, or notes by itself what it does instead.
    const SCANS: bool = true;

    /// What its lock guards.
    type State: Tabled;

    fn body(&self) -> &Body<Self::State>;

    /// An index with the settings of this one, and another body.
    fn with_body(&self, body: Body<Self::State>) -> IndexFile;

    /// Stores rows and makes them visible, all of them or, on an error, none.
    fn put(
        &self,
        intake: &Intake,
        rows: &dyn RowSource,
        writer: &Writer<'_, Self::State>,
        call: &Call<'_>,
    ) -> Result<()>;

    /// The search with what it leaves to the index filled in, once for all of its queries.
    fn settle<'a>(&self, search: &Search<'a>, call: &Call<'_>) -> Result<Search<'a>> {
        let _ = call;
        Ok(*search)
    }

    /// How many queries are answered under one guard, if no selection ties them all to one state.
    fn queries_per_guard(&self, search: &Search<'_>, call: &Call<'_>) -> usize {
        let _ = (search, call);
        QUERIES_PER_GUARD
    }

    /// Answers queries in one state. The search has been settled and checked.
    fn search_in(
        &self,
        state: &Self::State,
        queries: &[Query<'_>],
        search: &Search<'_>,
        call: &Call<'_>,
    ) -> Result<Vec<TopK>>;

    /// Links rows that wait for it, at most so many; returns how many wait then.
    fn link_pending(&self, writer: &Writer<'_, Self::State>, most: usize, call: &Call<'_>) -> Result<usize> {
        let _ = (writer, most, call);
        Ok(0)
    }

    /// Whether [`rebuild`](Tabular::rebuild) makes anything better.
    fn gains_by_rebuild(&self, state: &Self::State) -> bool {
        state.dead() > 0
    }

    /// A state of the visible rows alone, built while searches go on in the old one.
    fn rebuild(&self, writer: &Writer<'_, Self::State>, call: &Call<'_>) -> Result<Self::State>;

    /// Writes the sections of the file.
    fn write(&self, state: &Self::State, writer: &mut ContainerWriter<'_>) -> io::Result<()>;

    /// The index that [`write`](Tabular::write) wrote.
    fn read(container: &Container) -> Result<Self>;
}

impl<T: Tabular> Index for T {
    fn dim(&self) -> usize {
        self.body().dim
    }

    fn metric(&self) -> Metric {
        self.body().metric
    }

    fn codec(&self) -> Codec {
        self.body().codec
    }

    fn len(&self) -> usize {
        self.body().state.read().table().live()
    }

    fn add(&self, rows: &dyn RowSource, ids: Option<&[i64]>, call: &Call<'_>) -> Result<Vec<i64>> {
        let writer = self.body().writer(call)?;
        self.body().check_dim(rows)?;
        let intake = Intake::add(writer.read().table(), rows.rows(), ids)?;
        self.put(&intake, rows, &writer, call)?;
        Ok(intake.ids.into_iter().flatten().collect())
    }

    fn upsert(&self, ids: &[i64], rows: &dyn RowSource, call: &Call<'_>) -> Result<usize> {
        let writer = self.body().writer(call)?;
        self.body().check_dim(rows)?;
        let intake = Intake::upsert(rows.rows(), ids)?;
        self.put(&intake, rows, &writer, call)?;
        Ok(intake.stored())
    }

    fn delete(&self, ids: &[i64], call: &Call<'_>) -> Result<usize> {
        let writer = self.body().writer(call)?;
        let mut state = writer.write();
        let freed = state.table_mut().remove(ids);
        state.freed(&freed);
        Ok(freed.len())
    }

    fn get(&self, ids: &[i64]) -> Result<Vec<f32>> {
        get_rows(&*self.body().state.read(), ids)
    }

    fn contains(&self, id: i64) -> bool {
        self.body().state.read().table().slot_of(id).is_some()
    }

    fn ids(&self) -> Vec<i64> {
        self.body().state.read().table().sorted_ids()
    }

    fn search(&self, queries: &dyn RowSource, search: &Search<'_>, call: &Call<'_>) -> Result<Hits> {
        let search = self.settle(search, call)?;
        search.check()?;
        let batch = self.body().read_queries(queries, call)?;
        let queries = batch.queries();
        // A selection belongs to one state, so a search with one sees one state throughout.
        let per_guard = if search.selection.is_some() { usize::MAX } else { self.queries_per_guard(&search, call) };
        let mut found = Vec::with_capacity(queries.len());
        for queries in queries.chunks(per_guard) {
            let state = self.body().state.read();
            if let Some(selection) = search.selection {
                selection.check(state.table().version())?;
            }
            let tops = self.search_in(&state, queries, &search, call)?;
            if let Some(trace) = search.trace {
                trace.had(search.selection.map_or(state.table().live(), Selection::count));
                if T::SCANS {
                    trace.scanned(queries.len());
                }
            }
            found.extend(tops.into_iter().map(TopK::into_sorted));
        }
        Hits::collect(search.k, found)
    }

    fn range_search(
        &self,
        queries: &dyn RowSource,
        radius: f64,
        selection: Option<&Selection>,
        call: &Call<'_>,
    ) -> Result<RangeHits> {
        let batch = self.body().read_queries(queries, call)?;
        if radius.is_nan() {
            return Err(Error::InvalidArgument("radius must be a number, got NaN".to_owned()));
        }
        let state = self.body().state.read();
        if let Some(selection) = selection {
            selection.check(state.table().version())?;
        }
        let metric = self.body().metric;
        let min_score = Some(floor_of(metric, radius));
        let search = Search { selection, min_score, exact: true, ..Search::top(usize::MAX) };
        let mut hits = RangeHits { lims: vec![0], ids: Vec::new(), scores: Vec::new() };
        for found in self.search_in(&state, &batch.queries(), &self.settle(&search, call)?, call)? {
            let near = |row: &&Scored| f64::from(metric.distance(row.score)) <= radius;
            for row in found.into_sorted().iter().filter(near) {
                hits.ids.push(row.id);
                hits.scores.push(row.score);
            }
            hits.lims.push(hits.ids.len() as i64);
        }
        Ok(hits)
    }

    fn select_ids(&self, ids: &[i64]) -> Selection {
        self.body().state.read().table().select_ids(ids)
    }

    fn select_mask(&self, mask: &[bool]) -> Result<Selection> {
        self.body().state.read().table().select_mask(mask)
    }

    fn catch_up(&self, most: usize, call: &Call<'_>) -> Result<usize> {
        self.link_pending(&self.body().writer(call)?, most, call)
    }

    fn optimize(&self, call: &Call<'_>) -> Result<()> {
        let writer = self.body().writer(call)?;
        // A statement of its own: the guard must be gone before anything is linked.
        let gains = self.gains_by_rebuild(&writer.read());
        if !gains {
            return self.link_pending(&writer, usize::MAX, call).map(drop);
        }
        writer.read().check_rows(None, call)?;
        let rebuilt = self.rebuild(&writer, call)?;
        *writer.write() = rebuilt;
        Ok(())
    }

    fn stats(&self) -> Stats {
        let state = self.body().state.read();
        let table = state.table();
        let mut stats = Stats {
            kind: T::KIND,
            rows: table.live(),
            dead: state.dead(),
            bytes: state.bytes(),
            graph_bytes: 0,
            code_bytes: 0,
            queries: 0,
            reranked: 0,
            layers: 0,
            pending: 0,
            mapped: table.is_mapped(),
        };
        state.describe(&mut stats);
        stats
    }

    fn save(&self, path: &Path) -> Result<()> {
        let state = self.body().state.read();
        state.check_rows(None, &Call::uninterrupted())?;
        ContainerWriter::save(path, T::KIND, |writer| self.write(&state, writer))
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        let state = self.body().state.read();
        state.check_rows(None, &Call::uninterrupted())?;
        let written = ContainerWriter::to_bytes(T::KIND, |writer| self.write(&state, writer));
        written.map_err(|error| Error::io(Path::new("<bytes>"), error))
    }

    fn copy(&self) -> Result<IndexFile> {
        let state = self.body().state.read();
        state.check_rows(None, &Call::uninterrupted())?;
        let state = state.try_clone()?;
        Ok(self.with_body(Body::new(state, self.body().max_bytes)))
    }
}

/// The rows with these ids, one after another.
fn get_rows(state: &impl Tabled, ids: &[i64]) -> Result<Vec<f32>> {
    let (table, mut values) = (state.table(), Vec::new());
    let wanted = ids.len().saturating_mul(table.dim());
    values.try_reserve_exact(wanted).map_err(|_| Error::out_of_memory("the rows", wanted.saturating_mul(4)))?;
    let slot = |&id: &i64| table.slot_of(id).map(|slot| slot as u32).ok_or(Error::MissingId(id));
    let slots = ids.iter().map(slot).collect::<Result<Vec<_>>>()?;
    state.check_rows(Some(&slots), &Call::uninterrupted())?;
    values.resize(wanted, 0.0);
    state.read_rows(&slots, &mut values);
    Ok(values)
}

/// The smallest score of a search for all rows within a radius: the distance itself decides, so a little less than it has to be.
fn floor_of(metric: Metric, radius: f64) -> f32 {
    match metric {
        Metric::Cosine => (1.0 - radius) as f32 - 1e-6,
        _ => ((-radius) as f32).next_down(),
    }
}
