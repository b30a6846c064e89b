//! What the unsafe code earns, measured from outside: the kernels are private, so each benchmark is a search or a build in which
//! one of them does nearly all the work.
//!
//! ```text
//! cargo bench --bench kernels                                # all
//! cargo bench --bench kernels -- flat                        # those whose name has "flat" in it
//! cargo bench --bench kernels -- --test                      # each once, to see that they run
//! NEARFIELD_SIMD=portable cargo bench --bench kernels        # also: avx2, avx512, neon
//! ```
//!
//! Run it twice with different `NEARFIELD_SIMD` to compare instruction sets; the level in use is printed first. `flat_one_query`
//! reads every row once, so its GB/s are to be held against what the memory gives; `flat_batch` reads them once for many
//! queries, so it shows the arithmetic: of an inner product, or with `_l1` of absolute differences, with `_hamming` of
//! differing bits. Everything runs on one thread, on the same rows each time.

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use nearfield::{Call, FlatIndex, GraphCodec, HnswIndex, HnswParameters, Index, IndexOptions, Metric, Rows, Search};
use std::sync::LazyLock;

const ROWS: usize = 20_000;
const BUILT_ROWS: usize = 2_000;
const BATCH: usize = 256;
const GRAPH_DIM: usize = 128;
const DIMS: [usize; 3] = [128, 384, 1024];

fn main() {
    eprintln!("instruction set: {}", nearfield::simd_level());
    divan::main();
}

/// `count` rows of values between -1 and 1; SplitMix64 (Steele, Lea and Flood, 2014).
fn values(seed: u64, count: usize, dim: usize) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count * dim).map(|_| next()).collect()
}

fn rows(values: &[f32], dim: usize) -> Rows<'_> {
    Rows::new(values, dim).expect("whole rows")
}

/// Such rows as the metric takes.
fn values_for(metric: Metric, seed: u64, count: usize, dim: usize) -> Vec<f32> {
    let mut values = values(seed, count, dim);
    if metric == Metric::Hamming {
        values.iter_mut().for_each(|value| *value = f32::from(*value > 0.0));
    }
    values
}

fn fill(index: &dyn Index, count: usize) {
    let (dim, call) = (index.dim(), Call::uninterrupted());
    index.add(&rows(&values_for(index.metric(), 1, count, dim), dim), None, &call).expect("good rows");
}

fn flat(dim: usize, metric: Metric) -> FlatIndex {
    let index = FlatIndex::new(IndexOptions::new(dim, metric)).expect("a good dim");
    fill(&index, ROWS);
    index
}

fn empty_graph() -> HnswIndex {
    let parameters = HnswParameters::for_size(ROWS, Metric::Cosine, GraphCodec::Auto);
    HnswIndex::new(IndexOptions::new(GRAPH_DIM, Metric::Cosine), parameters).expect("good parameters")
}

static GRAPH: LazyLock<HnswIndex> = LazyLock::new(|| {
    let index = empty_graph();
    fill(&index, ROWS);
    index
});

fn one_query(bencher: Bencher<'_, '_>, dim: usize, metric: Metric) {
    let (index, query) = (flat(dim, metric), values_for(metric, 2, 1, dim));
    let bytes = if metric == Metric::Hamming { dim / 8 } else { dim * size_of::<f32>() };
    bencher.counter(BytesCount::new(ROWS * bytes)).bench_local(|| {
        index.search(&rows(&query, dim), &Search::top(10), &Call::single_threaded()).expect("a good query")
    });
}

fn batch(bencher: Bencher<'_, '_>, dim: usize, metric: Metric) {
    let (index, queries) = (flat(dim, metric), values_for(metric, 2, BATCH, dim));
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        index.search(&rows(&queries, dim), &Search::top(10), &Call::single_threaded()).expect("good queries")
    });
}

#[divan::bench(args = DIMS)]
fn flat_one_query(bencher: Bencher<'_, '_>, dim: usize) {
    one_query(bencher, dim, Metric::Cosine);
}

#[divan::bench(args = DIMS)]
fn flat_one_query_l1(bencher: Bencher<'_, '_>, dim: usize) {
    one_query(bencher, dim, Metric::L1);
}

#[divan::bench(args = DIMS)]
fn flat_batch(bencher: Bencher<'_, '_>, dim: usize) {
    batch(bencher, dim, Metric::Cosine);
}

#[divan::bench(args = DIMS)]
fn flat_batch_l1(bencher: Bencher<'_, '_>, dim: usize) {
    batch(bencher, dim, Metric::L1);
}

#[divan::bench(args = DIMS)]
fn flat_one_query_hamming(bencher: Bencher<'_, '_>, dim: usize) {
    one_query(bencher, dim, Metric::Hamming);
}

#[divan::bench(args = DIMS)]
fn flat_batch_hamming(bencher: Bencher<'_, '_>, dim: usize) {
    batch(bencher, dim, Metric::Hamming);
}

#[divan::bench(args = [16, 64, 256])]
fn graph_search(bencher: Bencher<'_, '_>, ef: usize) {
    let queries = values(3, BATCH, GRAPH_DIM);
    let search = Search { ef: Some(ef), ..Search::top(10) };
    // Built here, and not in the first sample.
    LazyLock::force(&GRAPH);
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        GRAPH.search(&rows(&queries, GRAPH_DIM), &search, &Call::single_threaded()).expect("good queries")
    });
}

#[divan::bench(sample_count = 10)]
fn graph_build(bencher: Bencher<'_, '_>) {
    let new = values(4, BUILT_ROWS, GRAPH_DIM);
    bencher.counter(ItemsCount::new(BUILT_ROWS)).with_inputs(empty_graph).bench_local_values(|index| {
        index.add(&rows(&new, GRAPH_DIM), None, &Call::single_threaded()).expect("good rows");
        index
    });
}
