//! One collection, as users see it.

use super::Inner;
use super::batch::{Row, encode_attach, encode_delete, encode_meta, encode_put};
use super::desk::{Desk, Kind};
use super::files::segment_name;
use super::filter::Filter;
use super::intake::{Intake, OnConflict};
use super::key::Key;
use super::metadata::{Document, Metadata};
use super::rows::{Rows, Sealed};
use super::schema::Schema;
use super::segment::{self, Input, Segment};
use super::world::{Live, World};
use crate::error::{Error, Result};
use crate::runtime::Call;
use crate::storage::log::Frame;
use crate::storage::vfs::Vfs;
use crate::vectors::RowSource;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::PathBuf;
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
    name: String,
    schema: Schema,
}

impl Collection {
    pub(super) fn new(inner: &Arc<Inner>, live: &Live) -> Collection {
        Collection { inner: Arc::clone(inner), id: live.id, name: live.name.clone(), schema: live.schema }
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
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
        let found = world.collections.get(&self.name).filter(|live| live.id == self.id);
        found.cloned().ok_or_else(|| Error::CollectionNotFound(self.name.clone()))
    }

    fn change<R>(&self, call: &Call<'_>, change: impl FnOnce(&mut Desk, &Arc<Live>, &World) -> Result<R>) -> Result<R> {
        self.inner.change(call, |desk, world| {
            let live = self.live_in(world)?;
            let result = change(desk, &live, world)?;
            live.link_soon();
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
        self.check_room(&*self.inner.world()?, rows.rows().saturating_mul(row))?;
        let mut intake = Intake::read(&self.schema, keys, rows, metadata, conflict, call)?;
        let written = self.change(call, |desk, live, world| {
            intake.meet(&live.rows.read(), conflict, desk.now())?;
            self.write(desk, live, world, intake)
        })?;
        call.progress(rows.rows(), rows.rows());
        Ok(written)
    }

    /// Changes what rows say: names in a patch are set (and, with `replace`, all others removed). One patch for all keys, or one for each.
    /// Returns how many of the keys there were.
    pub fn set_metadata(&self, keys: &[Key], patches: &[Metadata], replace: bool, call: &Call<'_>) -> Result<usize> {
        if patches.len() != 1 && patches.len() != keys.len() {
            return Err(Error::CountMismatch { what: "metadata", rows: keys.len(), given: patches.len() });
        }
        for (i, key) in keys.iter().enumerate() {
            key.check(i)?;
        }
        self.change(call, |desk, live, world| {
            let intake = {
                let rows = live.rows.read();
                let patched = self.patch(&rows, keys, patches, replace)?;
                self.rewritten(&rows, patched, desk.now())?
            };
            self.write(desk, live, world, intake)
        })
    }

    /// What the rows with these keys are to say, and the first place of each among them.
    fn patch<'a>(
        &self,
        rows: &Rows,
        keys: &'a [Key],
        patches: &[Metadata],
        replace: bool,
    ) -> Result<BTreeMap<&'a Key, (usize, Metadata)>> {
        let mut patched: BTreeMap<&Key, (usize, Metadata)> = BTreeMap::new();
        for (i, key) in keys.iter().enumerate() {
            let object = match patched.entry(key) {
                Entry::Occupied(entry) => &mut entry.into_mut().1,
                Entry::Vacant(entry) => {
                    let Some(number) = rows.find(key) else { continue };
                    &mut entry.insert((i, self.object(&rows.row(number)?.metadata)?)).1
                }
            };
            if replace {
                object.clear();
            }
            object.extend(patches[if patches.len() == 1 { 0 } else { i }].clone());
        }
        Ok(patched)
    }

    /// Rows that are there, with other metadata.
    fn rewritten(&self, rows: &Rows, patched: BTreeMap<&Key, (usize, Metadata)>, now: i64) -> Result<Intake> {
        let mut intake = Intake { rows: Vec::new(), values: Vec::new(), dim: self.schema.dim };
        for (key, (position, object)) in patched {
            let Some(number) = rows.find(key) else { continue };
            let metadata = Document::new(&object, position)?;
            intake.values.extend(rows.values(&[number])?);
            intake.rows.push(Row { metadata, updated: now, ..rows.row(number)? });
        }
        Ok(intake)
    }

    /// Writes a batch of rows and shows it.
    fn write(&self, desk: &mut Desk, live: &Arc<Live>, world: &World, intake: Intake) -> Result<usize> {
        let count = intake.rows.len();
        if count == 0 {
            return Ok(0);
        }
        self.check_room(world, intake.bytes() + intake.rows.len() * self.schema.linked_bytes())?;
        let vfs = match &mut desk.kind {
            Kind::Writer(writer) if intake.bytes() > writer.limits.direct_bytes => {
                Some((Arc::clone(&writer.vfs), writer.new_file()))
            }
            _ => None,
        };
        match vfs {
            Some((vfs, file)) => self.write_directly(desk, live, &*vfs, file, intake)?,
            None => {
                let mut frame = Frame::new();
                let bytes = intake.bytes();
                frame.payload().try_reserve(bytes).map_err(|_| Error::out_of_memory("the batch", bytes))?;
                for (row, values) in intake.rows.iter().zip(intake.values.chunks_exact(intake.dim)) {
                    encode_put(frame.payload(), self.id, row, values);
                }
                desk.commit(frame, || live.change(|rows| intake.put(rows))?)?;
            }
        }
        Ok(count)
    }

    /// Writes the rows to a segment first; then the batch only has to name it.
    fn write_directly(
        &self,
        desk: &mut Desk,
        live: &Arc<Live>,
        vfs: &dyn Vfs,
        file: u64,
        Intake { rows, values, dim }: Intake,
    ) -> Result<()> {
        let rows: Vec<Option<Row>> = rows.into_iter().map(Some).collect();
        let written = (|| {
            let values = |range: std::ops::Range<usize>| Ok(values[range.start * dim..range.end * dim].to_vec());
            let input = Input { collection: self.id, dim, rows: &rows, values: &values };
            let name = segment::write(vfs, file, &input)?;
            vfs.sync_directory().map_err(|error| Error::io(&vfs.path(""), error))?;
            Ok((name, Segment::open(vfs, &name, self.id, dim)?))
        })();
        let (name, opened) = written.inspect_err(|_| drop(vfs.remove(&segment_name(file))))?;
        let mut frame = Frame::new();
        encode_attach(frame.payload(), self.id, &name);
        if let Kind::Writer(writer) = &mut desk.kind {
            // From here on a log may name it, whatever comes of the call.
            writer.attached.insert(segment_name(file));
        }
        desk.commit(frame, || live.change(|rows| rows.attach(Sealed::new(name, opened), false))?)
    }

    fn check_room(&self, world: &World, bytes: usize) -> Result<()> {
        let Some(max) = self.inner.max_bytes else { return Ok(()) };
        let held: u64 = world.collections.values().map(|live| live.rows.read().bytes()).sum();
        let needed = held.saturating_add(bytes as u64);
        if needed <= max {
            return Ok(());
        }
        Err(Error::Capacity { what: "the store with these rows", needed, limit: format!("and max_bytes is {max}") })
    }

    /// Removes the rows with these keys; unknown ones are passed over. Returns how many there were.
    pub fn delete(&self, keys: &[Key], call: &Call<'_>) -> Result<usize> {
        for (i, key) in keys.iter().enumerate() {
            key.check(i)?;
        }
        self.change(call, |desk, live, _| {
            let mut there: Vec<Key> = {
                let rows = live.rows.read();
                keys.iter().filter(|key| rows.find(key).is_some()).cloned().collect()
            };
            there.sort_unstable();
            there.dedup();
            self.remove(desk, live, &there)
        })
    }

    /// Removes the rows that a filter lets through. Returns how many there were.
    pub fn delete_where(&self, filter: &Filter, call: &Call<'_>) -> Result<usize> {
        self.change(call, |desk, live, _| {
            let mut there: Vec<Key> = {
                let rows = live.rows.read();
                rows.passing(filter, call)?.into_iter().map(|number| rows.key(number)).collect::<Result<_>>()?
            };
            there.sort_unstable();
            self.remove(desk, live, &there)
        })
    }

    fn remove(&self, desk: &mut Desk, live: &Arc<Live>, keys: &[Key]) -> Result<usize> {
        if keys.is_empty() {
            return Ok(0);
        }
        let mut frame = Frame::new();
        for key in keys {
            encode_delete(frame.payload(), self.id, key);
        }
        desk.commit(frame, || live.change(|rows| rows.delete(keys))?)
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
        let get = |key| rows.find(key).map(|number| self.stored(&rows, number)).transpose();
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
        Ok(self.live()?.rows.read().find(key).is_some())
    }

    /// How many rows a filter lets through.
    pub fn count(&self, filter: &Filter, call: &Call<'_>) -> Result<usize> {
        self.live()?.rows.read().count(filter, call)
    }

    /// Up to `limit` rows that a filter lets through, in the order of their keys, from behind `after` on.
    pub fn scan(&self, filter: Option<&Filter>, after: Option<&Key>, limit: usize) -> Result<Vec<StoredRow>> {
        let live = self.live()?;
        let rows = live.rows.read();
        let wanted = rows.in_order(after);
        let wanted = wanted.filter(|number| filter.is_none_or(|filter| rows.matches(*number, filter)));
        wanted.take(limit).map(|number| self.stored(&rows, number)).collect()
    }

    pub(super) fn stored(&self, rows: &Rows, number: i64) -> Result<StoredRow> {
        let Row { key, created, updated, metadata } = rows.row(number)?;
        Ok(StoredRow { key, vector: rows.values(&[number])?, metadata, created_at: created, updated_at: updated })
    }

    /// The object in a text that came from a file, which somebody may have forged.
    fn object(&self, document: &Document) -> Result<Metadata> {
        document.object().ok_or_else(|| Error::Corruption {
            path: PathBuf::from(&self.name),
            block: "metadata".to_owned(),
            what: "a row has metadata that are no JSON object".to_owned(),
        })
    }
}
