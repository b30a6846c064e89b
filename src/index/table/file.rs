//! A table in a file: its sections, and what is checked of them.

use super::ids::Slots;
use super::lookup::Lookup;
use super::terms::Terms;
use super::{MAX_ROWS, Table, Version};
use crate::error::{Error, Result};
use crate::index::IndexOptions;
use crate::index::selection::Bits;
use crate::storage::{Container, ContainerWriter};
use crate::vectors::{Codec, KeptRows, Matrix, Metric, aligned_width, coded_width};
use serde::{Deserialize, Serialize};
use std::io;
use std::sync::Arc;

/// What a table's sections need to be understood; part of the schema of each index file.
#[derive(Serialize, Deserialize)]
pub(crate) struct TableSchema {
    pub(crate) dim: usize,
    pub(crate) metric: Metric,
    pub(crate) codec: Codec,
    rows: usize,
    live: usize,
    next_id: i64,
    sequential: bool,
    ascending: bool,
    /// Whether `rows` and `terms` have anything in them.
    pub(crate) has_rows: bool,
}

impl TableSchema {
    /// Rows in the section of that name.
    fn rows_kept(&self) -> usize {
        if self.has_rows { self.rows } else { 0 }
    }
}

impl Table {
    /// What [`save`](Table::save) writes, described.
    pub(crate) fn schema(&self) -> TableSchema {
        TableSchema {
            dim: self.dim(),
            metric: self.metric,
            codec: self.codec(),
            rows: self.slots(),
            live: self.live_count,
            next_id: self.next_id,
            sequential: matches!(self.slots, Slots::Sequential),
            ascending: self.ascending,
            has_rows: self.has_rows,
        }
    }

    /// Writes the sections of the table.
    pub(crate) fn save(&self, writer: &mut ContainerWriter<'_>) -> io::Result<()> {
        writer.section("rows", |out| self.rows.write_to(out))?;
        writer.section("terms", |out| self.terms.scan().write_to(out))?;
        writer.section("ids", |out| self.ids.write_to(out))?;
        let mut words = self.live.words().to_vec();
        words.resize(self.slots().div_ceil(64), 0);
        writer.section("live", |out| out.write_all(bytemuck::cast_slice(&words)))?;
        if !matches!(self.slots, Slots::Sequential) {
            let order = self.slots_by_id();
            writer.section("order", |out| out.write_all(bytemuck::cast_slice(&order)))?;
        }
        Ok(())
    }

    /// The table in `container`, read or mapped.
    pub(crate) fn load(container: &Container, schema: &TableSchema) -> Result<Table> {
        let corrupt = |block: &str, what: &str| Err(container.corrupt(block, what));
        if schema.dim == 0 || schema.dim > crate::MAX_DIM || schema.rows > MAX_ROWS {
            return corrupt("schema", "its numbers are out of range");
        }
        schema.metric.check_codec(schema.codec).map_err(|error| container.corrupt("schema", error.to_string()))?;
        let rows = load_rows(container, (schema.dim, schema.codec, schema.rows_kept()))?;
        let mut table = Table {
            metric: schema.metric,
            terms: load_terms(container, schema, &rows)?,
            rows,
            ids: load_matrix(container, "ids", 1, if schema.sequential { 0 } else { schema.rows })?,
            len: schema.rows,
            has_rows: schema.has_rows,
            mapped: container.is_mapped(),
            live: load_bits(container, "live", schema.rows)?,
            live_count: schema.live,
            slots: Slots::Sequential,
            ascending: schema.ascending,
            published: schema.rows as u32,
            next_id: schema.next_id,
            version: Version::next(),
        };
        if table.live.count() != schema.live || schema.next_id < 0 {
            return corrupt("live", "it disagrees with the schema");
        }
        if !schema.sequential {
            container.verify("order")?;
        }
        if !schema.sequential && container.is_mapped() {
            table.slots = Slots::Sorted(load_matrix(container, "order", 1, schema.live)?);
        } else if !schema.sequential {
            // Ids are those in the section from here on.
            table.slots = Slots::LookedUp(Lookup::with_room(0, -1)?);
            let (lookup, ids) = table.looked_up(0, -1)?;
            if ids != schema.live {
                return corrupt("ids", "an id is there twice, or out of range");
            }
            table.slots = Slots::LookedUp(lookup);
        }
        // Rows of a mapped table stay unread; all else is small, and what answers say depends on it.
        for name in ["terms", "ids"] {
            container.verify(name)?;
        }
        table.validate_ids(container, schema)?;
        Ok(table)
    }

    /// A table over the sections `rows` and `terms` of a file that has them for `len` slots. Ids are slots.
    pub(crate) fn over(options: &IndexOptions, file: &Container, len: usize, live: Bits) -> Result<Table> {
        if len > MAX_ROWS {
            return Err(file.corrupt("schema", "its numbers are out of range"));
        }
        if live.ones().last().is_some_and(|last| last >= len) {
            return Err(file.corrupt("schema", "it has fewer rows than there are"));
        }
        let rows = load_rows(file, (options.dim, options.codec, len))?;
        Table::of_slots(options, rows, load_matrix(file, "terms", 1, len)?, live)
    }

    /// A table of these rows and their terms. Ids are slots.
    pub(crate) fn of_slots(options: &IndexOptions, rows: KeptRows, terms: Matrix<f32>, live: Bits) -> Result<Table> {
        let len = rows.len();
        if len > MAX_ROWS {
            let limit = format!("and an index holds at most {MAX_ROWS} rows");
            return Err(Error::Capacity { what: "the rows of the files", needed: len as u64, limit });
        }
        assert!(terms.len() == len && live.ones().last().is_none_or(|last| last < len));
        Ok(Table {
            rows,
            terms: Terms::of_file(options.metric, terms),
            len,
            live_count: live.count(),
            live,
            published: len as u32,
            next_id: len as i64,
            ..Table::new(options.dim, options.metric, options.codec)
        })
    }

    /// Ids are in range and as ordered as the schema says.
    fn validate_ids(&self, container: &Container, schema: &TableSchema) -> Result<()> {
        let mut previous = -1;
        for slot in self.live.ones() {
            let id = self.id(slot);
            let in_order = !schema.ascending || id > previous;
            let in_place = !schema.sequential || id == slot as i64;
            if id < 0 || !in_order || !in_place {
                return Err(container.corrupt("ids", format!("id {id} cannot be in slot {slot}")));
            }
            previous = id;
        }
        Ok(())
    }
}

/// The section `terms`, which go with these rows.
fn load_terms(container: &Container, schema: &TableSchema, rows: &KeptRows) -> Result<Terms> {
    let terms = load_matrix(container, "terms", 1, schema.rows_kept())?;
    if container.is_mapped() {
        return Ok(Terms::of_file(schema.metric, terms));
    }
    Terms::of_read(schema.metric, terms, rows)
}

/// The section `rows`, mapped or taken if the container is.
fn load_rows(container: &Container, (dim, codec, rows): (usize, Codec, usize)) -> Result<KeptRows> {
    Ok(match codec {
        Codec::F32 => KeptRows::from_plain(dim, load_matrix(container, "rows", aligned_width(dim), rows)?),
        _ => KeptRows::from_coded(dim, codec, load_matrix(container, "rows", coded_width(codec, dim), rows)?),
    })
}

/// A section as `len` rows of `width` values, mapped or taken if the container is.
pub(crate) fn load_matrix<T: bytemuck::Pod>(
    container: &Container,
    name: &str,
    width: usize,
    len: usize,
) -> Result<Matrix<T>> {
    let expected = (len as u64).checked_mul((width * size_of::<T>()) as u64);
    if expected != Some(container.length(name)?) {
        return Err(container.corrupt(name, format!("it should hold {len} rows of {width} values")));
    }
    if let Some(section) = container.mapped(name)? {
        return Ok(Matrix::borrowed(width, Arc::new(section)));
    }
    if let Some(pages) = container.pages(name)? {
        return Ok(Matrix::adopted(width, pages));
    }
    let mut matrix = Matrix::zeros(width, len)?;
    container.read_with(name, |reader| matrix.fill_from(reader))?;
    Ok(matrix)
}

/// A section as bits for `slots` slots; always read, since it is small and everything depends on it.
pub(crate) fn load_bits(container: &Container, name: &str, slots: usize) -> Result<Bits> {
    let bytes = container.read(name)?;
    let words: Vec<u64> = bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
    let bits = Bits::from_words(words);
    let beyond = bits.ones().last().is_some_and(|last| last >= slots);
    if bytes.len() != slots.div_ceil(64) * 8 || beyond {
        return Err(container.corrupt(name, format!("it should hold {slots} bits")));
    }
    Ok(bits)
}
