//! One pool of threads for the whole process, made when it is first needed, made again in a forked child.

use super::call::Call;
use super::fork;
use crate::error::{Error, Result};
use parking_lot::Mutex;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

static POOL: Mutex<Option<(u32, Arc<ThreadPool>)>> = Mutex::new(None);

/// The pool of this process. Its threads are named `nearfield-N`; there are as many as cores, less the caller's.
fn pool() -> Result<Arc<ThreadPool>> {
    let _pass = fork::pass();
    let process = std::process::id();
    let mut slot = POOL.lock();
    if let Some((owner, pool)) = &*slot
        && *owner == process
    {
        return Ok(Arc::clone(pool));
    }
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let pool = ThreadPoolBuilder::new()
        .num_threads(cores.saturating_sub(1).max(1))
        .thread_name(|i| format!("nearfield-{i}"))
        .build()
        .map_err(|error| Error::InvalidArgument(format!("cannot start threads: {error}")))?;
    let pool = Arc::new(pool);
    if let Some(parents) = slot.replace((process, Arc::clone(&pool))) {
        // The threads of a parent's pool do not exist here: there is nobody to tell to stop.
        std::mem::forget(parents);
    }
    Ok(pool)
}

/// A thread takes so many tasks at a time, or fewer, so that each has [`TURNS`] turns: two that work on neighbouring tasks write to the same lines of
/// the cache.
const TURN: usize = 16;
const TURNS: usize = 16;

/// Runs `task(0)`, ..., `task(tasks - 1)`, each once, in any order, on up to `call.threads()` threads, the calling one among
/// them. When the call is interrupted, tasks that have not begun are left out and the error is returned. Tasks must
/// not take locks of this crate.
pub(crate) fn for_each(call: &Call<'_>, tasks: usize, task: impl Fn(usize) + Sync) -> Result<()> {
    let helpers = call.threads().min(tasks).saturating_sub(1);
    if helpers == 0 {
        for i in 0..tasks {
            call.check()?;
            task(i);
        }
        return Ok(());
    }
    let turn = (tasks / ((helpers + 1) * TURNS)).clamp(1, TURN);
    let (next, stop) = (AtomicUsize::new(0), call.stop_flag());
    let take_turn = || {
        let first = next.fetch_add(turn, Ordering::Relaxed);
        (first < tasks).then(|| first..tasks.min(first + turn))
    };
    let (take_turn, task) = (&take_turn, &task);
    pool()?.in_place_scope(|scope| {
        for _ in 0..helpers {
            scope.spawn(move |_| {
                for i in std::iter::from_fn(take_turn).flatten() {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    task(i);
                }
            });
        }
        for i in std::iter::from_fn(take_turn).flatten() {
            call.check()?;
            task(i);
        }
        call.check()
    })
}

/// The results of `task(0)`, ..., `task(tasks - 1)`, in order; otherwise as [`for_each`].
pub(crate) fn map<R: Send + Sync>(call: &Call<'_>, tasks: usize, task: impl Fn(usize) -> R + Sync) -> Result<Vec<R>> {
    if tasks == 1 {
        // A lone query: its answer needs no place where threads put it.
        call.check()?;
        return Ok(vec![task(0)]);
    }
    let results: Vec<OnceLock<R>> = std::iter::repeat_with(OnceLock::new).take(tasks).collect();
    for_each(call, tasks, |i| {
        let fresh = results[i].set(task(i)).is_ok();
        debug_assert!(fresh, "task {i} ran twice");
    })?;
    Ok(results.into_iter().filter_map(OnceLock::into_inner).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Caller;
    use std::num::NonZeroUsize;
    use std::time::Duration;

    #[test]
    fn every_task_runs_once_for_any_number_of_threads() {
        struct Patient;
        impl Caller for Patient {}
        for threads in 1..5 {
            let counts: Vec<AtomicUsize> = (0..1000).map(|_| AtomicUsize::new(0)).collect();
            let call = Call::new(&Patient, NonZeroUsize::new(threads));
            for_each(&call, counts.len(), |i| {
                counts[i].fetch_add(1, Ordering::Relaxed);
            })
            .expect("nobody interrupts");
            assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1));
        }
    }

    #[test]
    fn an_interrupted_call_leaves_tasks_out() {
        struct Impatient;
        impl Caller for Impatient {
            fn interrupted(&self) -> bool {
                true
            }
        }
        for threads in [1, 3] {
            let done = AtomicUsize::new(0);
            let call = Call::new(&Impatient, NonZeroUsize::new(threads));
            let result = for_each(&call, 1000, |_| {
                std::thread::sleep(Duration::from_millis(5));
                done.fetch_add(1, Ordering::Relaxed);
            });
            assert!(matches!(result, Err(Error::Interrupted)));
            assert!(done.load(Ordering::Relaxed) < 1000);
        }
    }
}
