//! Batches that wait to be written, and those who wait for that.
//!
//! Threads that write at the same time share one write and one sync. Whoever has a batch puts it into the queue, then waits for the turn
//! to write, or until somebody who had it has written the batch as well. Batches are taken in the order in which they came.

use super::changes::Wanted;
use crate::error::{Error, Result};
use crate::runtime::fork::pass;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

/// What somebody wants done to a collection.
pub(super) struct Batch {
    pub(super) collection: u64,
    /// Its name, for messages.
    pub(super) name: Arc<str>,
    pub(super) wanted: Wanted,
}

/// Where a batch is.
enum State {
    Waiting(Batch),
    Taken,
    /// How many rows were changed; `None` once that has been told.
    Settled(Option<Result<usize>>),
}

/// The place of a batch in the queue.
pub(super) struct Ticket(Mutex<State>);

/// All batches that wait, the first one first.
#[derive(Default)]
pub(super) struct Queue(Mutex<VecDeque<Arc<Ticket>>>);

/// A batch that was taken out of the queue by whoever writes it. Its owner hears of it, whatever happens.
pub(super) struct Claim {
    ticket: Arc<Ticket>,
    is_settled: bool,
}

impl Queue {
    /// Puts a batch behind the others.
    pub(super) fn enter(&self, batch: Batch) -> Arc<Ticket> {
        let ticket = Arc::new(Ticket(Mutex::new(State::Waiting(batch))));
        let _pass = pass();
        self.0.lock().push_back(Arc::clone(&ticket));
        ticket
    }

    /// Takes the first batch, if there is one that `fits`.
    pub(super) fn take(&self, fits: impl FnOnce(&Batch) -> bool) -> Option<(Claim, Batch)> {
        let _pass = pass();
        let mut waiting = self.0.lock();
        let ticket = waiting.front()?;
        let mut state = ticket.0.lock();
        if matches!(&*state, State::Waiting(batch) if !fits(batch)) {
            return None;
        }
        let taken = std::mem::replace(&mut *state, State::Taken);
        drop(state);
        let claim = Claim { ticket: waiting.pop_front()?, is_settled: false };
        if let State::Waiting(batch) = taken { Some((claim, batch)) } else { None }
    }

    /// Takes a batch back; whether it was still there.
    pub(super) fn withdraw(&self, ticket: &Arc<Ticket>) -> bool {
        let _pass = pass();
        let mut waiting = self.0.lock();
        let place = waiting.iter().position(|other| Arc::ptr_eq(other, ticket));
        place.is_some_and(|place| waiting.remove(place).is_some())
    }

    /// How many batches wait.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().len()
    }
}

impl Ticket {
    /// Whether it is known what became of the batch.
    pub(super) fn is_settled(&self) -> bool {
        let _pass = pass();
        matches!(&*self.0.lock(), State::Settled(_))
    }

    /// What became of it, once.
    pub(super) fn result(&self) -> Option<Result<usize>> {
        let _pass = pass();
        if let State::Settled(result) = &mut *self.0.lock() { result.take() } else { None }
    }
}

impl Claim {
    /// Tells the owner what became of the batch.
    pub(super) fn settle(mut self, result: Result<usize>) {
        self.set(result);
    }

    fn set(&mut self, result: Result<usize>) {
        let _pass = pass();
        *self.ticket.0.lock() = State::Settled(Some(result));
        self.is_settled = true;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.is_settled {
            // Whoever wrote it panicked on the way.
            self.set(Err(Error::Poisoned { path: PathBuf::new() }));
        }
    }
}
