//! `fork` copies one thread and every lock. A lock that another thread held at that moment would stay held for ever in
//! the child, so whoever takes a lock of this crate first passes a gate, and a fork waits at that gate until nobody is
//! inside: a few milliseconds, since locks are held no longer than that except by one long scan.
//!
//! The embedding program calls [`prepare`] before a fork and [`finish`] after it, in parent and child (Python:
//! `os.register_at_fork`). The thread that calls [`prepare`] must not be inside a call of this crate.

use parking_lot::Mutex;
use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

static INSIDE: AtomicUsize = AtomicUsize::new(0);
static FORKING: AtomicBool = AtomicBool::new(false);

/// After this long a fork goes ahead all the same: a child with a held lock is better than a process that hangs.
const LIMIT: Duration = Duration::from_secs(10);
const NAP: Duration = Duration::from_micros(100);

/// What a child does first.
static IN_CHILD: Mutex<Vec<fn()>> = Mutex::new(Vec::new());

thread_local! {
    /// How many passes this thread holds.
    static HELD: Cell<usize> = const { Cell::new(0) };
}

/// Held by whoever holds a lock; stays on its thread.
pub(crate) struct Pass(PhantomData<*const ()>);

/// Enters the gate; waits while a fork is under way. A thread that is inside already never waits: the fork waits for it.
#[inline]
pub(crate) fn pass() -> Pass {
    let held = HELD.get();
    if held == 0 {
        enter();
    }
    HELD.set(held + 1);
    Pass(PhantomData)
}

fn enter() {
    loop {
        // Sequentially consistent on both sides: either we see FORKING, or `prepare` sees us.
        INSIDE.fetch_add(1, Ordering::SeqCst);
        if !FORKING.load(Ordering::SeqCst) {
            return;
        }
        INSIDE.fetch_sub(1, Ordering::SeqCst);
        std::thread::sleep(NAP);
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        HELD.set(HELD.get() - 1);
        if HELD.get() > 0 {
            return;
        }
        // A child starts at zero, whatever the parent's other threads held when a fork ran out of patience.
        let _ = INSIDE.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |inside| inside.checked_sub(1));
    }
}

/// Has every child run `task` before anything else; once, however often this is called.
pub(crate) fn in_child(task: fn()) {
    let _pass = pass();
    let mut tasks = IN_CHILD.lock();
    if !tasks.iter().any(|known| std::ptr::fn_addr_eq(*known, task)) {
        tasks.push(task);
    }
}

/// Closes the gate and waits until nobody is inside.
pub fn prepare() {
    FORKING.store(true, Ordering::SeqCst);
    let start = Instant::now();
    while INSIDE.load(Ordering::SeqCst) > 0 && start.elapsed() < LIMIT {
        std::thread::sleep(NAP);
    }
}

/// Opens the gate again, in the parent (`in_child` false) and in the child (`in_child` true).
pub fn finish(in_child: bool) {
    if in_child {
        INSIDE.store(0, Ordering::SeqCst);
        IN_CHILD.lock().iter().for_each(|task| task());
    }
    FORKING.store(false, Ordering::SeqCst);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_inside_goes_on_while_a_fork_waits_for_it() {
        let outer = pass();
        let fork = std::thread::spawn(|| {
            prepare();
            finish(false);
        });
        while !FORKING.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        let start = Instant::now();
        drop(pass());
        assert!(start.elapsed() < LIMIT / 2, "a nested pass waited for the fork that waits for it");
        drop(outer);
        assert!(fork.join().is_ok());
    }
}
