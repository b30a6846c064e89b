//! A few rows as a kernel reads them: f32, at an address each.
//!
//! Rows under f32 are read where they lie, and a tile of them is only a list. Of rows under another codec a tile holds the decoded
//! values, so it should be no larger than the cache that is to serve them.

use super::table::Table;
use crate::error::Result;
use crate::simd::Simd;
use crate::vectors::{Codec, Decode, Matrix, aligned_width};
use parking_lot::Mutex;

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

    /// The most rows of a tile.
    pub(crate) fn size(&self) -> usize {
        if self.places.is_empty() { usize::MAX } else { self.places.len() }
    }

    /// The rows in `slots`, which exist and are no more than there is room for.
    #[inline(always)]
    pub(crate) fn tile<'a, S: Simd>(&'a mut self, simd: S, table: &'a Table, slots: &'a [u32]) -> Tile<'a> {
        if table.codec() == Codec::F32 {
            return Tile { slots, places: slots, rows: table.rows() };
        }
        let places = &self.places[..slots.len()];
        if !slots.is_empty() {
            let (width, out) = (self.rows.width(), self.rows.run_mut(0, slots.len()));
            simd.vectorize(Decode { rows: table.kept(), slots, width, out });
        }
        Tile { slots, places, rows: &self.rows }
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
