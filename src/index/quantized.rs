//! The quantized index: a scan of small codes, whose best rows may be scored again from the rows themselves.
//!
//! Without rows (`keep` none) the score of a row is the estimate from its code: nothing else is known of it. With rows, in memory or
//! in a mapped file, the best `rerank * k` estimates are candidates, and their canonical scores decide. Until there are enough
//! rows to centre codes on, all rows are kept and searched exactly.

use super::coded::{Coded, CodedSchema, PlaneSpec};
use super::file::{read_schema, write_schema};
use super::intake::Intake;
use super::rerank::rerank;
use super::scan::Scan;
use super::sieve::Sieve;
use super::table::Table;
use super::tabular::{Body, Tabled, Tabular};
use super::topk::TopK;
use super::{IndexFile, IndexOptions, Search};
use crate::error::{Error, Result};
use crate::runtime::{Call, Writer};
use crate::storage::{Container, ContainerWriter};
use crate::vectors::{Code, Codec, Coding, Metric, Purpose, Query, RowSource, n8, rabitq, turbo};
use serde::{Deserialize, Serialize};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How a quantized index keeps its rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuantizedParameters {
    /// Bits a value, 1 to 8: `rabitq1`, `turbo2`, `turbo3`, `turbo4`, `rabitq5`, `rabitq6`, `rabitq7`, `n8`.
    pub bits: u32,
    /// Whether rows are kept beside the codes, in the codec of the options.
    pub keep: bool,
    /// Decides the rotation. The same rows with the same seed have the same codes.
    pub seed: u64,
}

impl Default for QuantizedParameters {
    fn default() -> QuantizedParameters {
        QuantizedParameters { bits: 4, keep: false, seed: 0 }
    }
}

impl QuantizedParameters {
    fn check(&self) -> Result<()> {
        if (1..=8).contains(&self.bits) {
            return Ok(());
        }
        Err(Error::InvalidArgument(format!(
            "bits must be 1 to 8, got {}; FlatIndex keeps 16 or 32 with the codecs 'f16' and 'f32'",
            self.bits
        )))
    }

    fn code(&self) -> Code {
        match self.bits {
            2..=4 => turbo(self.bits),
            8 => n8(),
            bits => rabitq(bits),
        }
    }

    fn spec(&self) -> PlaneSpec {
        PlaneSpec { purpose: Purpose::Estimate, code: self.code(), seed: self.seed, keeps_rows: self.keep }
    }
}

/// Search over codes. What it can do is in [`Index`](super::Index); `exact` asks for a scan of the rows, where they are kept.
pub struct QuantizedIndex {
    body: Body<Coded>,
    parameters: QuantizedParameters,
    /// The bits of an f64.
    rerank: AtomicU64,
}

/// The `schema` section of the file.
#[derive(Serialize, Deserialize)]
struct Schema {
    #[serde(flatten)]
    coded: CodedSchema,
    parameters: QuantizedParameters,
    rerank: f64,
}

/// How many candidates there are for each row that is wanted, unless somebody says otherwise.
const DEFAULT_RERANK: f64 = 4.0;

impl QuantizedIndex {
    /// An empty index. The codec of the options is that of the rows beside the codes.
    pub fn new(options: IndexOptions, parameters: QuantizedParameters) -> Result<QuantizedIndex> {
        check_metric(options.metric)?;
        options.check()?;
        parameters.check()?;
        let codec = if parameters.keep { options.codec } else { Codec::F32 };
        let state = Coded::new(Table::new(options.dim, options.metric, codec), Some(parameters.spec()), None);
        Ok(QuantizedIndex::around(Body::new(state, options.max_bytes), parameters, DEFAULT_RERANK))
    }

    fn around(body: Body<Coded>, parameters: QuantizedParameters, rerank: f64) -> QuantizedIndex {
        QuantizedIndex { body, parameters, rerank: AtomicU64::new(rerank.to_bits()) }
    }

    /// How its rows are kept.
    pub fn parameters(&self) -> QuantizedParameters {
        self.parameters
    }

    /// The name of its code.
    pub fn code(&self) -> &'static str {
        self.parameters.code().name
    }

    /// How many candidates are scored again for each row that is wanted.
    pub fn rerank(&self) -> f64 {
        f64::from_bits(self.rerank.load(Ordering::Relaxed))
    }

    /// Sets how many candidates are scored again for each row that is wanted: at least 1.
    pub fn set_rerank(&self, rerank: f64) -> Result<()> {
        check_rerank(rerank)?;
        self.rerank.store(rerank.to_bits(), Ordering::Relaxed);
        Ok(())
    }
}

fn check_rerank(rerank: f64) -> Result<()> {
    if rerank.is_finite() && rerank >= 1.0 {
        return Ok(());
    }
    Err(Error::InvalidArgument(format!(
        "rerank must be a finite number of at least 1, got {rerank}; it says how many rows are scored for each that is wanted"
    )))
}

fn check_metric(metric: Metric) -> Result<()> {
    if Coding::serves(metric) {
        return Ok(());
    }
    Err(Error::InvalidArgument(format!(
        "QuantizedIndex serves the metrics 'cosine', 'dot' and 'l2', got '{}'; FlatIndex serves all",
        metric.name()
    )))
}

impl Tabular for QuantizedIndex {
    const KIND: &'static str = "quantized";

    type State = Coded;

    fn body(&self) -> &Body<Coded> {
        &self.body
    }

    fn with_body(&self, body: Body<Coded>) -> IndexFile {
        IndexFile::Quantized(Arc::new(QuantizedIndex::around(body, self.parameters, self.rerank())))
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
        let has_rows = state.table().has_rows();
        let plane = if has_rows && search.exact { None } else { state.useful_plane(search) };
        let Some(plane) = plane else {
            return Scan::new(state.table(), search).run(queries, call);
        };
        if !has_rows {
            let sifted = Sieve::new(plane, state.table(), search).run(queries, call)?;
            state.looks().count(&sifted);
            return Ok(sifted.into_iter().map(|sifted| sifted.top).collect());
        }
        // Candidates are the best of all: whether a score is high enough is for the rows to say.
        let k = (search.k as f64 * self.rerank()).ceil() as usize;
        let candidates =
            Sieve::new(plane, state.table(), &Search { k, min_score: None, ..*search }).run(queries, call)?;
        state.looks().count(&candidates);
        let candidates = candidates.into_iter().map(|sifted| sifted.top).collect();
        rerank(state.table(), queries, candidates, search, call)
    }

    fn rebuild(&self, writer: &Writer<'_, Coded>, call: &Call<'_>) -> Result<Coded> {
        writer.read().rebuilt(call)
    }

    fn write(&self, state: &Coded, writer: &mut ContainerWriter<'_>) -> io::Result<()> {
        let schema = Schema { coded: state.schema(), parameters: self.parameters, rerank: self.rerank() };
        write_schema(writer, &schema)?;
        state.save(writer)
    }

    fn read(container: &Container) -> Result<QuantizedIndex> {
        let schema: Schema = read_schema(container)?;
        let invalid = |error: Error| container.corrupt("schema", error.to_string());
        schema.parameters.check().map_err(invalid)?;
        check_rerank(schema.rerank).map_err(invalid)?;
        check_metric(schema.coded.table.metric).map_err(invalid)?;
        let state = Coded::load(container, &schema.coded, Some(schema.parameters.spec()))?;
        Ok(QuantizedIndex::around(Body::new(state, None), schema.parameters, schema.rerank))
    }
}
