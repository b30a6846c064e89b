//! Bytes on disk: what a file looks like and how it gets there whole. Nothing here knows what a vector is.

mod container;
pub(crate) mod log;
pub(crate) mod vfs;

pub(crate) use container::{Container, ContainerWriter, Guarded, Seal};
