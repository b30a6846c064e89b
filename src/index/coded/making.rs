//! Making codes: of all rows in the write that brings enough of them, or, of rows that lie in files, some at a time while searches do without.

use super::Coded;
use crate::error::Result;
use crate::runtime::{Call, Writer, map};
use crate::vectors::{CENTRED_ROWS, Coding, Encoder, Plane};
use std::sync::Arc;

/// Codes that are made between two looks at who waits: of so many bytes, and of some rows at least. Some milliseconds; in tests, less, so that
/// there are several steps.
const STEP_BYTES: usize = if cfg!(test) { 8 << 10 } else { 512 << 10 };
const LEAST_STEP: usize = 64;

/// Rows that one task encodes.
const ROWS_PER_TASK: usize = 64;

impl Coded {
    /// A plane over all slots, if there are enough of them.
    pub(super) fn first_plane(&self, call: &Call<'_>) -> Result<Option<Plane>> {
        let Some(spec) = self.spec.filter(|_| self.table.slots() >= CENTRED_ROWS) else { return Ok(None) };
        let coding = Arc::new(self.coding(spec, self.mean()));
        let mut plane = Plane::new(Arc::clone(&coding));
        plane.try_reserve(self.table.slots())?;
        let records = encode(&coding, self.table.slots(), call, |slot, values| self.table.read(slot, values))?;
        for record in records.iter().flat_map(|records| records.chunks_exact(coding.record_bytes())) {
            plane.push(record);
        }
        Ok(Some(plane))
    }

    /// How many slots are still to get codes: of rows that are lent, and of those that came while these had none.
    pub(crate) fn pending(&self) -> usize {
        if self.lent.is_empty() || self.spec.is_none() || self.plane.is_some() {
            return 0;
        }
        self.table.slots() - self.growing.as_ref().map_or(0, Plane::rows)
    }

    /// Makes the codes of some of the slots that have none; how many have none then. The last of them makes all of them visible.
    pub(crate) fn grow_plane(writer: &Writer<'_, Coded>, call: &Call<'_>) -> Result<usize> {
        let state = writer.read();
        let Some(spec) = state.spec.filter(|_| state.pending() > 0) else { return Ok(0) };
        let (coding, first) = match &state.growing {
            Some(plane) => (Arc::clone(plane.coding()), plane.rows()),
            None => (Arc::new(state.coding(spec, state.lent_mean()?)), 0),
        };
        // The last step is a long one, so that no few slots are left.
        let step = (STEP_BYTES / coding.record_bytes()).max(LEAST_STEP);
        let count = if state.pending() < 2 * step { state.pending() } else { step };
        state.lent.check_range(first..first + count)?;
        let table = &state.table;
        let records = encode(&coding, count, call, |i, values| table.read(first + i, values))?;
        drop(state);
        let mut state = writer.write();
        let slots = state.table.slots();
        let growing = state.growing.get_or_insert_with(|| Plane::new(Arc::clone(&coding)));
        growing.try_reserve(count)?;
        for record in records.iter().flat_map(|records| records.chunks_exact(coding.record_bytes())) {
            growing.push(record);
        }
        if growing.rows() == slots {
            state.plane = state.growing.take();
        }
        Ok(state.pending())
    }

    /// The mean of the first rows that are visible.
    fn lent_mean(&self) -> Result<Vec<f32>> {
        let slots: Vec<u32> = self.table.visible().take(CENTRED_ROWS).map(|slot| slot as u32).collect();
        self.lent.check_slots(&slots)?;
        Ok(self.mean_of(slots.into_iter().map(|slot| slot as usize)))
    }

    /// The mean of the first rows.
    fn mean(&self) -> Vec<f32> {
        self.mean_of(0..CENTRED_ROWS)
    }

    /// The mean of these rows; under cosine of their directions.
    fn mean_of(&self, slots: impl ExactSizeIterator<Item = usize>) -> Vec<f32> {
        let (table, mut row) = (&self.table, vec![0.0; self.table.dim()]);
        let (mut mean, count) = (vec![0.0; table.dim()], slots.len().max(1) as f64);
        for slot in slots {
            let factor = table.metric().coding_factor(table.read(slot, &mut row).sqrt());
            for (sum, &value) in mean.iter_mut().zip(&row) {
                *sum += f64::from(value) * factor;
            }
        }
        mean.into_iter().map(|sum| (sum / count) as f32).collect()
    }
}

/// The records of `count` rows, some at a time. `read` writes the values of a row and returns its squared norm.
pub(super) fn encode(
    coding: &Coding,
    count: usize,
    call: &Call<'_>,
    read: impl Fn(usize, &mut [f32]) -> f64 + Sync,
) -> Result<Vec<Vec<u8>>> {
    map(call, count.div_ceil(ROWS_PER_TASK), |task| {
        let rows = task * ROWS_PER_TASK..count.min((task + 1) * ROWS_PER_TASK);
        let mut records = vec![0; rows.len() * coding.record_bytes()];
        let (mut encoder, mut values) = (Encoder::new(coding), vec![0.0; coding.mean().len()]);
        for (i, record) in rows.zip(records.chunks_exact_mut(coding.record_bytes())) {
            let squared_norm = read(i, &mut values);
            encoder.encode(&values, squared_norm, record);
        }
        records
    })
}
