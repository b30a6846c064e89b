//! One collection, as users see it.

use super::Inner;
use super::batch::{SegmentName, encode_attach, encode_delete, encode_meta, encode_put};
use super::desk::{Desk, Kind};
use super::filter::Filter;
use super::intake::{Intake, OnConflict};
use super::key::Key;
use super::metadata::{self, Metadata};
use super::rows::{Rows, Sealed};
use super::schema::Schema;
use super::segment::{self, Input, segment_name};
use super::world::{Live, World};
use crate::error::{Error, Result};
use crate::index::Bits;
use crate::runtime::Call;
use crate::storage::log::Frame;
use crate::storage::vfs::Vfs;
use crate::vectors::{RowSource, Rows as Values};
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
    pub metadata: Metadata,
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
        metadata: Option<&[Metadata]>,
        call: &Call<'_>,
    ) -> Result<usize> {
        self.put(keys, rows, metadata, OnConflict::Replace, call)
    }

    /// Puts rows under keys that are new, and does with others what `conflict` says. Returns how many were written.
    pub fn put(
        &self,
        keys: &[Key],
        rows: &dyn RowSource,
        metadata: Option<&[Metadata]>,
        conflict: OnConflict,
        call: &Call<'_>,
    ) -> Result<usize> {
        let mut intake = Intake::read(&self.schema, keys, rows, metadata, conflict, call)?;
        self.change(call, |desk, live, world| {
            intake.meet(&live.rows.read(), conflict, desk.now())?;
            self.write(desk, live, world, intake)
        })
    }

    /// Changes what rows say: names in `patch` are set (and, with `replace`, all others removed). Returns how many of the keys there were.
    pub fn set_metadata(&self, keys: &[Key], patch: &Metadata, replace: bool, call: &Call<'_>) -> Result<usize> {
        for (i, key) in keys.iter().enumerate() {
            key.check(i)?;
        }
        let keys: std::collections::BTreeSet<&Key> = keys.iter().collect();
        self.change(call, |desk, live, world| {
            let mut intake = Intake { rows: Vec::new(), values: Vec::new(), dim: self.schema.dim };
            let (rows, now) = (live.rows.read(), desk.now());
            for (i, key) in keys.into_iter().enumerate() {
                let (Some(record), Some(number)) = (rows.find(key), rows.number_of(key)) else { continue };
                let mut new = if replace { Metadata::new() } else { self.decode(&record.row.metadata)? };
                new.extend(patch.clone());
                let mut row = record.row.clone();
                (row.metadata, row.updated) = (metadata::encode(&new, i)?, now);
                intake.values.extend(rows.values(&[number])?);
                intake.rows.push(row);
            }
            drop(rows);
            self.write(desk, live, world, intake)
        })
    }

    /// Writes a batch of rows and shows it.
    fn write(&self, desk: &mut Desk, live: &Arc<Live>, world: &World, intake: Intake) -> Result<usize> {
        let count = intake.rows.len();
        if count == 0 {
            return Ok(0);
        }
        self.check_room(world, &intake)?;
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
        intake: Intake,
    ) -> Result<()> {
        let dim = intake.dim;
        let written = (|| {
            let values = |range: std::ops::Range<usize>| Ok(intake.values[range.start * dim..range.end * dim].to_vec());
            let input = Input { collection: self.id, dim, rows: &intake.rows, values: &values };
            let name = segment::write(vfs, file, &input)?;
            vfs.sync_directory().map_err(|error| Error::io(&vfs.path(""), error))?;
            Ok(name)
        })();
        let name: SegmentName = written.inspect_err(|_| drop(vfs.remove(&segment_name(file))))?;
        let mut frame = Frame::new();
        encode_attach(frame.payload(), self.id, &name);
        if let Kind::Writer(writer) = &mut desk.kind {
            // From here on a log may name it, whatever comes of the call.
            writer.attached.insert(segment_name(file));
        }
        let Intake { rows: content, values, .. } = intake;
        desk.commit(frame, || {
            let sealed = Sealed::new(name, Bits::default(), None, false);
            let slots: Vec<u32> = (0..content.len() as u32).collect();
            live.change(|rows| rows.attach(&sealed, content, &Values::new(&values, dim)?, &slots))?
        })
    }

    fn check_room(&self, world: &World, intake: &Intake) -> Result<()> {
        let Some(max) = self.inner.max_bytes else { return Ok(()) };
        let held: u64 = world.collections.values().map(|live| live.rows.read().bytes()).sum();
        let needed = held + intake.bytes() as u64;
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
            let there: Vec<Key> = {
                let rows = live.rows.read();
                rows.matching(filter).filter_map(|number| Some(rows.record(number)?.row.key.clone())).collect()
            };
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

    /// Replaces what the collection says about itself.
    pub fn set_meta(&self, meta: &Metadata, call: &Call<'_>) -> Result<()> {
        let text = metadata::encode(meta, 0)?;
        self.change(call, |desk, live, _| {
            let mut frame = Frame::new();
            encode_meta(frame.payload(), self.id, &text);
            desk.commit(frame, || live.change(|rows| rows.meta.clone_from(meta)))
        })
    }

    /// The rows with these keys; `None` where there is none.
    pub fn get(&self, keys: &[Key]) -> Result<Vec<Option<StoredRow>>> {
        let live = self.live()?;
        let rows = live.rows.read();
        let get = |key| rows.number_of(key).map(|number| self.stored(&rows, number)).transpose();
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
    pub fn count(&self, filter: &Filter) -> Result<usize> {
        Ok(self.live()?.rows.read().matching(filter).count())
    }

    /// Up to `limit` rows that a filter lets through, in the order of their keys, from behind `after` on.
    pub fn scan(&self, filter: Option<&Filter>, after: Option<&Key>, limit: usize) -> Result<Vec<StoredRow>> {
        let live = self.live()?;
        let rows = live.rows.read();
        let wanted = rows.from(after).map(|(_, number)| number);
        let wanted = wanted.filter(|number| filter.is_none_or(|filter| rows.matches(*number, filter)));
        wanted.take(limit).map(|number| self.stored(&rows, number)).collect()
    }

    pub(super) fn stored(&self, rows: &Rows, number: i64) -> Result<StoredRow> {
        let row = &rows.record(number).ok_or(Error::MissingId(number))?.row;
        Ok(StoredRow {
            key: row.key.clone(),
            vector: rows.values(&[number])?,
            metadata: self.decode(&row.metadata)?,
            created_at: row.created,
            updated_at: row.updated,
        })
    }

    /// The object in a text that came from a file, which somebody may have forged.
    pub(super) fn decode(&self, text: &[u8]) -> Result<Metadata> {
        metadata::decode(text).ok_or_else(|| Error::Corruption {
            path: PathBuf::from(&self.name),
            block: "metadata".to_owned(),
            what: "a row has metadata that are no JSON object".to_owned(),
        })
    }
}
