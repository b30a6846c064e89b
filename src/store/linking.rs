//! Linking rows in the background, making codes, and giving back the memory of deleted rows.
//!
//! A row is durable, and found, as soon as its batch is; linking it into the graph takes far longer than writing it. So a thread does
//! that after the batch, a few rows at a time, and until then searches look at the row itself. There is a thread only while there is something to
//! link, and it ends when the collection does; fewer rows than make a batch wait for more. Rows are linked in the order in which they came, always so many together, so the graph that comes
//! of it is the same whenever that happens.
//!
//! A flat collection that was opened has no codes yet: searches read its rows where they lie, and the same thread makes the codes, some thousand rows
//! at a time, on half of the cores. Answers are the same without them.
//!
//! A row that is replaced leaves its slot in the index behind. Once most slots are of that kind, the same thread makes the index anew without them, while searches go
//! on in the old one; whoever writes meanwhile waits.

use super::schema::IndexKind;
use super::world::{Live, World};
use crate::error::Result;
use crate::index::{CATCH_UP_ROWS, Index, Stats};
use crate::runtime::Call;
use crate::vectors::CENTRED_ROWS;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

impl World {
    /// Sees to it that all rows are linked, some time, and that no more than a part of the slots of an index are of deleted rows.
    pub(super) fn tend_soon(&self, most_dead: Option<f64>) {
        self.collections.values().for_each(|live| live.tend_soon(most_dead));
    }
}

impl Live {
    /// The same for this collection.
    pub(super) fn tend_soon(self: &Arc<Live>, most_dead: Option<f64>) {
        let stats = self.index().stats();
        if !has_work(&stats) && !is_mostly_dead(&stats, most_dead) {
            return;
        }
        if self.is_linking.swap(true, Ordering::AcqRel) {
            return;
        }
        let weak = Arc::downgrade(self);
        let spawned =
            std::thread::Builder::new().name("nearfield-link".to_owned()).spawn(move || tend(&weak, most_dead));
        if spawned.is_err() {
            // The rows are found all the same, and the next batch tries again.
            self.is_linking.store(false, Ordering::Release);
        }
    }

    /// Links all rows, however few.
    pub(super) fn link_now(&self, call: &Call<'_>) -> Result<()> {
        let index = self.index();
        let (total, mut left) = (index.stats().pending, index.stats().pending);
        loop {
            let is_last = !has_work(&index.stats());
            let step = (total.saturating_sub(left), CATCH_UP_ROWS.min(total), total);
            left = call.stage(step, |call| index.catch_up(CATCH_UP_ROWS, call))?;
            if is_last {
                return Ok(());
            }
        }
    }

    fn index(&self) -> Arc<dyn Index> {
        self.rows.read().index()
    }
}

/// Whether there is a whole batch of rows to be linked, and a graph, or enough rows for one.
fn has_work(stats: &Stats) -> bool {
    stats.pending >= CATCH_UP_ROWS && stats.rows + stats.dead >= CENTRED_ROWS
}

/// An index with fewer slots of deleted rows than this is left as it is.
const LEAST_DEAD: usize = 1024;

/// Whether more than this part of the slots are of deleted rows.
fn is_mostly_dead(stats: &Stats, part: Option<f64>) -> bool {
    stats.dead >= LEAST_DEAD && part.is_some_and(|part| stats.dead as f64 > part * (stats.rows + stats.dead) as f64)
}

/// While rows keep coming in, so many looks at whether there are more, so far apart, before some are linked between them all the same.
const LOOKS: usize = 50;
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// Links whole batches until there are none, or the collection is gone; then gives back memory, if there is much.
fn tend(weak: &Weak<Live>, mut most_dead: Option<f64>) {
    let (mut seen, mut looks) = (0, 0);
    while let Some(live) = weak.upgrade() {
        let index = live.index();
        let stats = index.stats();
        if is_mostly_dead(&stats, most_dead) {
            // All rows are linked then. If there is no memory for it, the next batch tries again.
            most_dead = most_dead.filter(|_| index.optimize(&Call::uninterrupted()).is_ok());
            continue;
        }
        let (pending, has_more) = (stats.pending, has_work(&stats));
        if has_more && pending > seen && looks < LOOKS {
            // Somebody is writing, and would wait for us.
            (seen, looks) = (pending, looks + 1);
            drop((live, index));
            std::thread::sleep(BETWEEN_LOOKS);
            continue;
        }
        let call = if live.schema.index == IndexKind::Flat { Call::in_background() } else { Call::uninterrupted() };
        if has_more && let Ok(left) = index.catch_up(CATCH_UP_ROWS, &call) {
            // As many steps as there were looks, then it is the others' turn again.
            (seen, looks) = (left, looks.saturating_sub(1));
            continue;
        }
        live.is_linking.store(false, Ordering::Release);
        // A batch that came in between has seen that somebody was linking. Where memory is short, the next batch tries again.
        let stats = index.stats();
        let is_idle = !has_work(&stats) && !is_mostly_dead(&stats, most_dead);
        if has_more || is_idle || live.is_linking.swap(true, Ordering::AcqRel) {
            return;
        }
    }
}
