//! The flat index: every row is looked at, and the answer is exact.
//!
//! Beside the rows lies a plane of four bits a value, unless it is not wanted. Its bounds rule nearly all rows out (see
//! [`Plane`](crate::vectors::Plane)), and the canonical scores of the others decide: the answer is that of a scan of all rows, at an
//! eighth of the bytes. Rows that lie in files are read there from the first search on, and get their codes later; until then they are all
//! that is looked at. Slots of deleted rows are used again; [`optimize`](super::Index::optimize) gives their memory back.

use super::coded::{Coded, CodedSchema, PlaneSpec};
use super::file::{read_schema, write_schema};
use super::intake::Intake;
use super::lent::LentPart;
use super::scan::Scan;
use super::selection::Selection;
use super::sieve::Sieve;
use super::table::Table;
use super::tabular::{Body, Tabled, Tabular};
use super::topk::TopK;
use super::{IndexFile, IndexOptions, Search};
use crate::error::Result;
use crate::kernel::BLOCK_ROWS;
use crate::runtime::{Call, Writer};
use crate::storage::{Container, ContainerWriter};
use crate::vectors::{Coding, Metric, Purpose, Query, RowSource, rabitq};
use serde::{Deserialize, Serialize};
use std::io;
use std::sync::Arc;

/// Exact search over rows in any codec. What it can do is in [`Index`](super::Index).
pub struct FlatIndex {
    body: Body<Coded>,
    accelerate: bool,
}

/// The `schema` section of the file.
#[derive(Serialize, Deserialize)]
struct Schema {
    #[serde(flatten)]
    coded: CodedSchema,
    accelerate: bool,
}

/// The codes that rule rows out.
fn spec(metric: Metric, accelerate: bool) -> Option<PlaneSpec> {
    let spec = PlaneSpec { purpose: Purpose::Certify, code: rabitq(4), seed: 0, keeps_rows: true };
    (accelerate && Coding::serves(metric)).then_some(spec)
}

impl FlatIndex {
    /// An empty index that keeps codes of four bits a value beside the rows: they make searches several times as fast, and
    /// change no answer.
    pub fn new(options: IndexOptions) -> Result<FlatIndex> {
        FlatIndex::with_codes(options, true)
    }

    /// An empty index that keeps nothing but the rows.
    pub fn without_codes(options: IndexOptions) -> Result<FlatIndex> {
        FlatIndex::with_codes(options, false)
    }

    fn with_codes(options: IndexOptions, accelerate: bool) -> Result<FlatIndex> {
        options.check()?;
        let table = Table::new(options.dim, options.metric, options.codec);
        let state = Coded::new(table, spec(options.metric, accelerate), None);
        Ok(FlatIndex { body: Body::new(state, options.max_bytes), accelerate })
    }

    /// An index of rows that lie in files, which must stay as they are; and the first id of each part. Ids in a part follow each other. There are
    /// codes once [`catch_up`](super::Index::catch_up) has made them.
    pub(crate) fn over(options: IndexOptions, parts: Vec<LentPart>) -> Result<(FlatIndex, Vec<i64>)> {
        options.check()?;
        let state = Coded::lent(&options, spec(options.metric, true), parts)?;
        let firsts = state.lent_from().map(|first| first as i64).collect();
        Ok((FlatIndex { body: Body::new(state, options.max_bytes), accelerate: true }, firsts))
    }

    /// Whether there are, or once there are enough rows will be, codes beside them.
    pub fn accelerates(&self) -> bool {
        self.accelerate
    }
}

impl Tabular for FlatIndex {
    const KIND: &'static str = "flat";

    type State = Coded;

    fn body(&self) -> &Body<Coded> {
        &self.body
    }

    fn with_body(&self, body: Body<Coded>) -> IndexFile {
        IndexFile::Flat(Arc::new(FlatIndex { body, accelerate: self.accelerate }))
    }

    fn put(&self, intake: &Intake, rows: &dyn RowSource, writer: &Writer<'_, Coded>, call: &Call<'_>) -> Result<()> {
        Coded::put(&self.body, intake, rows, writer, call)
    }

    fn search_in(
        &self,
        state: &Coded,
        queries: &[Query<'_>],
        search: &Search<'_>,
        call: &Call<'_>,
    ) -> Result<Vec<TopK>> {
        state.check_for(search, call)?;
        let Some(plane) = state.useful_plane(search).filter(|_| suits(state, queries, search)) else {
            return Scan::new(state.table(), search).run(queries, call);
        };
        let mut sifted = Sieve::new(plane, state.table(), search).run(queries, call)?;
        state.looks().count(&sifted);
        let given_up: Vec<usize> = (0..queries.len()).filter(|&i| sifted[i].given_up).collect();
        if !given_up.is_empty() {
            let queries: Vec<_> = given_up.iter().map(|&i| queries[i]).collect();
            for (&i, top) in given_up.iter().zip(Scan::new(state.table(), search).run(&queries, call)?) {
                sifted[i].top = top;
            }
        }
        Ok(sifted.into_iter().map(|sifted| sifted.top).collect())
    }

    /// Makes codes that are still to be made, of a step of rows at least.
    fn link_pending(&self, writer: &Writer<'_, Coded>, most: usize, call: &Call<'_>) -> Result<usize> {
        let before = writer.read().pending();
        let mut left = before;
        while left > 0 && before - left < most {
            call.check()?;
            left = Coded::grow_plane(writer, call)?;
        }
        Ok(left)
    }

    fn rebuild(&self, writer: &Writer<'_, Coded>, call: &Call<'_>) -> Result<Coded> {
        writer.read().rebuilt(call)
    }

    fn write(&self, state: &Coded, writer: &mut ContainerWriter<'_>) -> io::Result<()> {
        write_schema(writer, &Schema { coded: state.schema(), accelerate: self.accelerate })?;
        state.save(writer)
    }

    fn read(container: &Container) -> Result<FlatIndex> {
        let schema: Schema = read_schema(container)?;
        let spec = spec(schema.coded.table.metric, schema.accelerate);
        let state = Coded::load(container, &schema.coded, spec)?;
        Ok(FlatIndex { body: Body::new(state, None), accelerate: schema.accelerate })
    }
}

/// How many rows of codes take as long as one row: a row has eight times the bytes, of which the first take the longest to come; and if a batch has more
/// queries than `TOGETHER`, they read a row once for all of them, but compare it no faster than this.
fn row_in_codes(dim: usize, queries: usize) -> f32 {
    const TOGETHER: f32 = 6.0;
    const LEAST: f32 = 2.5;
    let alone = 6.0 + 512.0 / dim as f32;
    (alone * (TOGETHER / queries as f32).min(1.0)).max(LEAST)
}

/// Whether codes are certain for these queries, and the shorter way: they are read by the block, also where few rows of a block are selected. (Where the ways
/// cross was measured among rows of 128, 384 and 1,024 values, for 1 to 128 queries.)
fn suits(state: &Coded, queries: &[Query<'_>], search: &Search<'_>) -> bool {
    let table = state.table();
    let is_shorter = |selection: &Selection| {
        let most = (selection.count() as f32 * row_in_codes(table.dim(), queries.len())) as usize;
        table.slots() <= most || selection.blocks() * BLOCK_ROWS <= most
    };
    search.selection.is_none_or(is_shorter) && queries.iter().all(Coding::is_certain_of)
}
