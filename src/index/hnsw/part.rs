//! The linked part of an index in a file of its own, beside rows that are in another.
//!
//! What is dear about a graph is to link it. A store, which has its rows in files already, keeps of an index only that: the links, and
//! whatever walks read along with them. Rows are linked in the order of their slots, so the linked ones are the first; the file is
//! for them, and goes with a file of rows in the same order. Both are taken over as they lie there, so that opening costs the same
//! however many rows there are.

use super::graph::{Graph, GraphSchema};
use super::state::State;
use super::{HnswIndex, HnswParameters};
use crate::error::Result;
use crate::index::IndexOptions;
use crate::index::file::{read_schema, write_schema};
use crate::index::selection::Bits;
use crate::index::table::Table;
use crate::index::tabular::{Tabled, Tabular};
use crate::runtime::{Call, ReadGuard, Writer};
use crate::storage::{Container, ContainerWriter};
use crate::vectors::{Codec, Metric};
use serde::{Deserialize, Serialize};
use std::io;
use std::ops::Range;

/// The linked rows of an index, held still.
pub(crate) struct LinkedPart<'a> {
    // In this order: whoever waits for the turn must not find a guard.
    state: ReadGuard<'a, State>,
    _turn: Writer<'a, State>,
    parameters: HnswParameters,
}

/// The `schema` section of the file.
#[derive(Serialize, Deserialize)]
struct PartSchema {
    dim: usize,
    metric: Metric,
    codec: Codec,
    rows: usize,
    parameters: HnswParameters,
    graph: GraphSchema,
}

impl HnswIndex {
    /// How many slots are linked.
    pub(crate) fn linked(&self) -> usize {
        self.body().read().graph.linked()
    }

    /// Keeps everybody from changing the index while its linked part is looked at. Searches go on.
    pub(crate) fn linked_part(&self, call: &Call<'_>) -> Result<LinkedPart<'_>> {
        let turn = self.body().writer(call)?;
        Ok(LinkedPart { state: self.body().read(), _turn: turn, parameters: self.parameters })
    }

    /// The index whose linked part `graph` has, over the rows and terms that another file has, with ids that are slots. Both were opened to be
    /// taken. Only the rows in `live` are visible.
    pub(crate) fn over(
        options: IndexOptions,
        parameters: HnswParameters,
        graph: &Container,
        rows: &Container,
        live: Bits,
    ) -> Result<HnswIndex> {
        let index = HnswIndex::new(options, parameters)?;
        let schema: PartSchema = read_schema(graph)?;
        let same = (schema.dim, schema.metric, schema.codec) == (options.dim, options.metric, options.codec);
        if !same || schema.parameters != parameters {
            return Err(graph.corrupt("schema", "it belongs to another index"));
        }
        if schema.codec != Codec::F32 && !schema.graph.walks_cells() {
            return Err(graph.corrupt("schema", "a walk cannot read the rows"));
        }
        let table = Table::over(&options, rows, schema.rows, live)?;
        let linked = Graph::load(graph, &schema.graph, &parameters, &table)?;
        Ok(index.with_state(State::new(table, linked)))
    }
}

impl LinkedPart<'_> {
    /// How many slots are linked.
    pub(crate) fn len(&self) -> usize {
        self.state.graph.linked()
    }

    /// The id of a slot, or the one it had, and whether it still has a row.
    pub(crate) fn id(&self, slot: usize) -> (i64, bool) {
        (self.state.table.id(slot), self.state.table.is_live(slot))
    }

    /// The values of the rows in these slots, deleted ones too: walks step on them.
    pub(crate) fn values(&self, slots: Range<usize>) -> Vec<f32> {
        let slots: Vec<u32> = slots.map(|slot| slot as u32).collect();
        let mut values = vec![0.0; slots.len() * self.state.table.dim()];
        self.state.read_rows(&slots, &mut values);
        values
    }

    /// Writes the sections of the file.
    pub(crate) fn write(&self, writer: &mut ContainerWriter<'_>) -> io::Result<()> {
        let State { table, graph, .. } = &*self.state;
        let schema = PartSchema {
            dim: table.dim(),
            metric: table.metric(),
            codec: table.codec(),
            rows: self.len(),
            parameters: self.parameters,
            graph: graph.schema(),
        };
        write_schema(writer, &schema)?;
        graph.save(self.len(), writer)
    }
}
