//! One collection, as users see it.

use super::Inner;
use super::batch::{Row, encode_meta};
use super::changes::{Changes, Wanted};
use super::desk::Desk;
use super::filter::Filter;
use super::group::write_one;
use super::intake::{Intake, OnConflict};
use super::key::Key;
use super::metadata::{Document, Metadata};
use super::queue::Batch;
use super::rows::Rows;
use super::schema::Schema;
use super::world::{Live, World};
use crate::error::{Error, Result};
use crate::runtime::Call;
use crate::storage::log::Frame;
use crate::vectors::RowSource;
use std::sync::Arc;

/// A row as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRow {
    /// Its key.
    pub key: Key,
    /// Its values.
    pub vector: Vec<f32>,
    /// What it says.
    pub metadata: Document,
    /// When it was first put here, in milliseconds since 1970.
    pub created_at: i64,
    /// When it was last put here or changed.
    pub updated_at: i64,
}

/// Rows under keys, with metadata. All methods may be called from any thread. A call that fails has changed nothing.
pub struct Collection {
    inner: Arc<Inner>,
    id: u64,
    name: Arc<str>,
    schema: Schema,
}

impl Collection {
    pub(super) fn new(inner: &Arc<Inner>, live: &Live) -> Collection {
        Collection { inner: Arc::clone(inner), id: live.id, name: Arc::clone(&live.name), schema: live.schema }
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn shared_name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    /// What was chosen when it was created.
    pub fn schema(&self) -> Schema {
        self.schema
    }

    /// The rows, unless the collection was dropped.
    pub(super) fn live(&self) -> Result<Arc<Live>> {
        self.live_in(&*self.inner.world()?)
    }

    fn live_in(&self, world: &World) -> Result<Arc<Live>> {
        let found = world.collections.get(&*self.name).filter(|live| live.id == self.id);
        found.cloned().ok_or_else(|| Error::CollectionNotFound(self.name.to_string()))
    }

    fn change<R>(&self, call: &Call<'_>, change: impl FnOnce(&mut Desk, &Arc<Live>, &World) -> Result<R>) -> Result<R> {
        self.inner.change(call, |desk, world| {
            let live = self.live_in(world)?;
            let result = change(desk, &live, world)?;
            live.tend_soon(self.inner.auto_compact);
            desk.checkpoint_if_due(world);
            Ok(result)
        })
    }

    /// Puts rows under these keys, replacing what is there; of rows with the same key the last one stays. Without metadata each has an
    /// empty object. Returns how many distinct keys were written. All or nothing, also across a crash.
    pub fn upsert(
        &self,
        keys: &[Key],
        rows: &dyn RowSource,
        metadata: Option<&[Document]>,
        call: &Call<'_>,
    ) -> Result<usize> {
        self.put(keys, rows, metadata, OnConflict::Replace, call)
    }

    /// Puts rows under keys that are new, and does with others what `conflict` says. Returns how many were written.
    pub fn put(
        &self,
        keys: &[Key],
        rows: &dyn RowSource,
        metadata: Option<&[Document]>,
        conflict: OnConflict,
        call: &Call<'_>,
    ) -> Result<usize> {
        // What cannot fit is refused before it is read.
        let row = self.schema.dim * size_of::<f32>() + self.schema.linked_bytes();
        self.inner.check_room(&*self.inner.world()?, rows.rows().saturating_mul(row))?;
        let intake = Intake::read(&self.schema, keys, rows, metadata, conflict, call)?;
        let written = self.write(Wanted::Put(intake, conflict), call)?;
        call.progress(rows.rows(), rows.rows());
        Ok(written)
    }

    /// Changes what rows say: names in a patch are set (and, with `replace`, all others removed). One patch for all keys, or one for each.
    /// Returns how many of the keys there were.
    pub fn set_metadata(&self, keys: &[Key], patches: &[Metadata], replace: bool, call: &Call<'_>) -> Result<usize> {
        if patches.len() != 1 && patches.len() != keys.len() {
            return Err(Error::CountMismatch { what: "metadata", rows: keys.len(), given: patches.len() });
        }
        check_keys(keys)?;
        self.write(Wanted::Patch { keys: keys.to_vec(), patches: patches.to_vec(), replace }, call)
    }

    fn write(&self, wanted: Wanted, call: &Call<'_>) -> Result<usize> {
        self.inner.write(Batch { collection: self.id, name: Arc::clone(&self.name), wanted }, call)
    }

    /// Removes the rows with these keys; unknown ones are passed over. Returns how many there were.
    pub fn delete(&self, keys: &[Key], call: &Call<'_>) -> Result<usize> {
        check_keys(keys)?;
        self.write(Wanted::Delete(keys.to_vec()), call)
    }

    /// Removes the rows that a filter lets through. Returns how many there were.
    pub fn delete_where(&self, filter: &Filter, call: &Call<'_>) -> Result<usize> {
        self.change(call, |desk, live, _| {
            let mut there: Vec<Key> = {
                let rows = live.rows.read();
                rows.passing(filter, call)?.into_iter().map(|number| rows.key(number)).collect::<Result<_>>()?
            };
            there.sort_unstable();
            write_one(desk, live, Changes::Delete(there))
        })
    }

    /// What the collection says about itself.
    pub fn meta(&self) -> Result<Metadata> {
        Ok(self.live()?.rows.read().meta.clone())
    }

    /// Changes what the collection says about itself. What another thread writes meanwhile comes before or after it.
    pub fn change_meta(&self, change: impl FnOnce(&mut Metadata), call: &Call<'_>) -> Result<()> {
        self.change(call, |desk, live, _| {
            let mut meta = live.rows.read().meta.clone();
            change(&mut meta);
            let text = Document::new(&meta, 0)?;
            let mut frame = Frame::new();
            encode_meta(frame.payload(), self.id, &text);
            desk.commit(frame, || live.change(|rows| rows.meta = meta))
        })
    }

    /// Replaces what the collection says about itself.
    pub fn set_meta(&self, meta: &Metadata, call: &Call<'_>) -> Result<()> {
        self.change_meta(|old| old.clone_from(meta), call)
    }

    /// The rows with these keys; `None` where there is none.
    pub fn get(&self, keys: &[Key]) -> Result<Vec<Option<StoredRow>>> {
        let live = self.live()?;
        let rows = live.rows.read();
        let get = |key| rows.find(key)?.map(|number| self.stored(&rows, number)).transpose();
        keys.iter().map(get).collect()
    }

    /// How many rows there are.
    pub fn len(&self) -> Result<usize> {
        Ok(self.live()?.rows.read().len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Whether there is a row with this key.
    pub fn contains(&self, key: &Key) -> Result<bool> {
        Ok(self.live()?.rows.read().find(key)?.is_some())
    }

    /// How many rows a filter lets through.
    pub fn count(&self, filter: &Filter, call: &Call<'_>) -> Result<usize> {
        self.live()?.rows.read().count(filter, call)
    }

    /// Up to `limit` rows that a filter lets through, in the order of their keys, from behind `after` on.
    pub fn scan(&self, filter: Option<&Filter>, after: Option<&Key>, limit: usize) -> Result<Vec<StoredRow>> {
        let live = self.live()?;
        let rows = live.rows.read();
        let wanted = |number: Result<i64>| {
            let number = number?;
            let passes = filter.map_or(Ok(true), |filter| rows.matches(number, filter))?;
            Ok(passes.then_some(number))
        };
        let wanted = rows.in_order(after)?.filter_map(|number| wanted(number).transpose());
        wanted.take(limit).map(|number| self.stored(&rows, number?)).collect()
    }

    pub(super) fn stored(&self, rows: &Rows, number: i64) -> Result<StoredRow> {
        let Row { key, created, updated, metadata } = rows.row(number)?;
        Ok(StoredRow { key, vector: rows.values(&[number])?, metadata, created_at: created, updated_at: updated })
    }
}

fn check_keys(keys: &[Key]) -> Result<()> {
    keys.iter().enumerate().try_for_each(|(i, key)| key.check(i))
}
