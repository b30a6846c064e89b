//! Linking rows in the background.
//!
//! A row is durable, and found, as soon as its batch is; linking it into the graph takes far longer than writing it. So a thread does
//! that after the batch, a few rows at a time, and until then searches look at the row itself. There is a thread only while there is something to
//! link, and it ends when the collection does; fewer rows than make a batch wait for more. Rows are linked in the order in which they came, always so many together, so the graph that comes
//! of it is the same whenever that happens.

use super::schema::IndexKind;
use super::world::{Live, World};
use crate::error::Result;
use crate::index::{CATCH_UP_ROWS, Index};
use crate::runtime::Call;
use crate::vectors::CENTRED_ROWS;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

impl World {
    /// Sees to it that all rows are linked, some time.
    pub(super) fn link_soon(&self) {
        self.collections.values().for_each(Live::link_soon);
    }
}

impl Live {
    /// Sees to it that the rows of this collection are linked, some time.
    pub(super) fn link_soon(self: &Arc<Live>) {
        if self.schema.index != IndexKind::Hnsw || !has_work(&*self.index()) {
            return;
        }
        if self.is_linking.swap(true, Ordering::AcqRel) {
            return;
        }
        let weak = Arc::downgrade(self);
        let spawned = std::thread::Builder::new().name("nearfield-link".to_owned()).spawn(move || link(&weak));
        if spawned.is_err() {
            // The rows are found all the same, and the next batch tries again.
            self.is_linking.store(false, Ordering::Release);
        }
    }

    /// Links all rows, however few.
    pub(super) fn link_now(&self, call: &Call<'_>) -> Result<()> {
        let index = self.index();
        while has_work(&*index) {
            index.catch_up(CATCH_UP_ROWS, call)?;
        }
        index.catch_up(CATCH_UP_ROWS, call).map(drop)
    }

    fn index(&self) -> Arc<dyn Index> {
        self.rows.read().index()
    }
}

/// Whether there is a whole batch of rows to be linked, and a graph, or enough rows for one.
fn has_work(index: &dyn Index) -> bool {
    let stats = index.stats();
    stats.pending >= CATCH_UP_ROWS && stats.rows + stats.dead >= CENTRED_ROWS
}

/// While rows keep coming in, so many looks at whether there are more, so far apart, before some are linked between them all the same.
const LOOKS: usize = 50;
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// Links whole batches until there are none, or the collection is gone.
fn link(weak: &Weak<Live>) {
    let (mut seen, mut looks) = (0, 0);
    while let Some(live) = weak.upgrade() {
        let index = live.index();
        let (pending, has_more) = (index.stats().pending, has_work(&*index));
        if has_more && pending > seen && looks < LOOKS {
            // Somebody is writing, and would wait for us.
            (seen, looks) = (pending, looks + 1);
            drop((live, index));
            std::thread::sleep(BETWEEN_LOOKS);
            continue;
        }
        if has_more && let Ok(left) = index.catch_up(CATCH_UP_ROWS, &Call::uninterrupted()) {
            // As many steps as there were looks, then it is the others' turn again.
            (seen, looks) = (left, looks.saturating_sub(1));
            continue;
        }
        live.is_linking.store(false, Ordering::Release);
        // A batch that came in between has seen that somebody was linking. Where memory is short, the next batch tries again.
        if has_more || !has_work(&*index) || live.is_linking.swap(true, Ordering::AcqRel) {
            return;
        }
    }
}
