//! The graph index: hierarchical navigable small worlds (Malkov and Yashunin, arXiv 1603.09320).
//!
//! [`graph`] is the data, [`ground`] what distances are measured on, [`walk`] the loop that everything spends its time in, [`build`] links
//! new rows, [`search`] answers one query. Deleted rows stay in the graph, hidden, as steps between others, until there are enough of them to link the others
//! round them; then new rows take their slots. [`optimize`](super::Index::optimize) builds a graph without them. A search never returns fewer rows than there are: what the graph does not reach, a scan does.

mod build;
mod graph;
mod ground;
mod search;
mod settle;
mod walk;

use super::file::{read_schema, write_schema};
use super::intake::Intake;
use super::scan::Scan;
use super::selection::Selection;
use super::table::{Table, TableSchema};
use super::tabular::{Body, Tabled, Tabular};
use super::topk::TopK;
use super::{IndexFile, IndexOptions, Search, Stats};
use crate::error::{Error, Result};
use crate::runtime::{Call, Shared, Writer, map};
use crate::storage::{Container, ContainerWriter};
use crate::vectors::{Cells, Codec, Frame, Metric, Query, RowSource};
use graph::{Graph, GraphSchema};
use parking_lot::Mutex;
use search::GraphSearch;
use serde::{Deserialize, Serialize};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use walk::Scratch;

/// How a graph is built and searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HnswParameters {
    /// Links that a new row makes on each layer; a node of the base layer has at most twice as many.
    pub m: usize,
    /// The width of the beam that looks for the neighbours of a new row.
    pub ef_construction: usize,
    /// Decides the layers of each row, and the rotation of what is coded.
    pub seed: u64,
    /// What walks read.
    pub codec: GraphCodec,
}

/// What a walk reads of the nodes that it comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GraphCodec {
    /// Cells under cosine, dot and l2, unless eight bits a value do not tell the first rows apart; else rows.
    #[default]
    Auto,
    /// Rows as they are kept, as f32.
    F32,
}

impl HnswParameters {
    /// The parameters for this many rows under this metric: m 16, or, among rows alone, 32 above 50,000 rows; ef_construction 200.
    pub fn for_size(rows: usize, metric: Metric, codec: GraphCodec) -> HnswParameters {
        let rows_alone =
            HnswParameters { m: if rows > 50_000 { 32 } else { 16 }, ef_construction: 200, seed: 0, codec };
        let cells = HnswParameters { m: 16, ..rows_alone };
        if cells.has_cells(metric) { cells } else { rows_alone }
    }

    /// Whether the base layer is made of cells under this metric.
    pub(crate) fn has_cells(&self, metric: Metric) -> bool {
        self.codec == GraphCodec::Auto && Frame::serves(metric)
    }

    fn check(&self) -> Result<()> {
        let range = |name: &str, value: usize, low: usize, high: usize| {
            if (low..=high).contains(&value) {
                return Ok(());
            }
            Err(Error::InvalidArgument(format!("{name} must be between {low} and {high}, got {value}")))
        };
        range("m", self.m, 2, 256)?;
        range("ef_construction", self.ef_construction, 1, 1 << 16)
    }
}

/// How many queries a thread answers under one guard.
const QUERIES_PER_THREAD: usize = 8;

/// How many times wider the beam of a second walk is, if the first has not reached enough rows.
const SECOND_WALK: usize = 4;

/// Deleted rows are taken out of the graph when they are so many, and one in so many slots.
const LEAST_REPAIRED: usize = 256;
const REPAIR_PART: usize = 8;

/// The beam of a search that names none.
const DEFAULT_EF: usize = 64;

/// Approximate search through a graph. What it can do is in [`Index`](super::Index).
pub struct HnswIndex {
    body: Body<State>,
    parameters: HnswParameters,
    ef_search: AtomicUsize,
    scratches: Mutex<Vec<Scratch>>,
}

/// The rows, and the graph over their slots.
pub(crate) struct State {
    table: Table,
    graph: Graph,
    /// Slots that can be used again: nothing in the graph leads there. Ascending.
    free: Vec<u32>,
    /// How many slots of deleted rows the last repair could not free: others hang on their nodes.
    kept_dead: usize,
}

impl State {
    /// Rows under a graph.
    fn new(table: Table, graph: Graph) -> State {
        State { table, graph, free: Vec::new(), kept_dead: 0 }
    }

    /// How many slots a walk may come to.
    fn reachable(&self) -> usize {
        self.table.slots() - self.free.len()
    }

    /// Whether so many rows were deleted that going round them is worth it.
    fn needs_repair(&self) -> bool {
        let gone = (self.reachable() - self.table.live()).saturating_sub(self.kept_dead);
        gone >= LEAST_REPAIRED && gone * REPAIR_PART >= self.table.slots()
    }

    /// Forgets all slots, none of which may be visible.
    fn clear(&mut self, parameters: &HnswParameters) {
        self.table.truncate(0);
        self.graph = Graph::new(parameters);
        (self.free, self.kept_dead) = (Vec::new(), 0);
    }

    /// Forgets what a write that failed has left: all of it if nothing was visible before, else the rows that are not linked.
    fn undo(&mut self, before: usize, was_empty: bool, parameters: &HnswParameters) {
        if was_empty {
            self.clear(parameters);
        } else {
            self.table.truncate(before.max(self.graph.linked()));
        }
    }

    /// Whether the graph is still to come: walks of cells begin when there are enough rows.
    fn waits(&self) -> bool {
        self.graph.linked() < self.table.slots()
    }
}

impl Tabled for State {
    fn table(&self) -> &Table {
        &self.table
    }

    fn table_mut(&mut self) -> &mut Table {
        &mut self.table
    }

    fn bytes(&self) -> usize {
        self.table.bytes() + self.graph.bytes()
    }

    fn describe(&self, stats: &mut Stats) {
        stats.code_bytes = self.graph.cells().map_or(0, Cells::bytes);
        stats.graph_bytes = self.graph.bytes() - stats.code_bytes;
        stats.layers = if self.graph.entry().is_some() { self.graph.layers().len() } else { 0 };
    }

    fn try_clone(&self) -> Result<State> {
        let (table, graph) = (self.table.try_clone()?, self.graph.try_clone()?);
        Ok(State { table, graph, free: self.free.clone(), kept_dead: self.kept_dead })
    }
}

/// The `schema` section of the file.
#[derive(Serialize, Deserialize)]
struct Schema {
    table: TableSchema,
    parameters: HnswParameters,
    ef_search: usize,
    graph: GraphSchema,
}

impl HnswIndex {
    /// An empty index. Rows are kept as f32 or f16; the latter only where walks do not read them.
    pub fn new(options: IndexOptions, parameters: HnswParameters) -> Result<HnswIndex> {
        check_metric(options.metric)?;
        options.check()?;
        parameters.check()?;
        check_codec(options.codec, options.metric, &parameters)?;
        let table = Table::new(options.dim, options.metric, options.codec);
        let state = State::new(table, Graph::new(&parameters));
        Ok(HnswIndex::around(Body::new(state, options.max_bytes), parameters, DEFAULT_EF))
    }

    fn around(body: Body<State>, parameters: HnswParameters, ef_search: usize) -> HnswIndex {
        HnswIndex { body, parameters, ef_search: AtomicUsize::new(ef_search), scratches: Mutex::default() }
    }

    /// How the graph is built.
    pub fn parameters(&self) -> HnswParameters {
        self.parameters
    }

    /// The beam of a search that names none.
    pub fn ef_search(&self) -> usize {
        self.ef_search.load(Ordering::Relaxed)
    }

    /// Sets the beam of a search that names none.
    pub fn set_ef_search(&self, ef: usize) -> Result<()> {
        check_ef("ef_search", ef)?;
        self.ef_search.store(ef, Ordering::Relaxed);
        Ok(())
    }

    /// The slots that new rows can have again, unless the index would grow too large.
    fn room_for(&self, intake: &Intake, writer: &Writer<'_, State>) -> Result<Vec<u32>> {
        let (state, stored) = (writer.read(), intake.stored());
        let free = &state.free[..stored.min(state.free.len())];
        let places = intake.places(free, state.table.slots());
        let grown = || state.table.growth(places, free.len()) + state.graph.growth(stored - free.len());
        self.body.check_room(&state, grown)?;
        Ok(free.to_vec())
    }

    /// The width of the beam of this search.
    fn beam(&self, search: &Search<'_>) -> usize {
        search.ef.unwrap_or_else(|| self.ef_search())
    }

    /// One query through the graph; `None` if that did not reach as many rows as there are.
    fn walk(&self, state: &State, query: Query<'_>, search: &Search<'_>, ef: usize) -> Option<TopK> {
        let mut scratch = self.scratches.lock().pop().unwrap_or_default();
        let wanted = search.k.min(eligible(state, search));
        let mut found = None;
        // Several links may bring one node into a beam, so that a narrow one can end with too few.
        for ef in [ef, ef.saturating_mul(SECOND_WALK)] {
            let (k, floor, selection) = (search.k, search.floor(), search.selection);
            let one = GraphSearch { state, query, k, floor, ef, selection, scratch: &mut scratch };
            let (top, reached) = one.run();
            if reached >= wanted {
                found = Some(top);
                break;
            }
        }
        self.scratches.lock().push(scratch);
        found
    }
}

/// How many rows a search may return.
fn eligible(state: &State, search: &Search<'_>) -> usize {
    search.selection.map_or(state.table.live(), Selection::count)
}

/// The beam that reaches as many eligible rows as `ef` would reach if all were.
fn beam_for_eligible(state: &State, search: &Search<'_>, ef: usize) -> usize {
    let reachable = state.reachable();
    let eligible = eligible(state, search).max(1);
    ef.saturating_mul(reachable).div_ceil(eligible).min(reachable).max(ef)
}

/// Whether scanning the eligible rows costs less than a walk whose beam is widened to find as many of them.
fn scan_is_cheaper(state: &State, search: &Search<'_>, ef: usize) -> bool {
    /// Distances that a walk computes for each place of its beam, a random read counted as several sequential ones.
    const DISTANCES_PER_PLACE: usize = 40;
    let walk = beam_for_eligible(state, search, ef.max(search.k)).saturating_mul(DISTANCES_PER_PLACE);
    eligible(state, search) <= walk
}

/// Refuses the metric whose rows a walk cannot read.
fn check_metric(metric: Metric) -> Result<()> {
    if metric != Metric::Hamming {
        return Ok(());
    }
    let message = "HnswIndex does not have metric 'hamming' yet; FlatIndex has it";
    Err(Error::InvalidArgument(message.to_owned()))
}

/// Refuses to keep rows in a codec that a walk, or the ranking of what it found, cannot read.
fn check_codec(codec: Codec, metric: Metric, parameters: &HnswParameters) -> Result<()> {
    if codec == Codec::F32 || codec == Codec::F16 && parameters.has_cells(metric) {
        return Ok(());
    }
    let name = codec.name();
    let message = format!(
        "HnswIndex keeps rows as 'f32', or under cosine, dot and l2 with codec 'auto' as 'f16', got '{name}' under '{}'; FlatIndex takes any codec",
        metric.name()
    );
    Err(Error::InvalidArgument(message))
}

fn check_ef(name: &str, ef: usize) -> Result<()> {
    if ef == 0 {
        return Err(Error::InvalidArgument(format!("{name} must be at least 1, got 0")));
    }
    Ok(())
}

impl Tabular for HnswIndex {
    const KIND: &'static str = "hnsw";

    type State = State;

    fn body(&self) -> &Body<State> {
        &self.body
    }

    fn with_body(&self, body: Body<State>) -> IndexFile {
        IndexFile::Hnsw(Arc::new(HnswIndex::around(body, self.parameters, self.ef_search())))
    }

    /// Stores, links and publishes rows. If that fails half way the rows stay hidden; where there was nothing before, nothing
    /// is left.
    fn put(&self, intake: &Intake, rows: &dyn RowSource, writer: &Writer<'_, State>, call: &Call<'_>) -> Result<()> {
        let was_empty = writer.read().table.live() == 0;
        if was_empty {
            writer.write().clear(&self.parameters);
        } else if writer.read().needs_repair() {
            build::repair(writer, &self.parameters, call)?;
        }
        let (stored, free) = (intake.stored(), self.room_for(intake, writer)?);
        let before = writer.read().table.slots();
        writer.write().graph.try_reserve(stored - free.len())?;
        let entries = intake.stage(writer, rows, &free, call, &|_| ())?;
        // From here on something may lead to them.
        writer.write().free.drain(..free.len());
        // A statement of its own: the guard must be gone before anything is linked.
        let id_map = writer.read().table.prepare_map(&entries);
        let linked = id_map.and_then(|id_map| build::link(writer, &self.parameters, &free, call).map(|()| id_map));
        let mut state = writer.write();
        match linked {
            Ok(id_map) => {
                state.table.publish(&entries, id_map);
                Ok(())
            }
            Err(error) => {
                state.undo(before, was_empty, &self.parameters);
                Err(error)
            }
        }
    }

    /// The beam is settled, so that all queries are answered with the same one, whoever sets another meanwhile.
    fn settle<'a>(&self, search: &Search<'a>) -> Result<Search<'a>> {
        let ef = self.beam(search);
        check_ef("ef", ef)?;
        Ok(Search { ef: Some(ef), ..*search })
    }

    fn queries_per_guard(&self, search: &Search<'_>, call: &Call<'_>) -> usize {
        // About a millisecond of work, unless every row is looked at anyway.
        if search.exact { usize::MAX } else { QUERIES_PER_THREAD * call.threads() }
    }

    /// Some queries in one state of the index: through the graph where that is worth it, and where it is not, or has not
    /// reached enough rows, by looking at all of them.
    fn search_in(
        &self,
        state: &State,
        queries: &[Query<'_>],
        search: &Search<'_>,
        call: &Call<'_>,
    ) -> Result<Vec<TopK>> {
        let ef = self.beam(search);
        let mut found = if search.exact || state.waits() || scan_is_cheaper(state, search, ef) {
            vec![None; queries.len()]
        } else {
            let ef = beam_for_eligible(state, search, ef);
            map(call, queries.len(), |i| self.walk(state, queries[i], search, ef))?
        };
        let left: Vec<usize> = (0..queries.len()).filter(|&i| found[i].is_none()).collect();
        if !left.is_empty() {
            let queries: Vec<_> = left.iter().map(|&i| queries[i]).collect();
            for (&i, top) in left.iter().zip(Scan::new(&state.table, search).run(&queries, call)?) {
                found[i] = Some(top);
            }
        }
        Ok(found.into_iter().flatten().collect())
    }

    /// The visible rows in a graph of their own.
    fn rebuild(&self, writer: &Writer<'_, State>, call: &Call<'_>) -> Result<State> {
        let table = writer.read().table.compacted()?;
        let mut graph = Graph::new(&self.parameters);
        graph.try_reserve(table.slots())?;
        let fresh = Shared::new(State::new(table, graph));
        let writer = fresh.writer(call)?;
        build::link(&writer, &self.parameters, &[], call)?;
        drop(writer);
        Ok(fresh.into_inner())
    }

    fn write(&self, state: &State, writer: &mut ContainerWriter<'_>) -> io::Result<()> {
        let schema = Schema {
            table: state.table.schema(),
            parameters: self.parameters,
            ef_search: self.ef_search(),
            graph: state.graph.schema(),
        };
        write_schema(writer, &schema)?;
        state.table.save(writer)?;
        state.graph.save(writer)
    }

    fn read(container: &Container) -> Result<HnswIndex> {
        let schema: Schema = read_schema(container)?;
        let invalid = |error: Error| container.corrupt("schema", error.to_string());
        schema.parameters.check().map_err(invalid)?;
        check_codec(schema.table.codec, schema.table.metric, &schema.parameters).map_err(invalid)?;
        if !schema.table.has_rows {
            return Err(container.corrupt("schema", "the rows are missing"));
        }
        check_ef("ef_search", schema.ef_search).map_err(invalid)?;
        let table = Table::load(container, &schema.table)?;
        let shape = (table.slots(), table.metric(), table.dim());
        if schema.table.codec != Codec::F32 && !schema.graph.walks_cells() {
            return Err(container.corrupt("schema", "a walk cannot read the rows"));
        }
        let graph = Graph::load(container, &schema.graph, &schema.parameters, shape)?;
        Ok(HnswIndex::around(Body::new(State::new(table, graph), None), schema.parameters, schema.ef_search))
    }
}
