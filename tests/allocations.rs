//! What a search allocates: its result, its queries, and the k best on the way to it; nothing for its walk, whose memory is kept.
//!
//! A global allocator counts what the thread that searches asks for. A walk through a graph needs room for its beam, for what it has visited and for
//! the query as the graph wants it; the first search makes that, and every later one takes it back.

use nearfield::{Call, Caller, GraphCodec, HnswIndex, HnswParameters, Index, IndexOptions, Metric, Rows, Search};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::num::NonZeroUsize;

/// The system's allocator, which counts.
struct Counting;

thread_local! {
    /// How often this thread has asked for memory, and for how much in all.
    static ASKED: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

// SAFETY: all work is the system's; a thread-local number without a destructor may be touched at any time.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (calls, bytes) = ASKED.get();
        ASKED.set((calls + 1, bytes + layout.size()));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Patient;
impl Caller for Patient {}

const DIM: usize = 48;
const ROWS: usize = 6_000;

/// As good as drawn, between -1 and 1.
fn values(rows: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut value = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..rows * DIM).map(|_| value()).collect()
}

/// What a search of one query on one thread asks for: how often, and how many bytes.
fn asked_for(index: &dyn Index, query: &[f32], search: &Search<'_>) -> (usize, usize) {
    let (patient, query) = (Patient, Rows::new(query, DIM).expect("a whole row"));
    let call = Call::new(&patient, NonZeroUsize::new(1));
    let before = ASKED.get();
    let hits = index.search(&query, search, &call).expect("good queries");
    let after = ASKED.get();
    assert_eq!(hits.counts[0] as usize, search.k);
    (after.0 - before.0, after.1 - before.1)
}

/// The most bytes that a search for k rows of one query may ask for: ids, scores and a count; the query, padded, with its norm; the k best, in a heap that
/// grows by doubling and in order; and some words for each query.
fn allowed(k: usize) -> usize {
    let result = k * (8 + 4) + 8;
    let query = DIM.next_multiple_of(16) * 4 + 64;
    let best = 16 * (k + 2 * k.next_power_of_two().max(4)) + 16 * k;
    result + 2 * query + best + 640
}

#[test]
fn a_warm_search_allocates_its_result_and_nothing_for_its_walk() {
    let (rows, queries) = (values(ROWS, 1), values(20, 2));
    for codec in [GraphCodec::Auto, GraphCodec::Lean, GraphCodec::F32] {
        let parameters = HnswParameters { m: 12, ef_construction: 60, seed: 0, codec };
        let index = HnswIndex::new(IndexOptions::new(DIM, Metric::Cosine), parameters).expect("good options");
        index.add(&Rows::new(&rows, DIM).expect("whole rows"), None, &Call::uninterrupted()).expect("good rows");
        for k in [1, 10, 40] {
            let widest = Search { ef: Some(100), ..Search::top(k) };
            for query in queries.chunks(DIM) {
                asked_for(&index, query, &widest);
            }
            for query in queries.chunks(DIM) {
                let counted = [10, 40, 100].map(|ef| asked_for(&index, query, &Search { ef: Some(ef), ..widest }));
                assert!(counted.iter().all(|&asked| asked == counted[0]), "{codec:?}, k {k}: by beam {counted:?}");
                let (calls, bytes) = counted[0];
                assert!(calls <= 24 && bytes <= allowed(k), "{codec:?}, k {k}: {bytes} bytes in {calls} pieces");
            }
        }
    }
}
