//! A table and, once there are enough rows, codes of them: what the flat and the quantized index are made of.
//!
//! Codes are centred on the mean of the first [`CENTRED_ROWS`](crate::vectors::CENTRED_ROWS) slots. Until there are so many rows, all rows are kept and no codes
//! are needed; the write that brings the last of them makes the plane. So which codes a row gets depends on the sequence
//! of rows alone, not on how they are split into calls. Where rows are not kept they are given up in the moment in which
//! the codes become visible, so that a write that fails has changed nothing.

mod making;

use super::IndexOptions;
use super::intake::{Intake, Staged};
use super::lent::{Lent, LentPart};
use super::sieve::Sifted;
use super::table::{Table, TableSchema, load_matrix};
use super::tabular::{Body, Tabled};
use super::{Search, Stats};
use crate::error::Result;
use crate::kernel::BLOCK_ROWS;
use crate::runtime::{Call, Writer};
use crate::storage::{Container, ContainerWriter};
use crate::vectors::{Code, Coding, Piece, Plane, Purpose, RowSource};
use making::encode;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What codes there are to be of the rows of a table.
#[derive(Clone, Copy)]
pub(crate) struct PlaneSpec {
    pub(crate) purpose: Purpose,
    pub(crate) code: Code,
    pub(crate) seed: u64,
    /// Whether the rows stay beside their codes.
    pub(crate) keeps_rows: bool,
}

/// How much was looked at, since the index was made or loaded.
#[derive(Default)]
pub(crate) struct Looks {
    queries: AtomicU64,
    rows: AtomicU64,
}

impl Looks {
    pub(crate) fn count(&self, sifted: &[Sifted]) {
        let rows: usize = sifted.iter().map(|sifted| sifted.looked).sum();
        self.queries.fetch_add(sifted.len() as u64, Ordering::Relaxed);
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
    }
}

pub(crate) struct Coded {
    table: Table,
    /// Slots that are not visible and may be written again, the first of them first, however many rows a call brings.
    free: BTreeSet<u32>,
    spec: Option<PlaneSpec>,
    plane: Option<Plane>,
    /// The plane that the present write makes.
    coming: Option<Plane>,
    /// The first rows, if they lie in files of others.
    lent: Lent,
    /// The plane of such rows while it is being made, slot after slot.
    growing: Option<Plane>,
    looks: Arc<Looks>,
}

/// One row in so many is a great part of them.
const GREAT_PART: usize = 4;

impl Coded {
    pub(crate) fn new(table: Table, spec: Option<PlaneSpec>, plane: Option<Plane>) -> Coded {
        let free = (0..table.slots()).filter(|&slot| !table.is_live(slot)).map(|slot| slot as u32).collect();
        Coded { free, plane, ..Coded::over(table, spec, Lent::default()) }
    }

    /// Rows that are lent, without codes.
    pub(crate) fn lent(options: &IndexOptions, spec: Option<PlaneSpec>, parts: Vec<LentPart>) -> Result<Coded> {
        let (lent, table) = Lent::new(options, parts)?;
        Ok(Coded::over(table, spec, lent))
    }

    fn over(table: Table, spec: Option<PlaneSpec>, lent: Lent) -> Coded {
        let free = BTreeSet::new();
        Coded { table, free, spec, plane: None, coming: None, lent, growing: None, looks: Arc::default() }
    }

    /// The first slot of each part that is lent.
    pub(crate) fn lent_from(&self) -> impl Iterator<Item = usize> {
        self.lent.firsts()
    }

    /// Compares what is lent with its checksums, as far as a search may look at it.
    pub(crate) fn check_for(&self, search: &Search<'_>, call: &Call<'_>) -> Result<()> {
        self.lent.check_for(search.selection, call)
    }

    /// The codes, if there are enough rows.
    pub(crate) fn plane(&self) -> Option<&Plane> {
        self.plane.as_ref()
    }

    pub(crate) fn looks(&self) -> &Looks {
        &self.looks
    }

    /// The codes, if a search can make use of them: unless it wants a great part of the rows anyway.
    pub(crate) fn useful_plane(&self, search: &Search<'_>) -> Option<&Plane> {
        let few = search.min_score.is_some() || search.k.saturating_mul(GREAT_PART) <= self.table.live();
        self.plane().filter(|_| few || !self.table.has_rows())
    }

    /// Stores rows and makes them visible; the `put` of every index on this.
    pub(crate) fn put(
        body: &Body<Coded>,
        intake: &Intake,
        rows: &dyn RowSource,
        writer: &Writer<'_, Coded>,
        call: &Call<'_>,
    ) -> Result<()> {
        let (free, before) = {
            let state = writer.read();
            // While codes are being made, those that are there stay as they are.
            let free = if state.pending() > 0 { 0 } else { state.free.len() };
            let reused = intake.stored().min(free);
            let free: Vec<u32> = state.free.iter().take(reused).copied().collect();
            body.check_room(&state, || state.growth(intake, &free))?;
            (free, state.table.slots())
        };
        let entries = intake.stage(writer, rows, &free, call, &|done| call.progress(done, rows.rows()))?;
        let map = writer.read().table.prepare_map(&entries);
        let mut state = writer.write();
        let map = match map {
            Ok(map) => map,
            Err(error) => {
                state.forget(before);
                return Err(error);
            }
        };
        for slot in &free {
            state.free.remove(slot);
        }
        if let Some(plane) = state.coming.take() {
            state.plane = Some(plane);
        }
        if state.plane.is_some() && state.spec.is_some_and(|spec| !spec.keeps_rows) && state.table.has_rows() {
            state.table.drop_rows();
        }
        let freed = state.table.publish(&entries, map);
        state.freed(&freed);
        Ok(())
    }

    /// By how many bytes a write makes this grow, at most.
    fn growth(&self, intake: &Intake, free: &[u32]) -> usize {
        let stored = intake.stored();
        let places = intake.places(free, self.table.slots());
        let codes = |spec: PlaneSpec| {
            let (rows, coding) = match &self.plane {
                Some(plane) => (stored - free.len(), Arc::clone(plane.coding())),
                None => (self.table.slots() + stored, Arc::new(self.coding(spec, vec![0.0; self.table.dim()]))),
            };
            (rows + BLOCK_ROWS) * (coding.block_bytes() / BLOCK_ROWS + coding.rest_bytes())
        };
        self.table.growth(places, free.len(), true) + self.spec.map_or(0, codes)
    }

    fn code_bytes(&self) -> usize {
        self.plane.iter().chain(&self.growing).map(Plane::bytes).sum()
    }

    fn coding(&self, spec: PlaneSpec, mean: Vec<f32>) -> Coding {
        Coding::new(self.table.metric(), spec.purpose, spec.code, mean, spec.seed)
    }

    /// The visible rows alone, with codes centred anew if rows are kept.
    pub(crate) fn rebuilt(&self, call: &Call<'_>) -> Result<Coded> {
        let slots = self.table.slots_by_id();
        let table = self.table.compacted(&slots)?;
        let mut fresh = Coded::new(table, self.spec, None);
        fresh.looks = Arc::clone(&self.looks);
        match &self.plane {
            Some(plane) if !self.table.has_rows() => fresh.plane = Some(plane.gathered(&slots)?),
            _ => fresh.plane = fresh.first_plane(call)?,
        }
        Ok(fresh)
    }

    /// Writes the sections of the table and of the codes.
    pub(crate) fn save(&self, writer: &mut ContainerWriter<'_>) -> io::Result<()> {
        self.table.save(writer)?;
        let Some(plane) = &self.plane else { return Ok(()) };
        let (blocks, rests) = plane.parts();
        writer.section("mean", |out| out.write_all(bytemuck::cast_slice(plane.coding().mean())))?;
        writer.section("codes", |out| blocks.write_to(out))?;
        writer.section("rests", |out| rests.write_to(out))
    }

    /// What [`save`](Coded::save) writes, described.
    pub(crate) fn schema(&self) -> CodedSchema {
        CodedSchema { table: self.table.schema(), codes: self.plane.is_some() }
    }

    /// What [`save`](Coded::save) wrote.
    pub(crate) fn load(container: &Container, schema: &CodedSchema, spec: Option<PlaneSpec>) -> Result<Coded> {
        let table = Table::load(container, &schema.table)?;
        let (Some(spec), true) = (spec, schema.codes) else {
            if schema.codes || !schema.table.has_rows {
                return Err(container.corrupt("schema", "rows and codes do not go together"));
            }
            return Ok(Coded::new(table, spec, None));
        };
        if !schema.table.has_rows && spec.keeps_rows {
            return Err(container.corrupt("schema", "the rows are missing"));
        }
        let state = Coded::new(table, Some(spec), None);
        container.verify("mean")?;
        let mean = container.read("mean")?;
        if mean.len() != state.table.dim() * size_of::<f32>() {
            return Err(container.corrupt("mean", "it should hold a value for each dimension"));
        }
        let mean = mean.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect();
        let coding = state.coding(spec, mean);
        let rows = state.table.slots();
        let blocks = load_matrix(container, "codes", coding.block_bytes(), rows.div_ceil(BLOCK_ROWS))?;
        let rest_rows = if coding.rest_bytes() > 0 { rows } else { 0 };
        let rests = load_matrix(container, "rests", coding.rest_bytes().max(1), rest_rows)?;
        Ok(Coded { plane: Some(Plane::from_parts(coding, rows, blocks, rests)), ..state })
    }
}

/// What the sections of a table and its codes need to be understood.
#[derive(Serialize, Deserialize)]
pub(crate) struct CodedSchema {
    pub(crate) table: TableSchema,
    /// Whether there are codes.
    codes: bool,
}

impl Tabled for Coded {
    fn table(&self) -> &Table {
        &self.table
    }

    fn table_mut(&mut self) -> &mut Table {
        &mut self.table
    }

    fn try_reserve(&mut self, additional: usize) -> Result<()> {
        self.table.try_reserve(additional)?;
        self.plane.as_mut().map_or(Ok(()), |plane| plane.try_reserve(additional))
    }

    fn store(writer: &Writer<'_, Coded>, piece: &Piece, staged: &[Staged], call: &Call<'_>) -> Result<()> {
        let coding = {
            let state = writer.read();
            state.coming.as_ref().or(state.plane.as_ref()).map(|plane| Arc::clone(plane.coding()))
        };
        let Some(coding) = coding else {
            writer.write().table.store(piece, staged);
            let is_lent = !writer.read().lent.is_empty();
            if is_lent {
                // They get their codes with the others.
                return Ok(());
            }
            let coming = writer.read().first_plane(call)?;
            writer.write().coming = coming;
            return Ok(());
        };
        let records = encode(&coding, staged.len(), call, |i, values| {
            piece.values(staged[i].at, values);
            staged[i].squared_norm
        })?;
        let mut state = writer.write();
        let Coded { table, plane, coming, .. } = &mut *state;
        let is_coming = coming.is_some();
        let Some(plane) = coming.as_mut().or(plane.as_mut()) else { return Ok(()) };
        if is_coming {
            plane.try_reserve(staged.len())?;
        }
        table.store(piece, staged);
        let records = records.iter().flat_map(|records| records.chunks_exact(coding.record_bytes()));
        for (&Staged { slot, .. }, record) in staged.iter().zip(records) {
            if slot < plane.rows() { plane.overwrite(slot, record) } else { plane.push(record) }
        }
        Ok(())
    }

    fn forget(&mut self, slots: usize) {
        self.table.truncate(slots);
        self.coming = None;
        for plane in self.plane.iter_mut().chain(&mut self.growing) {
            plane.truncate(slots);
        }
    }

    fn freed(&mut self, slots: &[u32]) {
        // What is lent cannot be written to.
        self.free.extend(slots.iter().filter(|&&slot| slot as usize >= self.lent.end()));
    }

    fn read_rows(&self, slots: &[u32], out: &mut [f32]) {
        match &self.plane {
            Some(plane) if !self.table.has_rows() => {
                for (&slot, row) in slots.iter().zip(out.chunks_exact_mut(self.table.dim())) {
                    plane.decode(slot as usize, row);
                }
            }
            _ => self.table.kept().read(slots, out),
        }
    }

    fn bytes(&self) -> usize {
        self.table.bytes() + self.code_bytes()
    }

    fn check_rows(&self, slots: Option<&[u32]>, call: &Call<'_>) -> Result<()> {
        slots.map_or_else(|| self.lent.check_all(call), |slots| self.lent.check_slots(slots))
    }

    fn dead(&self) -> usize {
        self.table.slots() - self.table.live() - self.lent.gaps()
    }

    fn describe(&self, stats: &mut Stats) {
        stats.code_bytes = self.code_bytes();
        stats.pending = self.pending();
        stats.queries = self.looks.queries.load(Ordering::Relaxed);
        stats.reranked = self.looks.rows.load(Ordering::Relaxed);
    }

    fn try_clone(&self) -> Result<Coded> {
        let plane = self.plane.as_ref().map(Plane::try_clone).transpose()?;
        Ok(Coded::new(self.table.try_clone()?, self.spec, plane))
    }
}
