//! One value, many readers, one writer at a time.
//!
//! A write is long (it computes) but holds the lock shortly (it applies). So there are two things to take: the *turn*,
//! which a writer keeps for its whole call and which only other writers wait for, and the guards, which it takes for
//! moments. Readers see nothing but the guards.

use super::call::Call;
use super::fork::{self, Pass};
use crate::error::Result;
use parking_lot::{Condvar, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::ops::{Deref, DerefMut};
use std::time::Duration;

/// A value behind a reader-writer lock and a turnstile for writers.
pub(crate) struct Shared<T> {
    value: RwLock<T>,
    /// The process whose writer has the turn. A forked child finds the parent's number here and takes over:
    /// the thread that had the turn does not exist on its side.
    turn: Mutex<Option<u32>>,
    turn_over: Condvar,
}

/// How often whoever waits for a guard tries before he falls asleep: for some tens of microseconds.
const AWAKE: usize = 2_000;

/// Waits awake, for a while: most guards are held for less than it takes to fall asleep and be woken, and to wake another takes the time of who lets go.
#[inline]
fn awake<G>(take: impl Fn() -> Option<G>) -> Option<G> {
    for _ in 0..AWAKE {
        let guard = take();
        if guard.is_some() {
            return guard;
        }
        std::hint::spin_loop();
    }
    None
}

/// How long a writer waits for its turn before it asks its caller whether to go on.
const WAIT: Duration = Duration::from_millis(10);

impl<T> Shared<T> {
    /// Wraps `value`.
    pub(crate) fn new(value: T) -> Shared<T> {
        Shared { value: RwLock::new(value), turn: Mutex::new(None), turn_over: Condvar::new() }
    }

    /// A look at the value; held for a moment.
    #[inline]
    pub(crate) fn read(&self) -> ReadGuard<'_, T> {
        let pass = fork::pass();
        ReadGuard { guard: awake(|| self.value.try_read()).unwrap_or_else(|| self.value.read()), _pass: pass }
    }

    /// The value, out of its lock.
    pub(crate) fn into_inner(self) -> T {
        self.value.into_inner()
    }

    /// Waits for the turn to write. Other writers wait until the [`Writer`] is dropped; readers do not.
    pub(crate) fn writer(&self, call: &Call<'_>) -> Result<Writer<'_, T>> {
        loop {
            if let Some(writer) = self.writer_unless(call, || false)? {
                return Ok(writer);
            }
        }
    }

    /// The same, unless there is nothing left to do meanwhile: then `None`. What `is_settled` says may change whenever a turn ends, or
    /// when its writer [announces](Writer::announce) it.
    pub(crate) fn writer_unless(
        &self,
        call: &Call<'_>,
        is_settled: impl Fn() -> bool,
    ) -> Result<Option<Writer<'_, T>>> {
        let process = std::process::id();
        loop {
            {
                let _pass = fork::pass();
                let mut turn = self.turn.lock();
                if is_settled() {
                    return Ok(None);
                }
                if *turn == Some(process) {
                    self.turn_over.wait_for(&mut turn, WAIT);
                }
                if is_settled() {
                    return Ok(None);
                }
                if *turn != Some(process) {
                    *turn = Some(process);
                    return Ok(Some(Writer { shared: self, process }));
                }
            }
            call.check()?;
        }
    }
}

/// The turn to write.
pub(crate) struct Writer<'a, T> {
    shared: &'a Shared<T>,
    process: u32,
}

impl<T> Writer<'_, T> {
    /// A look at the value: only this writer could change it.
    pub(crate) fn read(&self) -> ReadGuard<'_, T> {
        self.shared.read()
    }

    /// Has those who wait for their turn look whether they still have to.
    pub(crate) fn announce(&self) {
        self.shared.turn_over.notify_all();
    }

    /// The value, with all readers out. To be held for a millisecond or so.
    pub(crate) fn write(&self) -> WriteGuard<'_, T> {
        let pass = fork::pass();
        let value = &self.shared.value;
        WriteGuard { guard: awake(|| value.try_write()).unwrap_or_else(|| value.write()), _pass: pass }
    }
}

impl<T> Drop for Writer<'_, T> {
    fn drop(&mut self) {
        let _pass = fork::pass();
        let mut turn = self.shared.turn.lock();
        if *turn == Some(self.process) {
            *turn = None;
            self.shared.turn_over.notify_all();
        }
    }
}

/// Shared access.
pub(crate) struct ReadGuard<'a, T> {
    // Dropped in this order: first the lock, then the pass.
    guard: RwLockReadGuard<'a, T>,
    _pass: Pass,
}

impl<T> Deref for ReadGuard<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.guard
    }
}

/// Exclusive access.
pub(crate) struct WriteGuard<'a, T> {
    guard: RwLockWriteGuard<'a, T>,
    _pass: Pass,
}

impl<T> Deref for WriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for WriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn writers_take_turns_and_readers_do_not_wait_for_a_turn() {
        let shared = Shared::new(0u32);
        let inside = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let writer = shared.writer(&Call::single_threaded()).expect("a turn");
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two writers at once");
                        let seen = *writer.read();
                        *writer.write() = seen + 1;
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        let writer = shared.writer(&Call::single_threaded()).expect("a turn");
        assert_eq!(*shared.read(), 200, "a reader gets in while a writer has the turn");
        drop(writer);
    }

    #[test]
    fn a_turn_left_over_from_a_parent_process_is_taken_over() {
        let shared = Shared::new(0u32);
        *shared.turn.lock() = Some(std::process::id().wrapping_add(1));
        let writer = shared.writer(&Call::single_threaded()).expect("a turn");
        *writer.write() = 1;
        drop(writer);
        assert_eq!(*shared.read(), 1);
    }
}
