//! Postings: which rows of a segment say what, so that a filter need not read the rows.
//!
//! Every path through the metadata is a field. What rows say there is sorted, numbers exactly by value, text by code points; each
//! distinct value is a [*term*](terms) with the slots of its rows. So a condition on a field is a few ranges of terms, how many rows
//! meet it is a difference of two counts, and which ones they are is read from as many bytes as it has rows.
//!
//! ```text
//! metadata of the rows  --build-->  fields, terms, slots: one run of bytes  --parse-->  Postings
//! Filter, Postings  --solve-->  Verdict: rows that match, rows that somebody must look at
//! ```
//!
//! Nobody declares a schema: a field is whatever has a path. What would not pay is left out, and remembered as left out: text beyond
//! 128 bytes (its rows are known, what it says is not), the elements of long lists, the paths after the first thousand, and lists and
//! objects as values to be equal to. Whatever a filter asks of these makes rows *candidates* instead of matches, and their metadata are
//! looked at. So postings never change an answer; they may be missing, and everything is as before, but slower.
//!
//! [`build`] reads the metadata, [`write`] lays the bytes out, [`terms`] reads them where they lie, [`solve`] answers filters.

mod build;
mod number;
mod solve;
mod terms;
mod write;

use super::coding::Take;
use crate::error::{Error, Result};
use roaring::RoaringBitmap;
pub(super) use solve::Verdict;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use terms::{Holds, Terms};

/// The section of a segment that they lie in.
pub(super) const SECTION: &str = "postings";

/// Rows of a segment that has postings, at most.
const MAX_ROWS: usize = 1 << 31;
/// Fields, at most.
const MAX_FIELDS: usize = 1024;
/// Bytes of a path, at most.
const MAX_PATH: usize = 1024;
/// Bytes of a text that is a term, at most.
const MAX_TEXT: usize = 128;

/// Bytes that somebody keeps, such as a section of a mapped file.
type Bytes = Box<dyn AsRef<[u8]> + Send + Sync>;

/// The postings of one segment. They lie in the bytes that they were parsed from and take next to no memory of their own.
pub(super) struct Postings {
    bytes: Bytes,
    rows: u32,
    /// Whether every path of every row is a field.
    complete: bool,
    /// Rows that must be looked at whatever the filter: metadata that are no JSON object, or have a name twice. Forged, that is.
    odd: RoaringBitmap,
    fields: BTreeMap<String, Field>,
}

/// Where the terms of a field lie.
#[derive(Clone, Debug)]
struct Field {
    values: Range<usize>,
    /// Of the lists among the values; `None` if they have too many elements.
    elements: Option<Range<usize>>,
}

impl Postings {
    /// The postings of `rows` rows whose metadata have these texts.
    pub(super) fn build<'a>(rows: usize, text: impl Fn(usize) -> &'a [u8]) -> Result<Postings> {
        let bytes = write::write(build::build(rows.min(MAX_ROWS), text), rows);
        Postings::read(Box::new(bytes), rows, false).map_err(|what| corrupt(Path::new("memory"), what))
    }

    /// The bytes that [`parse`](Postings::parse) takes.
    pub(super) fn bytes(&self) -> &[u8] {
        (*self.bytes).as_ref()
    }

    /// The postings of `rows` rows in `bytes`, of the file at `path`. Reads all of them once: bytes that are forged are an error here, and
    /// nothing later.
    pub(super) fn parse(bytes: impl AsRef<[u8]> + Send + Sync + 'static, rows: usize, path: &Path) -> Result<Postings> {
        Postings::read(Box::new(bytes), rows, true).map_err(|what| corrupt(path, what))
    }

    fn read(bytes: Bytes, rows: usize, check: bool) -> std::result::Result<Postings, &'static str> {
        let all = (*bytes).as_ref();
        let (head, fields) = Directory::read(all).ok_or("its table of fields is cut or out of order")?;
        if head.rows != rows as u64 || (rows > MAX_ROWS && !fields.is_empty()) {
            return Err("it is of another number of rows");
        }
        let rows = rows.min(MAX_ROWS) as u32;
        let odd = terms::bitmap(head.odd, rows).ok_or("its odd rows are none")?;
        for field in fields.values().filter(|_| check) {
            let values = Terms::read(&all[field.values.clone()], rows, Holds::Values);
            values.and_then(|terms| terms.check()).ok_or("the values of a field are out of order")?;
            if let Some(elements) = &field.elements {
                let elements = Terms::read(&all[elements.clone()], rows, Holds::Elements);
                elements.and_then(|terms| terms.check()).ok_or("the elements of a field are out of order")?;
            }
        }
        let complete = head.complete;
        Ok(Postings { bytes, rows, complete, odd, fields })
    }

    fn values(&self, field: &Field) -> Option<Terms<'_>> {
        Terms::read(&self.bytes()[field.values.clone()], self.rows, Holds::Values)
    }

    fn elements(&self, field: &Field) -> Option<Terms<'_>> {
        Terms::read(&self.bytes()[field.elements.clone()?], self.rows, Holds::Elements)
    }
}

/// What postings begin with.
struct Directory<'a> {
    rows: u64,
    complete: bool,
    odd: &'a [u8],
}

impl<'a> Directory<'a> {
    /// The beginning, and where each field lies; `None` unless fields fill the bytes exactly, in the order of their paths.
    fn read(all: &'a [u8]) -> Option<(Directory<'a>, BTreeMap<String, Field>)> {
        let mut take = Take(all);
        let rows = take.u64()?;
        let complete = match take.u8()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let odd = take.bytes()?;
        let count = take.u32()? as usize;
        let (mut fields, mut lengths) = (BTreeMap::new(), Vec::new());
        for _ in 0..count.min(MAX_FIELDS + 1) {
            lengths.push((take.text()?, usize::try_from(take.u64()?).ok()?, usize::try_from(take.u64()?).ok()?));
        }
        let mut at = all.len() - take.0.len();
        let mut section = |length: usize| {
            let range = at..at.checked_add(length).filter(|&end| end <= all.len())?;
            at = range.end;
            Some(range)
        };
        for (path, values, elements) in &lengths {
            let values = section(*values)?;
            let elements = if *elements == 0 { None } else { Some(section(*elements)?) };
            fields.insert((*path).to_owned(), Field { values, elements });
        }
        let in_order = lengths.is_sorted_by(|a, b| a.0 < b.0) && lengths.len() == count && count <= MAX_FIELDS;
        (in_order && at == all.len()).then_some((Directory { rows, complete, odd }, fields))
    }
}

fn corrupt(path: &Path, what: &str) -> Error {
    Error::Corruption { path: path.to_owned(), block: SECTION.to_owned(), what: what.to_owned() }
}

#[cfg(test)]
mod suite;
