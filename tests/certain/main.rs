//! What codes say about rows is certain where an index says so: a flat index answers through them with the ids and scores of the
//! definition, bit for bit; and what a quantized index answers is a function of its rows and its queries alone.

mod data;
mod flat;
mod levels;
mod model;
mod quantized;

use nearfield::{Call, Caller, Metric};
use std::num::NonZeroUsize;

type Outcome = Result<(), Box<dyn std::error::Error>>;

const METRICS: [Metric; 3] = [Metric::Cosine, Metric::Dot, Metric::L2];

/// Nobody in particular, but not on all cores.
struct Patient;
impl Caller for Patient {}

fn on_threads(threads: usize) -> Call<'static> {
    Call::new(&Patient, NonZeroUsize::new(threads))
}
