//! The graph index: hierarchical navigable small worlds (Malkov and Yashunin, arXiv 1603.09320).
//!
//! [`graph`] is the data, [`ground`] what distances are measured on, [`walk`] the loop that everything spends its time in, [`order`] says which
//! rows lie side by side, [`build`] links new rows, [`answer`] decides which way a search goes, and [`search`] goes it; [`calibrate`] measures how wide a beam must be. Deleted
//! rows stay in the graph, hidden, as steps between others, until there are enough of them to link the others round them; then new rows
//! take their slots. [`optimize`](super::Index::optimize) builds a graph without them. A search never returns fewer rows than there are:
//! what the graph does not reach, a scan does.

mod answer;
mod beam;
mod build;
mod calibrate;
mod course;
mod gather;
mod graph;
mod ground;
mod order;
mod parameters;
mod part;
mod pivots;
mod search;
mod settle;
mod start;
mod state;
mod walk;

pub use parameters::{GraphCodec, HnswParameters};
pub(crate) use part::LinkedPart;

use super::file::{read_schema, write_schema};
use super::intake::Intake;
use super::table::{Table, TableSchema};
use super::tabular::{Body, Tabled, Tabular};
use super::topk::TopK;
use super::{IndexFile, IndexOptions, Search};
use crate::error::{Error, Result};
use crate::runtime::{Call, Shared, Writer};
use crate::storage::{Container, ContainerWriter};
use crate::vectors::{Codec, Query, RowSource};
use answer::Answer;
use build::Linking;
use calibrate::{Calibration, check_recall};
use graph::{Graph, GraphSchema};
use parameters::{check_codec, check_ef, check_metric};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use settle::encode_rest;
use state::State;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use walk::Scratches;

/// Rows that are linked together where links come later. Whoever links so many at a time, whenever that is, makes the same graph.
pub(crate) const CATCH_UP_ROWS: usize = 32;

/// How many queries a thread answers under one guard.
const QUERIES_PER_THREAD: usize = 64;

/// The beam of a search that names none.
const DEFAULT_EF: usize = 64;

/// Approximate search through a graph. What it can do is in [`Index`](super::Index).
pub struct HnswIndex {
    body: Body<State>,
    parameters: HnswParameters,
    ef_search: AtomicUsize,
    /// Its bits; none are a recall of 0, and say that there is none.
    recall: AtomicU32,
    /// Locked under a guard of the body only, so that no fork finds it locked.
    calibration: Mutex<Option<Calibration>>,
    links_later: AtomicBool,
    scratches: Scratches,
}

/// The `schema` section of the file.
#[derive(Serialize, Deserialize)]
struct Schema {
    table: TableSchema,
    parameters: HnswParameters,
    ef_search: usize,
    /// Of a search that names neither a beam nor a recall, if it is to have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    recall: Option<f32>,
    graph: GraphSchema,
}

impl HnswIndex {
    /// An empty index. Rows are kept as f32 or f16, the latter only where walks do not read them; or, with [`GraphCodec::Lean`], not at all.
    pub fn new(options: IndexOptions, parameters: HnswParameters) -> Result<HnswIndex> {
        check_metric(options.metric)?;
        options.check()?;
        parameters.check()?;
        check_codec(options.codec, options.metric, &parameters)?;
        let table = Table::new(options.dim, options.metric, options.codec);
        let state = State::new(table, Graph::new(&parameters));
        Ok(HnswIndex::around(Body::new(state, options.max_bytes), parameters, DEFAULT_EF, None))
    }

    fn around(body: Body<State>, parameters: HnswParameters, ef_search: usize, recall: Option<f32>) -> HnswIndex {
        HnswIndex {
            body,
            parameters,
            ef_search: AtomicUsize::new(ef_search),
            recall: AtomicU32::new(recall.map_or(0, f32::to_bits)),
            calibration: Mutex::default(),
            links_later: AtomicBool::new(false),
            scratches: Scratches::default(),
        }
    }

    /// The same index with other rows and another graph.
    fn with_state(self, state: State) -> HnswIndex {
        HnswIndex { body: Body::new(state, None), ..self }
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

    /// The recall of a search that names neither a beam nor a recall; `None`: it has the beam `ef_search`.
    pub fn recall(&self) -> Option<f32> {
        let recall = f32::from_bits(self.recall.load(Ordering::Relaxed));
        (recall > 0.0).then_some(recall)
    }

    /// Sets the recall of a search that names neither a beam nor a recall.
    pub fn set_recall(&self, recall: Option<f32>) -> Result<()> {
        recall.map_or(Ok(()), check_recall)?;
        self.recall.store(recall.map_or(0, f32::to_bits), Ordering::Relaxed);
        Ok(())
    }

    /// Whether writes leave rows unlinked: searches look at each of these until [`catch_up`](super::Index::catch_up) links them. Then rows lie in the
    /// order in which they came, however many they are.
    pub fn link_later(&self, later: bool) {
        self.links_later.store(later, Ordering::Relaxed);
    }

    /// The slots that new rows can have again, if they are linked at once, and whether the others are put in order; unless the index would grow too large.
    fn room_for(&self, intake: &Intake, writer: &Writer<'_, State>, later: bool) -> Result<(Vec<u32>, bool)> {
        let (state, stored) = (writer.read(), intake.stored());
        let free = &state.free[..if later { 0 } else { stored.min(state.free.len()) }];
        let appended = stored - free.len();
        let has_order = self.has_order(&state, appended, later);
        let places = intake.places(free, state.table.slots());
        let grown =
            || state.table.growth(places, free.len(), !has_order) + state.graph_growth(appended, &self.parameters);
        self.body.check_room(&state, grown)?;
        Ok((free.to_vec(), has_order))
    }
}

impl Tabular for HnswIndex {
    const KIND: &'static str = "hnsw";

    const SCANS: bool = false;

    type State = State;

    fn body(&self) -> &Body<State> {
        &self.body
    }

    fn with_body(&self, body: Body<State>) -> IndexFile {
        IndexFile::Hnsw(Arc::new(HnswIndex::around(body, self.parameters, self.ef_search(), self.recall())))
    }

    /// Stores, links and publishes rows. If that fails half way the rows stay hidden; where there was nothing before, nothing
    /// is left.
    fn put(&self, intake: &Intake, rows: &dyn RowSource, writer: &Writer<'_, State>, call: &Call<'_>) -> Result<()> {
        let was_empty = writer.read().table.live() == 0;
        let repaired = !was_empty && writer.read().needs_repair();
        if was_empty {
            writer.write().clear(&self.parameters);
        } else if repaired {
            build::repair(writer, &self.parameters, call)?;
        }
        let later = self.links_later.load(Ordering::Relaxed);
        let (free, has_order) = self.room_for(intake, writer, later)?;
        let before = writer.read().table.slots();
        let mut entries = intake.stage(writer, rows, &free, call, &|_| ())?;
        // From here on something may lead to them.
        if !free.is_empty() {
            writer.write().free.drain(..free.len());
        }
        let arranged = if has_order { order::arrange(writer, before, &mut entries, call) } else { Ok(()) };
        // A statement of its own: the guard must be gone before anything is linked.
        let id_map = arranged.and_then(|()| writer.read().table.prepare_map(&entries));
        let most = if later { 0 } else { usize::MAX };
        let linking = Linking { reused: &free, most, repaired, ..Linking::ALL };
        let linked = id_map.and_then(|id_map| build::link(writer, &self.parameters, linking, call).map(|()| id_map));
        let linked = linked.and_then(|id_map| encode_rest(writer, &self.parameters, call).map(|()| id_map));
        let mut state = writer.write();
        match linked {
            Ok(id_map) => {
                state.table.publish(&entries, id_map);
                if !self.parameters.keeps_rows() && state.graph.cells().is_some() {
                    state.table.drop_rows();
                }
                state.changes += entries.len();
                Ok(())
            }
            Err(error) => {
                state.undo(before, was_empty, &self.parameters);
                Err(error)
            }
        }
    }

    /// The beam is settled, so that all queries are answered with the same one, whoever sets another meanwhile.
    fn settle<'a>(&self, search: &Search<'a>, call: &Call<'_>) -> Result<Search<'a>> {
        let ef = match (search.ef, search.recall.or(self.recall())) {
            (Some(_), _) if search.recall.is_some() => {
                let message = "a search takes ef or recall, not both".to_owned();
                return Err(Error::InvalidArgument(message));
            }
            (Some(ef), _) => ef,
            (None, Some(recall)) if !search.exact => self.beam_for(recall, call)?,
            _ => self.ef_search(),
        };
        check_ef("ef", ef)?;
        Ok(Search { ef: Some(ef), ..*search })
    }

    fn queries_per_guard(&self, search: &Search<'_>, call: &Call<'_>) -> usize {
        // About a millisecond of work, unless every row is looked at anyway.
        if search.exact { usize::MAX } else { QUERIES_PER_THREAD * call.threads() }
    }

    fn search_in(
        &self,
        state: &State,
        queries: &[Query<'_>],
        search: &Search<'_>,
        call: &Call<'_>,
    ) -> Result<Vec<TopK>> {
        let ef = search.ef.unwrap_or_else(|| self.ef_search());
        Answer { state, search, ef, scratches: &self.scratches }.run(queries, call)
    }

    fn link_pending(&self, writer: &Writer<'_, State>, most: usize, call: &Call<'_>) -> Result<usize> {
        build::link(writer, &self.parameters, Linking { most, batch: CATCH_UP_ROWS, ..Linking::ALL }, call)?;
        Ok(writer.read().pending())
    }

    fn gains_by_rebuild(&self, state: &State) -> bool {
        state.dead() > 0 || self.lacks_order(state)
    }

    /// The visible rows in a graph of their own.
    fn rebuild(&self, writer: &Writer<'_, State>, call: &Call<'_>) -> Result<State> {
        let slots = self.in_order(writer, call)?;
        let (table, mut graph, changes) = {
            let state = writer.read();
            // Rows that are kept are coded anew; codes stay what they are.
            let graph = match state.codes() {
                Some(cells) => Graph::with_cells(&self.parameters, cells.gathered(&slots)?),
                None => Graph::new(&self.parameters),
            };
            (state.table.compacted(&slots)?, graph, state.changes)
        };
        graph.try_reserve(table.slots())?;
        // The rows are the same, and what was calibrated before still holds.
        let fresh = Shared::new(State { changes, ..State::new(table, graph) });
        let writer = fresh.writer(call)?;
        build::link(&writer, &self.parameters, Linking::ALL, call)?;
        drop(writer);
        Ok(fresh.into_inner())
    }

    fn write(&self, state: &State, writer: &mut ContainerWriter<'_>) -> io::Result<()> {
        let schema = Schema {
            table: state.table.schema(),
            parameters: self.parameters,
            ef_search: self.ef_search(),
            recall: self.recall(),
            graph: state.graph.schema(),
        };
        write_schema(writer, &schema)?;
        state.table.save(writer)?;
        let coded = if state.table.has_rows() { state.graph.linked() } else { state.table.slots() };
        state.graph.save(coded, writer)
    }

    fn read(container: &Container) -> Result<HnswIndex> {
        let schema: Schema = read_schema(container)?;
        let invalid = |error: Error| container.corrupt("schema", error.to_string());
        schema.parameters.check().map_err(invalid)?;
        check_codec(schema.table.codec, schema.table.metric, &schema.parameters).map_err(invalid)?;
        if !schema.table.has_rows && (schema.parameters.keeps_rows() || !schema.graph.has_cells()) {
            return Err(container.corrupt("schema", "the rows are missing"));
        }
        check_ef("ef_search", schema.ef_search).map_err(invalid)?;
        schema.recall.map_or(Ok(()), check_recall).map_err(invalid)?;
        let table = Table::load(container, &schema.table)?;
        if schema.table.codec != Codec::F32 && !schema.graph.walks_cells() {
            return Err(container.corrupt("schema", "a walk cannot read the rows"));
        }
        let graph = Graph::load(container, &schema.graph, &schema.parameters, &table)?;
        Ok(HnswIndex::around(
            Body::new(State::new(table, graph), None),
            schema.parameters,
            schema.ef_search,
            schema.recall,
        ))
    }
}
