//! Where changes are made: one at a time, each written before it is seen.

use super::checkpoint::Effort;
use super::recover::{Loaded, generations, load_beside_a_writer, names};
use super::world::World;
use super::writer::Writer;
use crate::error::{Error, Result};
use crate::runtime::Call;
use crate::storage::log::{Chain, Frame, log_id};
use crate::storage::vfs::Vfs;
use std::path::PathBuf;
use std::sync::Arc;

/// The one who changes the store, or follows its changes.
pub(super) struct Desk {
    pub(super) kind: Kind,
    /// Whether a change was written and did not come to its end.
    broken: bool,
    /// The process that may use it.
    process: u32,
    threshold: Option<f64>,
}

pub(super) enum Kind {
    /// Keeps everything in memory, and nothing anywhere else.
    Memory,
    Writer(Box<Writer>),
    Reader(Box<Reader>),
    Closed,
}

/// Follows what somebody else writes.
pub(super) struct Reader {
    pub(super) vfs: Arc<dyn Vfs>,
    chain: Option<Chain>,
    pub(super) generation: u64,
}

impl Desk {
    pub(super) fn new(kind: Kind, threshold: Option<f64>) -> Desk {
        Desk { kind, broken: false, process: std::process::id(), threshold }
    }

    /// Refuses whoever cannot write.
    pub(super) fn check(&self) -> Result<()> {
        match &self.kind {
            Kind::Closed => Err(Error::Closed),
            Kind::Reader(_) => Err(Error::ReadOnlyStore("it was opened with mode \"r\"")),
            _ if self.process != std::process::id() => {
                Err(Error::ReadOnlyStore("it belongs to the process that this one was forked from; open it anew"))
            }
            Kind::Writer(writer) if self.broken => Err(Error::Poisoned { path: writer.vfs.path("") }),
            Kind::Writer(writer) => writer.log.check(),
            Kind::Memory if self.broken => Err(Error::Poisoned { path: PathBuf::from(":memory:") }),
            Kind::Memory => Ok(()),
        }
    }

    /// Milliseconds since 1970.
    pub(super) fn now(&self) -> i64 {
        match &self.kind {
            Kind::Writer(writer) => writer.vfs.now(),
            _ => {
                let since = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
                since.map_or(0, |time| i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
            }
        }
    }

    /// Writes a batch, then lets `apply` show it. If that fails or panics after the batch was written, memory and disk are no longer the
    /// same, and nothing is written any more.
    pub(super) fn commit<R>(&mut self, frame: Frame, apply: impl FnOnce() -> Result<R>) -> Result<R> {
        self.commit_all(frame, || [apply()]).and_then(|[result]| result)
    }

    /// The same for a batch of several parts, each of which may fail to be shown.
    pub(super) fn commit_all<R, A: AsRef<[Result<R>]>>(
        &mut self,
        frame: Frame,
        apply: impl FnOnce() -> A,
    ) -> Result<A> {
        self.check()?;
        let durable =
            if let Kind::Writer(writer) = &mut self.kind { writer.commit(frame).map(|()| true)? } else { false };
        self.broken = true;
        let results = apply();
        // What was not written is only in memory, and there a failed change has changed nothing.
        self.broken = durable && results.as_ref().iter().any(Result::is_err);
        Ok(results)
    }

    /// Batches of more bytes than this go straight into a segment.
    pub(super) fn limit(&self) -> usize {
        if let Kind::Writer(writer) = &self.kind { writer.limits.direct_bytes } else { usize::MAX }
    }

    /// Turns a long log into segments.
    pub(super) fn checkpoint_if_due(&mut self, world: &World) {
        let threshold = self.threshold;
        if let Kind::Writer(writer) = &mut self.kind {
            writer.checkpoint_if_due(world, threshold);
        }
    }

    /// Makes everything durable.
    pub(super) fn flush(&mut self) -> Result<()> {
        if let Kind::Writer(writer) = &mut self.kind { writer.log.sync() } else { Ok(()) }
    }

    /// Turns the log into segments; if there is time, with graphs that have grown.
    pub(super) fn checkpoint(&mut self, world: &World, is_thorough: bool, call: &Call<'_>) -> Result<()> {
        self.check()?;
        let effort = if is_thorough { Effort::thorough } else { Effort::usual };
        let threshold = self.threshold;
        if let Kind::Writer(writer) = &mut self.kind {
            writer.checkpoint(world, effort(threshold), call)
        } else {
            Ok(())
        }
    }

    /// Leaves as few files as possible, and nothing deleted in them.
    pub(super) fn compact(&mut self, world: &World, call: &Call<'_>) -> Result<()> {
        self.check()?;
        if let Kind::Writer(writer) = &mut self.kind { writer.compact(world, call) } else { Ok(()) }
    }
}

impl Reader {
    /// Opens the store for reading.
    pub(super) fn open(vfs: Arc<dyn Vfs>, verify: bool) -> Result<(Reader, World)> {
        let Loaded { world, manifest, chain, .. } = load_beside_a_writer(&*vfs, verify)?;
        Ok((Reader { vfs, chain, generation: manifest.generation }, world))
    }

    /// Moves to the newest state: by following the log where `world` is, or to another world, which is returned. Also whether
    /// anything is new.
    pub(super) fn refresh(&mut self, world: &World) -> Result<(bool, Option<World>)> {
        let vfs = Arc::clone(&self.vfs);
        if let Some(chain) = self.current()? {
            let (before, mut next) = (chain.cursor.seq, world.clone());
            let followed = chain.follow(&mut |seq, payload| next.replay(&*vfs, seq, payload));
            if followed.is_ok() {
                return Ok((chain.cursor.seq > before, Some(next)));
            }
        }
        let (reader, next) = Reader::open(vfs, false)?;
        let seq = |reader: &Reader| reader.chain.as_ref().map(|chain| chain.cursor.seq);
        let is_new = seq(self) != seq(&reader);
        *self = reader;
        Ok((is_new, Some(next)))
    }

    /// The log that we have read, if it is still the newest, under the same manifest.
    fn current(&mut self) -> Result<Option<&mut Chain>> {
        let names = names(&*self.vfs)?;
        let newest = names.iter().filter_map(|name| log_id(name)).max();
        let generation = generations(&names).first().copied().unwrap_or(0);
        let is_current = |chain: &&mut Chain| newest == Some(chain.newest.header.id) && generation == self.generation;
        Ok(self.chain.as_mut().filter(is_current))
    }
}
