//! What a caller brings along: how many threads, a way to be interrupted, a wish to see progress.

use crate::error::{Error, Result};
use std::cell::Cell;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Whoever waits for a long call; called on the calling thread only.
pub trait Caller {
    /// Whether the call should stop as soon as it can; it then returns [`Error::Interrupted`]. Asked every 20 ms, and after each report.
    fn interrupted(&self) -> bool {
        false
    }

    /// Told from time to time that `done` of `total` rows are finished; asked directly after whether to go on.
    fn progress(&self, done: usize, total: usize) {
        let _ = (done, total);
    }
}

struct Nobody;

impl Caller for Nobody {}

/// A part of a call, as whoever waits for the whole sees it.
struct Stage<'c, 'a> {
    call: &'c Call<'a>,
    start: usize,
    length: usize,
    total: usize,
}

impl Caller for Stage<'_, '_> {
    fn interrupted(&self) -> bool {
        self.call.check().is_err()
    }

    fn progress(&self, done: usize, total: usize) {
        let part = (done as u128 * self.length as u128 / total.max(1) as u128) as usize;
        self.call.progress((self.start + part).min(self.total), self.total);
    }
}

/// The circumstances of one call.
pub struct Call<'a> {
    caller: &'a dyn Caller,
    threads: usize,
    asked: Cell<Option<Instant>>,
    stopped: AtomicBool,
}

/// How many threads may run at once. Asked only once: the answer takes some thirty microseconds on Linux, which reads files for it.
fn cores() -> usize {
    // No lock: a fork could leave it held. Two threads may both ask, and get the same answer.
    static CORES: AtomicUsize = AtomicUsize::new(0);
    let known = CORES.load(Ordering::Relaxed);
    if known > 0 {
        return known;
    }
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    CORES.store(cores, Ordering::Relaxed);
    cores
}

/// How long a caller may go unheard.
const PATIENCE: Duration = Duration::from_millis(20);

impl<'a> Call<'a> {
    /// A call for `caller`, on `threads` threads (`None`: all cores).
    pub fn new(caller: &'a dyn Caller, threads: Option<NonZeroUsize>) -> Call<'a> {
        let threads = threads.map_or_else(cores, NonZeroUsize::get);
        Call { caller, threads, asked: Cell::new(None), stopped: false.into() }
    }

    /// A call that nobody interrupts, on all cores.
    pub fn uninterrupted() -> Call<'static> {
        Call::new(&Nobody, None)
    }

    /// A call that nobody waits for, on half of the cores.
    pub(crate) fn in_background() -> Call<'static> {
        Call::new(&Nobody, NonZeroUsize::new((cores() / 2).max(1)))
    }

    /// A call that nobody interrupts, on the calling thread alone.
    pub fn single_threaded() -> Call<'static> {
        Call::new(&Nobody, Some(NonZeroUsize::MIN))
    }

    /// How many threads may work.
    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// Asks the caller, if it is time to, whether to go on.
    pub(crate) fn check(&self) -> Result<()> {
        // The first look only starts the clock: a short call never asks at all.
        match self.asked.get() {
            None => self.asked.set(Some(Instant::now())),
            Some(asked) if asked.elapsed() >= PATIENCE => self.ask(),
            Some(_) => {}
        }
        if self.stopped.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }

    fn ask(&self) {
        if self.caller.interrupted() {
            self.stopped.store(true, Ordering::Relaxed);
        }
        self.asked.set(Some(Instant::now()));
    }

    /// The flag that tasks on other threads look at.
    pub(crate) fn stop_flag(&self) -> &AtomicBool {
        &self.stopped
    }

    /// Does a part of the call. All of that part is `length` of `total`, from `start` on: so its progress becomes that of the whole.
    pub(crate) fn stage<R>(
        &self,
        (start, length, total): (usize, usize, usize),
        work: impl FnOnce(&Call<'_>) -> R,
    ) -> R {
        let stage = Stage { call: self, start, length, total };
        work(&Call::new(&stage, NonZeroUsize::new(self.threads)))
    }

    /// Reports progress. Whoever was told may have had enough: the next [`check`](Call::check) knows, however soon it comes.
    pub(crate) fn progress(&self, done: usize, total: usize) {
        self.caller.progress(done, total);
        self.ask();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Has enough at the first report.
    #[derive(Default)]
    struct Brief(Cell<bool>);

    impl Caller for Brief {
        fn interrupted(&self) -> bool {
            self.0.get()
        }

        fn progress(&self, _done: usize, _total: usize) {
            self.0.set(true);
        }
    }

    #[test]
    fn whoever_has_enough_when_told_is_heard_at_once() {
        let brief = Brief::default();
        let call = Call::new(&brief, None);
        assert!(call.check().is_ok());
        call.stage((0, 5, 10), |part| {
            assert!(part.check().is_ok());
            part.progress(1, 5);
            assert!(part.check().is_err());
        });
        assert!(call.check().is_err(), "the whole is over with its part");
    }
}
