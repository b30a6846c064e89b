//! Threads, locks, forks and Ctrl-C: what every long call needs and no index should have to think about.
//!
//! Three rules hold everywhere. A lock is taken on the calling thread only, never by a task of the pool. Whoever holds
//! one has passed the [`fork`] gate, so a child process never inherits a lock that nobody will release. And the calling
//! thread works along with the pool instead of waiting for it, so it can look up every few milliseconds and see whether
//! its [`Call`] has been interrupted.

mod call;
pub(crate) mod fork;
mod lock;
mod pages;
mod pool;

pub use call::{Call, Caller};
pub(crate) use lock::{ReadGuard, Shared, Writer};
pub(crate) use pages::Pages;
pub(crate) use pool::{for_each, map};
