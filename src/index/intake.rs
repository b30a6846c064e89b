//! How rows get into a table: read and checked once, stored in hidden slots, made visible together.

use super::table::Table;
use crate::error::{Error, Result};
use crate::runtime::{Call, Writer};
use crate::vectors::{Codec, Piece, RowSource};
use hashbrown::HashMap;

/// Anything that is built on a table.
pub(crate) trait Tabled {
    fn table(&self) -> &Table;
    fn table_mut(&mut self) -> &mut Table;
}

impl Tabled for Table {
    fn table(&self) -> &Table {
        self
    }

    fn table_mut(&mut self) -> &mut Table {
        self
    }
}

/// Rows are copied in under the lock in pieces of about this size: a tenth of a millisecond.
const PIECE_BYTES: usize = 512 << 10;

/// The most rows of a piece: of short ones the other columns of the table weigh more than the bytes.
const MAX_PIECE_ROWS: usize = 8192;

/// Where the rows of one write go: for each row of the source its id, and `None` for rows that a later one replaces.
pub(crate) struct Intake {
    pub(crate) ids: Vec<Option<i64>>,
}

impl Intake {
    /// New ids for `rows` rows: `given`, or the next ones.
    pub(crate) fn add(table: &Table, rows: usize, given: Option<&[i64]>) -> Result<Intake> {
        let Some(given) = given else {
            let last = table.next_id().checked_add(rows as i64);
            let Some(last) = last.filter(|&last| rows == 0 || last > 0) else {
                return Err(Error::InvalidArgument("no ids are left after 2**63 - 1; give ids yourself".to_owned()));
            };
            return Ok(Intake { ids: (last - rows as i64..last).map(Some).collect() });
        };
        check_ids(rows, given)?;
        let mut seen = hashbrown::HashSet::with_capacity(given.len());
        for &id in given {
            if table.slot_of(id).is_some() || !seen.insert(id) {
                return Err(Error::DuplicateId(id));
            }
        }
        Ok(Intake { ids: given.iter().copied().map(Some).collect() })
    }

    /// These ids, new or not; the last row of an id wins.
    pub(crate) fn upsert(rows: usize, given: &[i64]) -> Result<Intake> {
        check_ids(rows, given)?;
        let last: HashMap<i64, usize> = given.iter().enumerate().map(|(row, &id)| (id, row)).collect();
        let wins = |(row, &id): (usize, &i64)| (last.get(&id) == Some(&row)).then_some(id);
        Ok(Intake { ids: given.iter().enumerate().map(wins).collect() })
    }

    /// How many rows will be stored.
    pub(crate) fn stored(&self) -> usize {
        self.ids.iter().flatten().count()
    }

    /// Slot and id of each row that will be stored: in the free slots first, then from `before` on.
    pub(crate) fn places<'a>(&'a self, free: &'a [u32], before: usize) -> impl Iterator<Item = (u32, i64)> + 'a {
        free.iter().copied().chain(before as u32..).zip(self.ids.iter().flatten().copied())
    }

    /// Copies the rows that are to be stored into hidden slots, those of `free` first, and checks them all. Returns slot and id of
    /// each. On an error the table is as it was. `copied` is told how many rows have been read, piece by piece.
    pub(crate) fn stage<T: Tabled>(
        &self,
        writer: &Writer<'_, T>,
        source: &dyn RowSource,
        free: &[u32],
        call: &Call<'_>,
        copied: &dyn Fn(usize),
    ) -> Result<Vec<(u32, i64)>> {
        let (codec, before) = {
            let state = writer.read();
            (state.table().codec(), state.table().slots())
        };
        let appended = self.stored().saturating_sub(free.len());
        writer.write().table_mut().try_reserve(appended)?;
        let result = self.copy_rows(writer, source, (free, before, codec), call, copied);
        if result.is_err() {
            writer.write().table_mut().truncate(before);
        }
        result
    }

    fn copy_rows<T: Tabled>(
        &self,
        writer: &Writer<'_, T>,
        source: &dyn RowSource,
        (free, before, codec): (&[u32], usize, Codec),
        call: &Call<'_>,
        copied: &dyn Fn(usize),
    ) -> Result<Vec<(u32, i64)>> {
        let dim = source.dim();
        let rows_per_piece = (PIECE_BYTES / codec.row_bytes(dim)).clamp(1, MAX_PIECE_ROWS);
        let mut piece = Piece::new(codec, dim, rows_per_piece.min(self.ids.len()));
        let entries: Vec<(u32, i64)> = self.places(free, before).collect();
        let mut places = entries.iter();
        let mut staged = Vec::with_capacity(rows_per_piece);
        for (start, ids) in (0..).step_by(rows_per_piece).zip(self.ids.chunks(rows_per_piece)) {
            call.check()?;
            staged.clear();
            for (at, id) in ids.iter().enumerate() {
                let squared_norm = piece.read(at, source, start + at)?;
                if id.is_some()
                    && let Some(&(slot, _)) = places.next()
                {
                    staged.push((at, slot, squared_norm));
                }
            }
            let mut state = writer.write();
            for &(at, slot, squared_norm) in &staged {
                if (slot as usize) < before {
                    state.table_mut().overwrite_hidden(slot as usize, piece.row(at), squared_norm);
                } else {
                    state.table_mut().push_hidden(piece.row(at), squared_norm);
                }
            }
            drop(state);
            copied(start + ids.len());
        }
        Ok(entries)
    }
}

fn check_ids(rows: usize, ids: &[i64]) -> Result<()> {
    if ids.len() != rows {
        return Err(Error::IdCount { rows, ids: ids.len() });
    }
    match ids.iter().position(|&id| id < 0) {
        Some(position) => Err(Error::IdRange { id: ids[position], position }),
        None => Ok(()),
    }
}

/// Refuses what would grow an index of `bytes` bytes by `additional` beyond its limit.
pub(crate) fn check_room(bytes: usize, additional: usize, max_bytes: Option<u64>) -> Result<()> {
    let needed = bytes as u64 + additional as u64;
    match max_bytes {
        Some(max) if needed > max => {
            let limit = format!("and max_bytes is {max}");
            Err(Error::Capacity { what: "the index with these rows", needed, limit })
        }
        _ => Ok(()),
    }
}

/// Refuses rows of another dimension.
pub(crate) fn check_dim(table: &Table, source: &dyn RowSource) -> Result<()> {
    if source.dim() == table.dim() {
        return Ok(());
    }
    Err(Error::Dimension { expected: table.dim(), given: source.dim() })
}
