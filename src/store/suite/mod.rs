//! The store against a model, on a disk that does its worst.
//!
//! [`model`] is what a store should hold after each change. [`crashes`] cuts the power anywhere, [`faults`] lets any call fail,
//! [`torn`] tears the log at every byte, [`hostile`] hands in files that nobody wrote, [`graphs`] loses graphs, [`flats`] reads rows where they lie, [`groups`] has threads write at once, [`filters`] asks what filters remember.

mod crashes;
mod faults;
mod filters;
mod flats;
mod graphs;
mod groups;
mod hostile;
mod model;
mod readers;
mod torn;

use super::*;
use crate::storage::vfs::sim::SimDisk;
use model::{Change, Model, content};

/// Small sizes, so that small workloads reach everything.
const LIMITS: Limits = Limits { direct_bytes: 1500, checkpoint_bytes: 40 << 10, short_log: 16 << 10 };

fn open(disk: &SimDisk, mode: Mode, sync: SyncMode) -> Result<Store> {
    let options = StoreOptions { mode, sync, ..StoreOptions::default() };
    Store::on(Arc::new(disk.clone()), options, LIMITS)
}

fn writer(disk: &SimDisk) -> Result<Store> {
    open(disk, Mode::ReadWrite, SyncMode::Batch)
}

fn reader(disk: &SimDisk) -> Result<Store> {
    open(disk, Mode::Read, SyncMode::Batch)
}

fn call() -> Call<'static> {
    Call::single_threaded()
}
