//! Which beam finds how much.
//!
//! How wide a beam has to be depends on the rows, and on how many there are. So it is measured, on some rows as queries, each against its
//! exact neighbours. A row would find itself at once, and from there its neighbours, which no query does; so a walk must not come to the row that it
//! starts from, and has to do without its links. What was measured holds until a good part of the rows has changed.

use super::HnswIndex;
use super::answer::Answer;
use super::search::GraphSearch;
use super::state::State;
use super::walk::Scratch;
use crate::error::{Error, Result};
use crate::index::Search;
use crate::runtime::{Call, map};
use crate::vectors::{Query, QueryBatch, Rows, random_bits};

/// Rows that are asked for, and how many under one guard.
const SAMPLE: usize = 256;
const SAMPLE_PER_GUARD: usize = 16;

/// Neighbours that should be found.
const K: usize = 10;

/// The beams that are measured.
const BEAMS: [usize; 14] = [10, 14, 20, 28, 40, 56, 80, 112, 160, 224, 320, 448, 640, 1024];

/// Queries are commonly a little farther from the rows than these are from each other, so of what a recall leaves out this part is found too.
const MARGIN: f64 = 1.0 / 3.0;

/// Measured again when one in so many rows has changed.
const STALE_PART: usize = 5;

/// What was measured, and when.
pub(super) struct Calibration {
    /// What each of the beams found.
    recalls: Vec<f64>,
    /// Rows then, and how many had ever been written or deleted.
    rows: usize,
    changes: usize,
}

/// Refuses what is no part of all neighbours, or is all of them.
pub(super) fn check_recall(recall: f32) -> Result<()> {
    if recall > 0.0 && recall < 1.0 {
        return Ok(());
    }
    Err(Error::InvalidArgument(format!(
        "recall must be between 0 and 1, got {recall}; for all neighbours search exactly"
    )))
}

impl HnswIndex {
    /// The beam that finds this part of the ten nearest rows, as measured on a sample of the rows; measured first where that has not been
    /// done, or too much has changed. `usize::MAX` if no beam does.
    pub fn beam_for(&self, recall: f32, call: &Call<'_>) -> Result<usize> {
        check_recall(recall)?;
        let (rows, changes) = {
            let state = self.body.read();
            if let Some(known) = &*self.calibration.lock()
                && (state.changes - known.changes) * STALE_PART < known.rows
            {
                return Ok(narrowest(&known.recalls, recall.into()));
            }
            (state.table.live(), state.changes)
        };
        let recalls = self.measure(call)?;
        let beam = narrowest(&recalls, recall.into());
        let guard = self.body.read();
        *self.calibration.lock() = Some(Calibration { recalls, rows, changes });
        drop(guard);
        Ok(beam)
    }

    /// What each of the beams finds.
    fn measure(&self, call: &Call<'_>) -> Result<Vec<f64>> {
        let mut found = vec![0; BEAMS.len()];
        let mut asked = 0;
        for part in 0..SAMPLE / SAMPLE_PER_GUARD {
            let guard = self.body.read();
            let state: &State = &guard;
            let slots = sample(state, self.parameters.seed, part);
            let mut values = vec![0.0; slots.len() * state.table.dim()];
            for (&slot, row) in slots.iter().zip(values.chunks_exact_mut(state.table.dim())) {
                state.read(slot as usize, row);
            }
            let batch = QueryBatch::read(&Rows::new(&values, state.table.dim())?, state.table.metric(), call)?;
            let queries = batch.queries();
            let search = Search::top(K + 1);
            let answer = Answer { state, search: &search, ef: K, scratches: &self.scratches };
            let truth = answer.scan(0, &queries, call)?;
            let truth = truth.into_iter().zip(&slots).map(|(top, &slot)| {
                let own = state.table.id(slot as usize);
                top.into_sorted().iter().map(|row| row.id).filter(|&id| id != own).take(K).collect()
            });
            let truth: Vec<Vec<i64>> = truth.collect();
            asked += truth.iter().map(Vec::len).sum::<usize>();
            let counts = map(call, slots.len(), |i| self.count(state, (queries[i], slots[i]), &truth[i]))?;
            for counts in counts {
                found.iter_mut().zip(counts).for_each(|(found, count)| *found += count);
            }
        }
        Ok(found.into_iter().map(|found| if asked == 0 { 1.0 } else { found as f64 / asked as f64 }).collect())
    }

    /// How many of the true neighbours of a row each of the beams finds, if the walk must not come to the row itself.
    fn count(&self, state: &State, (query, slot): (Query<'_>, u32), truth: &[i64]) -> Vec<usize> {
        let search = Search::top(K);
        let one = GraphSearch { state, search: &search, query: &query, hidden: Some(slot) };
        let count = |ef: usize, scratch: &mut Scratch| {
            let Some((top, _)) = one.walk(ef, ef, usize::MAX, scratch) else { return 0 };
            top.into_sorted().iter().filter(|row| truth.contains(&row.id)).count()
        };
        self.scratches.lend(|scratch| BEAMS.iter().map(|&ef| count(ef, scratch)).collect())
    }
}

/// Some linked rows that share no node with others, and that no layer above has.
fn sample(state: &State, seed: u64, part: usize) -> Vec<u32> {
    let State { table, graph, .. } = state;
    let linked = graph.linked() as u64;
    let tries = (0..if linked == 0 { 0 } else { 4 * SAMPLE_PER_GUARD as u64 }).map(|i| part as u64 * 1024 + i);
    let slots = tries.map(|at| (random_bits(!seed, at) % linked) as u32);
    let alone = |&slot: &u32| {
        table.is_live(slot as usize) && graph.sharing(slot).count() == 1 && graph.nodes_of(slot).len() == 1
    };
    slots.filter(alone).take(SAMPLE_PER_GUARD).collect()
}

/// The narrowest beam that has this recall, between those that were measured.
fn narrowest(recalls: &[f64], wanted: f64) -> usize {
    let wanted = wanted + MARGIN * (1.0 - wanted);
    let Some(enough) = recalls.iter().position(|&recall| recall >= wanted) else { return usize::MAX };
    if enough == 0 {
        return BEAMS[0];
    }
    let (below, above) = (recalls[enough - 1], recalls[enough]);
    let part = (wanted - below) / (above - below);
    let (low, high) = (BEAMS[enough - 1] as f64, BEAMS[enough] as f64);
    (low * (high / low).powf(part)).ceil() as usize
}
