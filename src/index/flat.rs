//! The flat index: every row is looked at, and the answer is exact.
//!
//! Slots of deleted rows are used again; [`optimize`](super::Index::optimize) gives their memory back.

use super::file::{read_schema, write_schema};
use super::intake::Intake;
use super::scan::Scan;
use super::table::{Table, TableSchema};
use super::tabular::{Body, Tabled, Tabular};
use super::topk::TopK;
use super::{IndexFile, IndexOptions, Search};
use crate::error::Result;
use crate::runtime::{Call, Writer};
use crate::storage::{Container, ContainerWriter};
use crate::vectors::{Query, RowSource};
use serde::{Deserialize, Serialize};
use std::io;
use std::sync::Arc;

/// Exact search over rows in any codec. What it can do is in [`Index`](super::Index).
pub struct FlatIndex {
    body: Body<State>,
}

pub(crate) struct State {
    table: Table,
    /// Slots that are not visible and may be written again.
    free: Vec<u32>,
}

impl State {
    fn new(table: Table) -> State {
        let free = (0..table.slots()).filter(|&slot| !table.is_live(slot)).map(|slot| slot as u32).collect();
        State { table, free }
    }
}

impl Tabled for State {
    fn table(&self) -> &Table {
        &self.table
    }

    fn table_mut(&mut self) -> &mut Table {
        &mut self.table
    }

    fn freed(&mut self, slots: &[u32]) {
        self.free.extend(slots);
    }

    fn try_clone(&self) -> Result<State> {
        Ok(State::new(self.table.try_clone()?))
    }
}

/// The `schema` section of the file.
#[derive(Serialize, Deserialize)]
struct Schema {
    table: TableSchema,
}

/// How many queries are answered under one guard: enough that reading the rows costs little beside them.
const QUERIES_PER_GUARD: usize = 256;

impl FlatIndex {
    /// An empty index.
    pub fn new(options: IndexOptions) -> Result<FlatIndex> {
        options.check()?;
        let state = State::new(Table::new(options.dim, options.metric, options.codec));
        Ok(FlatIndex { body: Body::new(state, options.max_bytes) })
    }
}

impl Tabular for FlatIndex {
    const KIND: &'static str = "flat";

    type State = State;

    fn body(&self) -> &Body<State> {
        &self.body
    }

    fn with_body(&self, body: Body<State>) -> IndexFile {
        IndexFile::Flat(Arc::new(FlatIndex { body }))
    }

    fn put(&self, intake: &Intake, rows: &dyn RowSource, writer: &Writer<'_, State>, call: &Call<'_>) -> Result<()> {
        let free = {
            let state = writer.read();
            let reused = intake.stored().min(state.free.len());
            let free = state.free[state.free.len() - reused..].to_vec();
            let places = intake.places(&free, state.table.slots());
            self.body.check_room(&state, || state.table.growth(places, reused))?;
            free
        };
        let entries = intake.stage(writer, rows, &free, call, &|done| call.progress(done, rows.rows()))?;
        let map = writer.read().table.prepare_map(&entries)?;
        let mut state = writer.write();
        let kept = state.free.len() - free.len();
        state.free.truncate(kept);
        let freed = state.table.publish(&entries, map);
        state.freed(&freed);
        Ok(())
    }

    fn queries_per_guard(&self, _search: &Search<'_>, _call: &Call<'_>) -> usize {
        QUERIES_PER_GUARD
    }

    fn search_in(
        &self,
        state: &State,
        queries: &[Query<'_>],
        search: &Search<'_>,
        call: &Call<'_>,
    ) -> Result<Vec<TopK>> {
        Scan::new(&state.table, search).run(queries, call)
    }

    fn rebuild(&self, writer: &Writer<'_, State>, _call: &Call<'_>) -> Result<State> {
        Ok(State::new(writer.read().table.compacted()?))
    }

    fn write(&self, state: &State, writer: &mut ContainerWriter<'_>) -> io::Result<()> {
        write_schema(writer, &Schema { table: state.table.schema() })?;
        state.table.save(writer)
    }

    fn read(container: &Container) -> Result<FlatIndex> {
        let schema: Schema = read_schema(container)?;
        let state = State::new(Table::load(container, &schema.table)?);
        Ok(FlatIndex { body: Body::new(state, None) })
    }
}
