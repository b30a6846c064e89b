//! Looking at every byte of a store, and at what no checksum tells: whether its files contradict each other.

use super::Store;
use super::graph;
use super::key::KeyRef;
use super::manifest::{Manifest, read_deletions, read_format};
use super::recover::{generations, names};
use super::segment::Segment;
use crate::error::{Error, Result};
use crate::index::Bits;
use crate::runtime::Call;
use crate::storage::log::chain;
use crate::storage::vfs::Vfs;

/// What a look at every byte found.
#[derive(Debug)]
#[non_exhaustive]
pub struct Verified {
    /// Files that were read.
    pub files: usize,
    /// What is wrong with those that are damaged.
    pub damaged: Vec<Error>,
}

impl Store {
    /// Reads every byte of every file that the store consists of, and compares it with its checksums.
    pub fn verify(&self, call: &Call<'_>) -> Result<Verified> {
        let turn = self.inner.desk.writer(call)?;
        let mut verified = Verified { files: 0, damaged: Vec::new() };
        if let Some(vfs) = self.inner.vfs()? {
            verified.look_at(&*vfs, call)?;
        }
        drop(turn);
        Ok(verified)
    }
}

impl Verified {
    fn note<T>(&mut self, result: Result<T>) -> Result<Option<T>> {
        self.files += 1;
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) => self.keep(error).map(|()| None),
        }
    }

    /// Keeps an error that says what is wrong with a file; hands on what stands in the way of looking at it.
    fn keep(&mut self, error: Error) -> Result<()> {
        match error {
            Error::Corruption { .. } | Error::FormatVersion { .. } => self.damaged.push(error),
            other => return Err(other),
        }
        Ok(())
    }

    fn look_at(&mut self, vfs: &dyn Vfs, call: &Call<'_>) -> Result<()> {
        let Some(store) = self.note(read_format(vfs))? else { return Ok(()) };
        let generations = generations(&names(vfs)?);
        let newest = generations.first().copied();
        for generation in generations {
            let Some(manifest) = self.note(Manifest::open(vfs, generation, store))? else { continue };
            self.look_at_files(vfs, &manifest, call)?;
            if Some(generation) == newest {
                self.note(chain(vfs, store, manifest.seq, &mut |_, _| call.check()).map(drop))?;
            }
        }
        if newest.is_none() {
            self.note(chain(vfs, store, 0, &mut |_, _| call.check()).map(drop))?;
        }
        Ok(())
    }

    fn look_at_files(&mut self, vfs: &dyn Vfs, manifest: &Manifest, call: &Call<'_>) -> Result<()> {
        for collection in &manifest.collections {
            let mut whole = Vec::new();
            for segment in &collection.segments {
                call.check()?;
                let opened = Segment::open(vfs, &segment.name(), collection.id, &collection.schema);
                let opened = self.note(opened.and_then(|opened| opened.digest().map(|_| opened)))?;
                let gone = match &segment.deletions {
                    Some(deletions) => self.note(read_deletions(vfs, deletions, segment.rows))?,
                    None => Some(Bits::default()),
                };
                whole.extend(opened.zip(gone).map(|(segment, gone)| Keys { segment, gone }));
            }
            if let Err(error) = distinct(&whole, call) {
                self.keep(error)?;
            }
            if let Some(record) = &collection.graph {
                call.check()?;
                self.note(graph::verify(vfs, record))?;
            }
        }
        Ok(())
    }
}

/// A segment, and which of its rows are not there any more.
struct Keys {
    segment: Segment,
    gone: Bits,
}

impl Keys {
    /// The first key of a row that is still there, in the order of keys from this place on.
    fn next(&self, place: &mut usize) -> Result<Option<KeyRef<'_>>> {
        while *place < self.segment.keyed() {
            let slot = self.segment.slot_in_order(*place)?;
            if !self.gone.get(slot) {
                return self.segment.key(slot).map(Some);
            }
            *place += 1;
        }
        Ok(None)
    }
}

/// Keys that are looked at before the caller is asked whether to go on.
const KEYS_PER_LOOK: usize = 4096;

/// Fails if two segments have rows under the same key.
fn distinct(segments: &[Keys], call: &Call<'_>) -> Result<()> {
    let (mut places, mut looked_at) = (vec![0; segments.len()], 0);
    loop {
        let (mut first, mut twice): (Option<(KeyRef<'_>, usize)>, Option<usize>) = (None, None);
        for (i, keys) in segments.iter().enumerate() {
            let Some(key) = keys.next(&mut places[i])? else { continue };
            match first {
                Some((least, _)) if key > least => {}
                Some((least, other)) if key == least => twice = Some(other),
                _ => first = Some((key, i)),
            }
        }
        let Some((key, i)) = first else { return Ok(()) };
        if twice == Some(i) {
            return Err(segments[i].segment.shared(key));
        }
        places[i] += 1;
        looked_at += 1;
        if looked_at % KEYS_PER_LOOK == 0 {
            call.check()?;
        }
    }
}
