//! Rows in the order of nearness, so that what is near lies side by side.
//!
//! A walk goes from one node to what is near it. Where nodes lie as they came, each step is in another page of memory, and of a large graph
//! no processor remembers where all its pages are. So many rows that come at once are put into slots in the order of the leaves of a tree: they are cut
//! in two at the median along the direction in which they differ most, and the halves again (Sproull, Refinements to nearest-neighbor
//! searching in k-dimensional trees, Algorithmica 6, 1991; for what follows from that, Verma, Kpotufe and Dasgupta, arXiv 1205.2609). Building gains more than
//! searching: rows that are linked together look in the same places.
//!
//! All sums have one order, and what is equally high goes by place, so the order depends on the rows alone.

mod direction;

use self::direction::{Heights, Principal};
use super::HnswIndex;
use super::state::State;
use crate::error::Result;
use crate::index::table::Table;
use crate::runtime::{Call, Writer, map};
use crate::simd::dispatch;
use std::sync::atomic::Ordering;

/// Fewer rows are left in the order in which they came: their pages are remembered.
const LEAST_ROWS: usize = 1 << 16;

/// Rows of a leaf, which stay as they came.
const LEAF: usize = 32;

/// Rows that say in which direction the rows of a part differ.
const SAMPLE: usize = 256;

/// Values that a task has copied, so that it reads them from a cache.
const PART_VALUES: usize = 1 << 20;

/// Rows whose height is measured under one guard, by one task, and at a time.
const ROWS_PER_GUARD: usize = 1 << 15;
const ROWS_PER_TASK: usize = 1024;
const ROWS_AT_ONCE: usize = 16;

/// Values that change places under one guard.
const VALUES_PER_GUARD: usize = 1 << 16;

impl HnswIndex {
    /// Whether so many rows that come at once are put in the order of nearness. Where only codes are kept they stay as they come, and so do rows that are
    /// linked `later`.
    pub(super) fn has_order(&self, state: &State, rows: usize, later: bool) -> bool {
        !later && rows >= LEAST_ROWS && state.table.has_rows()
    }

    /// Whether rows that could be in that order came a few at a time, and so lie in the order of their ids.
    pub(super) fn lacks_order(&self, state: &State) -> bool {
        let later = self.links_later.load(Ordering::Relaxed);
        self.has_order(state, state.table.live(), later) && state.table.is_ascending()
    }

    /// The visible slots in the order in which an index that is made anew has their rows.
    pub(super) fn in_order(&self, writer: &Writer<'_, State>, call: &Call<'_>) -> Result<Vec<u32>> {
        let later = self.links_later.load(Ordering::Relaxed);
        let (slots, has_order) = {
            let state = writer.read();
            // Of codes that lie in the order of nearness all but those of later rows still do.
            let stays = !later && !state.table.has_rows();
            let slots =
                if stays { state.table.visible().map(|slot| slot as u32).collect() } else { state.table.slots_by_id() };
            (slots, self.has_order(&state, state.table.live(), later))
        };
        if has_order { nearness(writer, slots, call) } else { Ok(slots) }
    }
}

/// Puts rows that nothing knows of yet, those in the slots from `first` on, into the order of nearness; `entries` says of each which slot it is in.
pub(super) fn arrange(
    writer: &Writer<'_, State>,
    first: usize,
    entries: &mut [(u32, i64)],
    call: &Call<'_>,
) -> Result<()> {
    let first = first as u32;
    let (end, width) = {
        let State { table, .. } = &*writer.read();
        (table.slots() as u32, table.width())
    };
    let order = nearness(writer, (first..end).collect(), call)?;
    let mut places = vec![0; order.len()];
    for (place, &slot) in (first..).zip(&order) {
        places[(slot - first) as usize] = place;
    }
    for swaps in swaps(first, order).chunks((VALUES_PER_GUARD / width).max(1)) {
        call.check()?;
        let table = &mut writer.write().table;
        swaps.iter().for_each(|&(a, b)| table.swap_hidden(a as usize, b as usize));
    }
    for (slot, _) in entries.iter_mut().filter(|(slot, _)| *slot >= first) {
        *slot = places[(*slot - first) as usize];
    }
    Ok(())
}

/// The exchanges that bring to each slot, from `first` on, the row that now is in the slot that `order` has for it.
fn swaps(first: u32, mut order: Vec<u32>) -> Vec<(u32, u32)> {
    let mut swaps = Vec::with_capacity(order.len());
    for start in first..first + order.len() as u32 {
        // Round each circle once; what has been there stays.
        let mut to = start;
        loop {
            let from = std::mem::replace(&mut order[(to - first) as usize], to);
            if from == start || from == to {
                break;
            }
            swaps.push((to, from));
            to = from;
        }
    }
    swaps
}

/// These slots, in the order of nearness of their rows, which nobody changes meanwhile.
fn nearness(writer: &Writer<'_, State>, slots: Vec<u32>, call: &Call<'_>) -> Result<Vec<u32>> {
    let dim = writer.read().table.dim();
    Tree { writer, dim, call }.sorted(slots)
}

/// A tree over rows of an index. Guards are held for moments: so long a fork waits.
struct Tree<'a> {
    writer: &'a Writer<'a, State>,
    dim: usize,
    call: &'a Call<'a>,
}

impl Tree<'_> {
    /// These slots, leaf after leaf.
    fn sorted(&self, slots: Vec<u32>) -> Result<Vec<u32>> {
        let dim = self.dim;
        let (mut parts, most) = (vec![slots], (PART_VALUES / dim).max(LEAF));
        // Large parts are cut one after another, by all threads. Halves differ by one row at most.
        while parts[0].len() > most {
            let halves = parts.iter().map(|part| self.cut(part)).collect::<Result<Vec<_>>>()?;
            parts = halves.into_iter().flatten().collect();
        }
        let mut order = Vec::new();
        for parts in parts.chunks(self.call.threads()) {
            let values = self.values(parts)?;
            let sorted = map(self.call, parts.len(), |at| {
                let read = |row: u32, out: &mut [f32]| out.copy_from_slice(&values[at][row as usize * dim..][..dim]);
                let mut order = Vec::with_capacity(parts[at].len());
                sort((0..parts[at].len() as u32).collect(), dim, &read, &mut order);
                order.into_iter().map(|row| parts[at][row as usize]).collect::<Vec<u32>>()
            })?;
            order.extend(sorted.into_iter().flatten());
        }
        Ok(order)
    }

    /// The values of the rows of some parts.
    fn values(&self, parts: &[Vec<u32>]) -> Result<Vec<Vec<f32>>> {
        let (State { table, .. }, dim) = (&*self.writer.read(), self.dim);
        map(self.call, parts.len(), |at| {
            let mut values = vec![0.0; parts[at].len() * dim];
            for (&slot, values) in parts[at].iter().zip(values.chunks_exact_mut(dim)) {
                read(table, slot, values);
            }
            values
        })
    }

    /// The halves of a large part.
    fn cut(&self, slots: &[u32]) -> Result<[Vec<u32>; 2]> {
        let direction = {
            let State { table, .. } = &*self.writer.read();
            direction(slots, self.dim, &|slot, values| read(table, slot, values))
        };
        let mut measured = Vec::with_capacity(slots.len());
        for slots in slots.chunks(ROWS_PER_GUARD) {
            let State { table, .. } = &*self.writer.read();
            let some = map(self.call, slots.len().div_ceil(ROWS_PER_TASK), |task| {
                let slots = &slots[task * ROWS_PER_TASK..slots.len().min((task + 1) * ROWS_PER_TASK)];
                heights(slots, &direction, &|slot, values| read(table, slot, values))
            })?;
            measured.extend(some.into_iter().flatten());
        }
        Ok(halves(slots, &measured))
    }
}

/// The row in a slot, as the metric sees it: under cosine its direction.
fn read(table: &Table, slot: u32, values: &mut [f32]) {
    let squared_norm = table.read(slot as usize, values);
    let factor = table.metric().coding_factor(squared_norm.sqrt());
    if factor != 1.0 {
        values.iter_mut().for_each(|value| *value = (f64::from(*value) * factor) as f32);
    }
}

/// Puts rows into `order`, leaf after leaf.
fn sort(rows: Vec<u32>, dim: usize, read: &impl Fn(u32, &mut [f32]), order: &mut Vec<u32>) {
    if rows.len() <= LEAF {
        order.extend(rows);
        return;
    }
    let direction = direction(&rows, dim, read);
    let heights = heights(&rows, &direction, read);
    for half in halves(&rows, &heights) {
        sort(half, dim, read, order);
    }
}

/// The direction in which rows differ most, as a sample of them says.
fn direction(rows: &[u32], dim: usize, read: &impl Fn(u32, &mut [f32])) -> Vec<f32> {
    let count = rows.len().min(SAMPLE);
    let mut sample = vec![0.0; count * dim];
    for (i, values) in sample.chunks_exact_mut(dim).enumerate() {
        read(rows[i * rows.len() / count], values);
    }
    dispatch(Principal { rows: &mut sample, dim })
}

/// How far each of some rows lies in a direction.
fn heights(rows: &[u32], direction: &[f32], read: &impl Fn(u32, &mut [f32])) -> Vec<f64> {
    let (mut values, mut heights) = (vec![0.0; ROWS_AT_ONCE * direction.len()], vec![0.0; rows.len()]);
    for (rows, heights) in rows.chunks(ROWS_AT_ONCE).zip(heights.chunks_mut(ROWS_AT_ONCE)) {
        for (&row, values) in rows.iter().zip(values.chunks_exact_mut(direction.len())) {
            read(row, values);
        }
        dispatch(Heights { rows: &values, direction, heights });
    }
    heights
}

/// The lower half of some rows and the upper one, each in the order in which they were.
fn halves(rows: &[u32], heights: &[f64]) -> [Vec<u32>; 2] {
    let middle = rows.len() / 2;
    let mut places: Vec<u32> = (0..rows.len() as u32).collect();
    places.select_nth_unstable_by(middle, |&a, &b| heights[a as usize].total_cmp(&heights[b as usize]).then(a.cmp(&b)));
    let (lower, upper) = places.split_at_mut(middle);
    [lower, upper].map(|places| {
        places.sort_unstable();
        places.iter().map(|&place| rows[place as usize]).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::hnsw::graph::Graph;
    use crate::index::hnsw::{GraphCodec, HnswParameters};
    use crate::index::intake::Staged;
    use crate::runtime::Shared;
    use crate::vectors::{Codec, Metric, Piece, Rows, random_bits};
    use std::num::NonZeroUsize;

    const DIM: usize = 24;

    /// A table of hidden rows.
    fn table(metric: Metric, values: &[f32]) -> Table {
        let (rows, count) = (Rows::new(values, DIM).expect("whole rows"), values.len() / DIM);
        let (mut table, mut piece) = (Table::new(DIM, metric, Codec::F32), Piece::new(Codec::F32, DIM, count));
        table.try_reserve(count).expect("memory");
        let staged = |at| Staged { at, slot: at, squared_norm: piece.read(at, &rows, at).expect("good rows") };
        let staged: Vec<Staged> = (0..count).map(staged).collect();
        table.store(&piece, &staged);
        table
    }

    /// Rows on a curve, each somewhere between 0 and 1; and where.
    fn curve(count: usize) -> (Vec<f32>, Vec<f64>) {
        let places: Vec<f64> =
            (0..count as u64).map(|i| (random_bits(3, i) >> 11) as f64 / (1u64 << 53) as f64).collect();
        let value = |place: f64, at: usize| (place * (1.0 + at as f64 / 10.0) + at as f64) as f32;
        (places.iter().flat_map(|&place| (0..DIM).map(move |at| value(place, at))).collect(), places)
    }

    /// The order of the rows of a table, found by so many threads, one number of them after the other.
    fn orders<const N: usize>(table: Table, threads: [usize; N]) -> [Vec<u32>; N] {
        struct Patient;
        impl crate::runtime::Caller for Patient {}
        let parameters = HnswParameters::for_size(0, table.metric(), GraphCodec::Auto);
        let (slots, shared) = (table.slots() as u32, Shared::new(State::new(table, Graph::new(&parameters))));
        threads.map(|threads| {
            let call = Call::new(&Patient, NonZeroUsize::new(threads));
            let writer = shared.writer(&call).expect("nobody else writes");
            nearness(&writer, (0..slots).collect(), &call).expect("nobody interrupts")
        })
    }

    #[test]
    fn rows_on_a_curve_lie_along_it_but_for_the_order_in_leaves() {
        // More than one task copies.
        let count = 3 * PART_VALUES / DIM;
        let (values, places) = curve(count);
        for metric in [Metric::L2, Metric::Cosine] {
            let [order] = orders(table(metric, &values), [2]);
            let mut sorted: Vec<f64> = places.clone();
            sorted.sort_by(f64::total_cmp);
            // Either half of a part may come first.
            for (leaf, rows) in order.chunks(16).enumerate().step_by(97) {
                let ranks = rows.iter().map(|&row| sorted.partition_point(|&place| place < places[row as usize]));
                let (low, high) = (ranks.clone().min(), ranks.max());
                let span = high.zip(low).map(|(high, low)| high - low);
                assert!(span.is_some_and(|span| span < 4 * LEAF), "{metric:?}, leaf {leaf}: {span:?}");
            }
        }
    }

    #[test]
    fn the_order_has_each_slot_once_and_is_the_same_whatever_the_threads() {
        let values: Vec<f32> = (0..50_000 * DIM as u64).map(|i| (random_bits(5, i) >> 40) as f32).collect();
        let orders = orders(table(Metric::Dot, &values), [1, 2, 5]);
        assert!(orders[0] == orders[1] && orders[0] == orders[2]);
        let mut slots = orders[0].clone();
        assert!(!slots.is_sorted());
        slots.sort_unstable();
        assert!(slots.into_iter().eq(0..50_000));
    }

    #[test]
    fn rows_that_are_all_the_same_stay_as_they_came() {
        let [order] = orders(table(Metric::Cosine, &vec![0.25; 50_000 * DIM]), [2]);
        assert!(order.into_iter().eq(0..50_000));
    }

    #[test]
    fn exchanges_bring_every_row_to_its_place() {
        for seed in 0..20 {
            let len = 1 + seed as usize * 7;
            let mut order: Vec<u32> = (5..5 + len as u32).collect();
            order.sort_by_key(|&slot| random_bits(seed, u64::from(slot)) % 40);
            let mut rows: Vec<u32> = (0..5 + len as u32).collect();
            for (a, b) in swaps(5, order.clone()) {
                rows.swap(a as usize, b as usize);
            }
            assert_eq!(rows[5..], order);
            assert_eq!(rows[..5], [0, 1, 2, 3, 4]);
        }
    }
}
