//! The files of a store that are written once: what they are called, and how each is known by its seal.

use crate::error::{Error, Result};
use crate::storage::log::number;
use crate::storage::vfs::Vfs;
use crate::storage::{Container, ContainerWriter, Seal};
use std::io;

pub(super) fn segment_name(file: u64) -> String {
    format!("seg-{file:016x}.nf")
}

pub(super) fn deletions_name(file: u64) -> String {
    format!("del-{file:016x}.nf")
}

pub(super) fn graph_name(file: u64) -> String {
    format!("graph-{file:016x}.nf")
}

/// The number of a segment, of deletions or of a graph.
pub(super) fn file_number(name: &str) -> Option<u64> {
    ["seg-", "del-", "graph-"].iter().find_map(|kind| number(name, kind, ".nf"))
}

/// Writes a new file and syncs it; its name is not durable yet.
pub(super) fn write_sealed(
    vfs: &dyn Vfs,
    name: &str,
    kind: &str,
    body: impl FnOnce(&mut ContainerWriter<'_>) -> io::Result<()>,
) -> Result<Seal> {
    let written = vfs.create(name).and_then(|out| {
        let seal = ContainerWriter::write_file(&*out, kind, body)?;
        out.sync()?;
        Ok(seal)
    });
    // What went wrong on the way to the file, and not in it, is known already.
    written.map_err(|error| error.downcast::<Error>().unwrap_or_else(|error| Error::io(&vfs.path(name), error)))
}

/// A way to open a container: [`Container::map`] or [`Container::take`].
pub(super) type Opener = fn(&dyn Vfs, &str) -> Result<Container>;

/// Opens a file and makes sure that it is the one that was meant.
pub(super) fn open_sealed(vfs: &dyn Vfs, name: &str, kind: &str, seal: Seal, opener: Opener) -> Result<Container> {
    let container = opener(vfs, name).map_err(|error| match error {
        Error::Io { path, source } if source.kind() == io::ErrorKind::NotFound => {
            Error::Corruption { path, block: "file".into(), what: "it is missing".into() }
        }
        other => other,
    })?;
    if container.seal() != seal || container.kind() != kind {
        return Err(container.corrupt("header", "it is not the file that belongs here"));
    }
    Ok(container)
}
