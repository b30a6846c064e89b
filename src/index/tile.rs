//! A few rows as a kernel reads them: f32, at an address each.
//!
//! Rows under f32 are read where they lie, and a tile of them is only a list. Of rows under another codec a tile holds the decoded
//! values, so it should be no larger than the cache that is to serve them.

use super::table::Table;
use crate::error::Result;
use crate::kernel::PANEL_ROWS;
use crate::simd::Simd;
use crate::vectors::{Codec, Decode, Matrix, aligned_width};
use parking_lot::Mutex;

/// The rows that all panels of a group pass over before the next are read; they should fit the second-level cache.
const PANEL_BYTES: usize = 192 << 10;
/// The rows that are decoded at once for a lone query; they should fit the first-level cache, beside as many that are on their way.
const LONE_BYTES: usize = 24 << 10;

/// The rows of a tile that panels pass over.
pub(crate) fn panel_tile(table: &Table) -> usize {
    (PANEL_BYTES / (table.width() * size_of::<f32>())).max(64).next_multiple_of(PANEL_ROWS)
}

/// The rows of a tile that is decoded for a lone query.
pub(crate) fn lone_tile(table: &Table) -> usize {
    (LONE_BYTES / (table.width() * size_of::<f32>())).max(1).next_multiple_of(4)
}

/// Rows of a table and where their values are.
#[derive(Clone, Copy)]
pub(crate) struct Tile<'a> {
    /// Their slots in the table.
    pub(crate) slots: &'a [u32],
    /// For each slot the row of `rows` that has its values, padded as queries are; all of them exist.
    pub(crate) places: &'a [u32],
    pub(crate) rows: &'a Matrix<f32>,
}

impl<'a> Tile<'a> {
    /// Slot and values of the row at `i`.
    #[inline(always)]
    pub(crate) fn row(&self, i: usize) -> (usize, &'a [f32]) {
        (self.slots[i] as usize, self.rows.row(self.places[i] as usize))
    }
}

/// Room for the values of decoded rows.
pub(crate) struct Room {
    rows: Matrix<f32>,
    places: Vec<u32>,
}

impl Room {
    /// Room for `size` rows of `table`; for none if they are read where they lie.
    fn new(table: &Table, size: usize) -> Result<Room> {
        let size = if table.codec() == Codec::F32 { 0 } else { size.min(table.slots()) };
        // Zeros beyond the values of each row stay: nobody writes there.
        let rows = Matrix::zeros(aligned_width(table.dim()), size)?;
        Ok(Room { rows, places: (0..size as u32).collect() })
    }

    /// The rows in the first of `slots`, as many as there is room for. What comes after those is asked for ahead of its turn.
    #[inline(always)]
    pub(crate) fn tile<'a, S: Simd>(&'a mut self, simd: S, table: &'a Table, slots: &'a [u32]) -> Tile<'a> {
        if table.codec() == Codec::F32 {
            return Tile { slots, places: slots, rows: table.rows() };
        }
        let size = slots.len().min(self.places.len());
        let places = &self.places[..size];
        if size > 0 {
            let (width, out) = (self.rows.width(), self.rows.run_mut(0, size));
            simd.vectorize(Decode { rows: table.kept(), slots, width, out });
        }
        Tile { slots: &slots[..size], places, rows: &self.rows }
    }
}

/// A room for each thread of a call, made before any of them begins: memory that is not there is an error then.
pub(crate) struct Rooms(Mutex<Vec<Room>>);

impl Rooms {
    /// `count` rooms for `size` rows each.
    pub(crate) fn new(table: &Table, size: usize, count: usize) -> Result<Rooms> {
        let rooms = (0..count).map(|_| Room::new(table, size)).collect::<Result<_>>()?;
        Ok(Rooms(Mutex::new(rooms)))
    }

    /// A room that nobody else is in; to be given back.
    pub(crate) fn take(&self) -> Room {
        self.0.lock().pop().expect("no more tasks at once than threads")
    }

    pub(crate) fn give_back(&self, room: Room) {
        self.0.lock().push(room);
    }
}
