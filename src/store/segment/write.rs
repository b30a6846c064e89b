//! Writing a segment.

use super::{KIND, SegmentSchema};
use crate::error::Result;
use crate::storage::ContainerWriter;
use crate::storage::vfs::Vfs;
use crate::store::batch::{Row, SegmentName};
use crate::store::files::{segment_name, write_sealed};
use crate::store::key::Key;
use crate::store::postings::{self, Postings};
use crate::store::schema::Schema;
use crate::vectors::{Piece, Rows, kept_bytes};
use std::io::{self, Write};
use std::ops::Range;

/// Vectors are written in pieces of about this many values.
const PIECE: usize = 1 << 18;

/// Rows on their way into a segment.
pub(in crate::store) struct Input<'a> {
    pub(in crate::store) collection: u64,
    pub(in crate::store) schema: &'a Schema,
    /// `None`: a slot without a row.
    pub(in crate::store) rows: &'a [Option<Row>],
    /// Gives the values of some of the rows, one after another.
    pub(in crate::store) values: &'a dyn Fn(Range<usize>) -> Result<Vec<f32>>,
}

/// Writes a segment and syncs it; its name is not durable yet.
pub(in crate::store) fn write(vfs: &dyn Vfs, file: u64, input: &Input<'_>) -> Result<SegmentName> {
    let seal = write_sealed(vfs, &segment_name(file), KIND, |writer| write_sections(writer, input))?;
    Ok(SegmentName { file, seal, rows: input.rows.len() as u64 })
}

fn write_sections(writer: &mut ContainerWriter<'_>, input: &Input<'_>) -> io::Result<()> {
    let rows = input.rows;
    let Schema { dim, codec, .. } = *input.schema;
    let schema = SegmentSchema { collection: input.collection, dim, codec, rows: rows.len() };
    let schema = serde_json::to_vec(&schema)?;
    writer.section("schema", |out| out.write_all(&schema))?;
    let mut terms = Vec::with_capacity(rows.len());
    writer.section_in_blocks("rows", |out| write_values(out, input, &mut terms))?;
    writer.section_in_blocks("terms", |out| out.write_all(bytemuck::cast_slice(&terms)))?;
    write_parts(writer, "keys", "key_ends", rows, |row, out| row.key.encode(out))?;
    write_order(writer, rows)?;
    write_parts(writer, "metadata", "metadata_ends", rows, |row, out| out.extend_from_slice(row.metadata.bytes()))?;
    let stamps: Vec<[i64; 2]> =
        rows.iter().map(|row| row.as_ref().map_or([0; 2], |row| [row.created, row.updated])).collect();
    writer.section_in_blocks("stamps", |out| out.write_all(bytemuck::cast_slice(&stamps)))?;
    writer.block_sums()?;
    let text = |slot: usize| rows[slot].as_ref().map_or(&b"{}"[..], |row| row.metadata.bytes());
    let postings = Postings::build(rows.len(), text).map_err(io::Error::other)?;
    writer.section(postings::SECTION, |out| out.write_all(postings.bytes()))
}

/// What each row has of something, one after another, and where it ends.
fn write_parts(
    writer: &mut ContainerWriter<'_>,
    name: &str,
    ends_name: &str,
    rows: &[Option<Row>],
    encode: impl Fn(&Row, &mut Vec<u8>),
) -> io::Result<()> {
    let (mut part, mut end, mut ends) = (Vec::new(), 0, Vec::with_capacity(rows.len()));
    writer.section_in_blocks(name, |out| {
        for row in rows {
            part.clear();
            row.iter().for_each(|row| encode(row, &mut part));
            end += part.len() as u64;
            ends.push(end);
            out.write_all(&part)?;
        }
        Ok(())
    })?;
    writer.section_in_blocks(ends_name, |out| out.write_all(bytemuck::cast_slice(&ends)))
}

/// The slots in the order of their keys.
fn write_order(writer: &mut ContainerWriter<'_>, rows: &[Option<Row>]) -> io::Result<()> {
    let mut keyed: Vec<(&Key, u32)> =
        rows.iter().zip(0..).filter_map(|(row, slot)| Some((&row.as_ref()?.key, slot))).collect();
    keyed.sort_unstable();
    let order: Vec<u32> = keyed.into_iter().map(|(_, slot)| slot).collect();
    writer.section_in_blocks("order", |out| out.write_all(bytemuck::cast_slice(&order)))
}

/// The vectors as they are kept, and their terms. Encoding what was decoded changes nothing.
fn write_values(out: &mut dyn Write, input: &Input<'_>, terms: &mut Vec<f32>) -> io::Result<()> {
    let (Schema { dim, codec, metric, .. }, count) = (*input.schema, input.rows.len());
    let padding = vec![0u8; kept_bytes(codec, dim) - codec.row_bytes(dim)];
    let (step, mut piece) = ((PIECE / dim).max(1), Piece::new(codec, dim, 1));
    for start in (0..count).step_by(step) {
        let range = start..(start + step).min(count);
        let values = (input.values)(range.clone()).map_err(io::Error::other)?;
        let values = Rows::new(&values, dim).map_err(io::Error::other)?;
        for row in 0..range.len() {
            let squared_norm = piece.read(0, &values, row).map_err(io::Error::other)?;
            terms.push(metric.term(squared_norm));
            out.write_all(piece.row(0))?;
            out.write_all(&padding)?;
        }
    }
    Ok(())
}
