//! Opening a store: what its files say, whatever happened to whoever wrote them.
//!
//! The newest manifest that can be read, and all batches after it in the logs. If a file of the newest turns out to be damaged, the one
//! before it and the longer tail of the logs lead to the same rows. Nothing that was found is changed: a writer begins a log of its
//! own, a reader writes nothing at all.

use super::files::file_number;
use super::manifest::{FORMAT_FILE, LOCK_FILE, Manifest, manifest_generation, manifest_name, read_format};
use super::world::{World, corrupt};
use crate::error::{Error, Result};
use crate::storage::log::{Chain, chain, log_id};
use crate::storage::vfs::{TEMPORARY, Vfs};
use std::io;
use std::time::Duration;

/// A store, read.
pub(super) struct Loaded {
    pub(super) store: u128,
    pub(super) world: World,
    pub(super) manifest: Manifest,
    /// `None` if nothing has ever been written.
    pub(super) chain: Option<Chain>,
    /// What is wrong with the newest manifest or its files, if another had to be used.
    pub(super) damage: Option<Error>,
}

/// What the directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Directory {
    Store,
    /// Nothing is in it, or only what somebody left who did not get far.
    Empty,
}

/// Looks at the directory, and refuses one that has other things in it.
pub(super) fn examine(vfs: &dyn Vfs) -> Result<Directory> {
    let names = names(vfs)?;
    if names.iter().any(|name| name == FORMAT_FILE) {
        return Ok(Directory::Store);
    }
    match names.iter().find(|name| *name != LOCK_FILE && !name.starts_with(TEMPORARY)) {
        None => Ok(Directory::Empty),
        Some(name) => {
            let what = format!("the directory has no file {FORMAT_FILE:?}, but others, such as {name:?}");
            Err(Error::NotAStore { path: vfs.path(""), what })
        }
    }
}

pub(super) fn names(vfs: &dyn Vfs) -> Result<Vec<String>> {
    vfs.list().map_err(|error| Error::io(&vfs.path(""), error))
}

/// The numbers of the manifests, newest first.
pub(super) fn generations(names: &[String]) -> Vec<u64> {
    let mut generations: Vec<u64> = names.iter().filter_map(|name| manifest_generation(name)).collect();
    generations.sort_unstable_by(|a, b| b.cmp(a));
    generations
}

/// Reads the store. Only damage to a manifest or to what it lists sends us to the one before: the logs are the same for both.
/// With `verify` every byte of the segments is compared with its checksum first.
pub(super) fn load(vfs: &dyn Vfs, verify: bool) -> Result<Loaded> {
    let store = read_format(vfs)?;
    let (mut damage, mut least_log) = (None, 0);
    for generation in generations(&names(vfs)?) {
        let opened = Manifest::open(vfs, generation, store).and_then(|manifest| {
            least_log = least_log.max(manifest.log);
            let world = World::open(vfs, &manifest)?;
            if verify {
                world.verify()?;
            }
            Ok((manifest, world))
        });
        match opened {
            Err(error @ Error::Corruption { .. }) => damage = damage.or(Some(error)),
            Err(error) => return Err(error),
            Ok(base) => return follow_logs(vfs, base, least_log, damage),
        }
    }
    // Before the first manifest everything is in the logs.
    let manifest = Manifest { store, next_collection: 1, ..Manifest::default() };
    follow_logs(vfs, (manifest, World::empty(1)), least_log, damage)
}

/// Adds the batches behind the manifest. The log numbered `least_log`, or one that replaces it and so has a larger number, must be there.
fn follow_logs(
    vfs: &dyn Vfs,
    (manifest, mut world): (Manifest, World),
    least_log: u64,
    damage: Option<Error>,
) -> Result<Loaded> {
    let lost = |what: &str| Err(corrupt(vfs, "the logs", what.to_owned()));
    let chain = chain(vfs, manifest.store, manifest.seq, &mut |seq, payload| world.replay(vfs, seq, payload));
    let chain = chain.and_then(|chain| match &chain {
        None if least_log > 0 || names(vfs)?.iter().any(|name| file_number(name).is_some()) => lost("there are none"),
        Some(found) if found.newest.header.id < least_log => lost("the newest is missing"),
        Some(found) if found.cursor.seq <= manifest.seq => lost("they end before the manifest does"),
        _ => Ok(chain),
    });
    match (chain, damage) {
        (Ok(chain), damage) => Ok(Loaded { store: manifest.store, world, manifest, chain, damage }),
        // What came first is what to say.
        (Err(Error::Corruption { .. }), Some(damage)) => Err(damage),
        (Err(error), _) => Err(error),
    }
}

/// How often a reader looks again when files change under it.
const ATTEMPTS: u64 = 16;

/// Reads the store while somebody else may be writing it: what looks damaged or is missing may just have been replaced.
pub(super) fn load_beside_a_writer(vfs: &dyn Vfs, verify: bool) -> Result<Loaded> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let before = names(vfs)?;
        let error = match load(vfs, verify) {
            Ok(loaded) => return Ok(loaded),
            Err(error) => error,
        };
        let is_missing = matches!(&error, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound);
        let may_pass = is_missing || matches!(error, Error::Corruption { .. });
        if !may_pass || attempt == ATTEMPTS || names(vfs)? == before {
            return Err(error);
        }
        std::thread::sleep(Duration::from_millis(attempt));
    }
}

/// The largest number that any file has.
pub(super) fn largest_number(names: &[String]) -> u64 {
    names.iter().filter_map(|name| log_id(name).or_else(|| file_number(name))).max().unwrap_or(0)
}

/// Names that nobody but us could have given.
pub(super) fn is_ours(name: &str) -> bool {
    log_id(name).is_some()
        || file_number(name).is_some()
        || manifest_generation(name).is_some()
        || name.starts_with(TEMPORARY)
}

/// The names of these manifests.
pub(super) fn manifest_names(generations: impl IntoIterator<Item = u64>) -> impl Iterator<Item = String> {
    generations.into_iter().map(manifest_name)
}
