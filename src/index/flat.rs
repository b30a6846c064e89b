//! The flat index: every row is looked at, and the answer is exact.
//!
//! Slots of deleted rows are used again; [`optimize`](Index::optimize) gives their memory back.

use super::intake::{Intake, Tabled, check_dim, check_room};
use super::scan::Scan;
use super::selection::Selection;
use super::table::{Table, TableSchema};
use super::topk::TopK;
use super::{Hits, Index, IndexFile, IndexOptions, RangeHits, Search, Stats, get_rows, read_queries, scan_range};
use crate::error::{Error, Result};
use crate::runtime::{Call, Shared, Writer};
use crate::storage::{Container, ContainerWriter};
use crate::vectors::{Codec, Metric, RowSource};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Exact search over rows in any codec.
pub struct FlatIndex {
    dim: usize,
    metric: Metric,
    codec: Codec,
    max_bytes: Option<u64>,
    state: Shared<State>,
}

struct State {
    table: Table,
    /// Slots that are not visible and may be written again.
    free: Vec<u32>,
}

impl Tabled for State {
    fn table(&self) -> &Table {
        &self.table
    }

    fn table_mut(&mut self) -> &mut Table {
        &mut self.table
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
    /// The kind of its files.
    pub(crate) const KIND: &'static str = "flat";

    /// An empty index.
    pub fn new(options: IndexOptions) -> Result<FlatIndex> {
        options.check()?;
        Ok(FlatIndex::with_table(Table::new(options.dim, options.metric, options.codec), options.max_bytes))
    }

    fn with_table(table: Table, max_bytes: Option<u64>) -> FlatIndex {
        let free = (0..table.slots()).filter(|&slot| !table.is_live(slot)).map(|slot| slot as u32).collect();
        let (dim, metric, codec) = (table.dim(), table.metric(), table.codec());
        FlatIndex { dim, metric, codec, max_bytes, state: Shared::new(State { table, free }) }
    }

    /// The index in a container.
    pub(crate) fn from_container(container: &Container) -> Result<FlatIndex> {
        let schema: Schema = super::file::read_schema(container)?;
        Ok(FlatIndex::with_table(Table::load(container, &schema.table)?, None))
    }

    fn write(state: &State, writer: &mut ContainerWriter<'_>) -> io::Result<()> {
        let schema = serde_json::to_vec(&Schema { table: state.table.schema() })?;
        writer.section("schema", |out| out.write_all(&schema))?;
        state.table.save(writer)
    }

    fn put(&self, intake: Intake, source: &dyn RowSource, writer: &Writer<'_, State>, call: &Call<'_>) -> Result<()> {
        let free = {
            let state = writer.read();
            let reused = intake.stored().min(state.free.len());
            let free = state.free[state.free.len() - reused..].to_vec();
            let growth = state.table.growth(intake.places(&free, state.table.slots()), reused);
            check_room(state.table.bytes(), growth, self.max_bytes)?;
            free
        };
        let entries = intake.stage(writer, source, &free, call, &|done| call.progress(done, source.rows()))?;
        let map = writer.read().table.prepare_map(&entries)?;
        let mut state = writer.write();
        let kept = state.free.len() - free.len();
        state.free.truncate(kept);
        let freed = state.table.publish(&entries, map);
        state.free.extend(freed);
        Ok(())
    }

    fn writable(&self) -> Result<()> {
        if self.state.read().table.is_mapped() { Err(Error::ReadOnly) } else { Ok(()) }
    }
}

impl Index for FlatIndex {
    fn dim(&self) -> usize {
        self.dim
    }

    fn metric(&self) -> Metric {
        self.metric
    }

    fn codec(&self) -> Codec {
        self.codec
    }

    fn len(&self) -> usize {
        self.state.read().table.live()
    }

    fn add(&self, rows: &dyn RowSource, ids: Option<&[i64]>, call: &Call<'_>) -> Result<Vec<i64>> {
        self.writable()?;
        let writer = self.state.writer(call)?;
        check_dim(&writer.read().table, rows)?;
        let intake = Intake::add(&writer.read().table, rows.rows(), ids)?;
        let given = intake.ids.iter().flatten().copied().collect();
        self.put(intake, rows, &writer, call)?;
        Ok(given)
    }

    fn upsert(&self, ids: &[i64], rows: &dyn RowSource, call: &Call<'_>) -> Result<usize> {
        self.writable()?;
        let writer = self.state.writer(call)?;
        check_dim(&writer.read().table, rows)?;
        let intake = Intake::upsert(rows.rows(), ids)?;
        let stored = intake.stored();
        self.put(intake, rows, &writer, call)?;
        Ok(stored)
    }

    fn delete(&self, ids: &[i64], call: &Call<'_>) -> Result<usize> {
        self.writable()?;
        let writer = self.state.writer(call)?;
        let mut state = writer.write();
        let freed = state.table.remove(ids);
        state.free.extend(&freed);
        Ok(freed.len())
    }

    fn get(&self, ids: &[i64]) -> Result<Vec<f32>> {
        get_rows(&self.state.read().table, ids)
    }

    fn contains(&self, id: i64) -> bool {
        self.state.read().table.slot_of(id).is_some()
    }

    fn ids(&self) -> Vec<i64> {
        self.state.read().table.sorted_ids()
    }

    fn search(&self, queries: &dyn RowSource, search: &Search<'_>, call: &Call<'_>) -> Result<Hits> {
        search.check()?;
        let batch = read_queries(self.dim, self.metric, queries, call)?;
        let queries = batch.queries();
        // A selection belongs to one state, so a search with one sees one state throughout.
        let per_guard = if search.selection.is_some() { queries.len().max(1) } else { QUERIES_PER_GUARD };
        let mut found = Vec::with_capacity(queries.len());
        for queries in queries.chunks(per_guard) {
            let state = self.state.read();
            if let Some(selection) = search.selection {
                selection.check(state.table.version())?;
            }
            let scan = Scan { table: &state.table, selection: search.selection, k: search.k, floor: search.floor() };
            found.extend(scan.run(queries, call)?.into_iter().map(TopK::into_sorted));
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
        let queries = read_queries(self.dim, self.metric, queries, call)?;
        scan_range(&self.state.read().table, &queries, radius, selection, call)
    }

    fn select_ids(&self, ids: &[i64]) -> Selection {
        self.state.read().table.select_ids(ids)
    }

    fn select_mask(&self, mask: &[bool]) -> Result<Selection> {
        self.state.read().table.select_mask(mask)
    }

    fn optimize(&self, call: &Call<'_>) -> Result<()> {
        self.writable()?;
        let writer = self.state.writer(call)?;
        if writer.read().table.all_live() {
            return Ok(());
        }
        let table = writer.read().table.compacted()?;
        *writer.write() = State { table, free: Vec::new() };
        Ok(())
    }

    fn stats(&self) -> Stats {
        let state = self.state.read();
        Stats {
            kind: FlatIndex::KIND,
            rows: state.table.live(),
            dead: state.table.slots() - state.table.live(),
            bytes: state.table.bytes(),
            graph_bytes: 0,
            layers: 0,
            mapped: state.table.is_mapped(),
        }
    }

    fn save(&self, path: &Path) -> Result<()> {
        let state = self.state.read();
        ContainerWriter::save(path, FlatIndex::KIND, |writer| FlatIndex::write(&state, writer))
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        let state = self.state.read();
        let written = ContainerWriter::to_bytes(FlatIndex::KIND, |writer| FlatIndex::write(&state, writer));
        written.map_err(|error| Error::io(Path::new("<bytes>"), error))
    }

    fn copy(&self) -> Result<IndexFile> {
        let table = self.state.read().table.try_clone()?;
        Ok(IndexFile::Flat(Arc::new(FlatIndex::with_table(table, self.max_bytes))))
    }
}
