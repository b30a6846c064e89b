//! Rows on their way into a collection: read once, checked, and as they will be kept, before anything is written.

use super::batch::Row;
use super::key::Key;
use super::metadata::Document;
use super::rows::Rows;
use super::schema::Schema;
use crate::error::{Error, Result};
use crate::runtime::Call;
use crate::vectors::{Piece, RowSource, Rows as Values};
use hashbrown::HashMap;

/// What becomes of a row whose key is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnConflict {
    /// It replaces what is there; of several with the same key the last one does.
    Replace,
    /// It is an error.
    Error,
    /// It is passed over.
    Skip,
}

/// Rows with distinct keys, and their values one after another.
pub(super) struct Intake {
    pub(super) rows: Vec<Row>,
    pub(super) values: Vec<f32>,
    pub(super) dim: usize,
}

/// How many rows are read before the caller is asked whether to go on.
const ROWS_PER_LOOK: usize = 256;

impl Intake {
    /// Reads and checks everything that the caller handed in.
    pub(super) fn read(
        schema: &Schema,
        keys: &[Key],
        source: &dyn RowSource,
        metadata: Option<&[Document]>,
        conflict: OnConflict,
        call: &Call<'_>,
    ) -> Result<Intake> {
        let (count, dim) = (source.rows(), source.dim());
        if dim != schema.dim {
            return Err(Error::Dimension { expected: schema.dim, given: dim });
        }
        for (what, given) in [("keys", keys.len()), ("metadata", metadata.map_or(count, <[_]>::len))] {
            if given != count {
                return Err(Error::CountMismatch { what, rows: count, given });
            }
        }
        let kept = kept(keys, conflict)?;
        let needed = kept.iter().filter(|kept| **kept).count().saturating_mul(dim);
        let mut intake = Intake { rows: Vec::new(), values: Vec::new(), dim };
        intake.values.try_reserve_exact(needed).map_err(|_| Error::out_of_memory("the rows", needed * 4))?;
        let mut piece = Piece::new(schema.codec, dim, 1);
        let mut row = vec![0.0; dim];
        let nothing = Document::empty();
        for (i, kept) in kept.into_iter().enumerate() {
            if i % ROWS_PER_LOOK == 0 {
                call.check()?;
                call.progress(i, count);
            }
            piece.read(0, source, i)?;
            if kept {
                piece.values(0, &mut row);
                intake.values.extend_from_slice(&row);
                let metadata = metadata.map_or(&nothing, |given| &given[i]).clone();
                intake.rows.push(Row { key: keys[i].clone(), created: 0, updated: 0, metadata });
            }
        }
        Ok(intake)
    }

    /// Bytes of all of it, about.
    pub(super) fn bytes(&self) -> usize {
        let text: usize = self.rows.iter().map(|row| row.key.bytes() + row.metadata.bytes().len() + 64).sum();
        self.values.len() * 4 + text
    }

    /// Does to rows that are there what is to be done, and stamps the others.
    pub(super) fn meet(&mut self, there: &Rows, conflict: OnConflict, now: i64) -> Result<()> {
        let mut taken = vec![false; self.rows.len()];
        for (row, taken) in self.rows.iter_mut().zip(&mut taken) {
            let old = there.find(&row.key)?;
            if old.is_some() && conflict == OnConflict::Error {
                return Err(Error::DuplicateKey(format!("{:?}", row.key)));
            }
            *taken = old.is_some();
            row.created = old.map_or(Ok(now), |old| there.row(old).map(|old| old.created))?;
            row.updated = now;
        }
        if conflict == OnConflict::Skip {
            self.retain(|i| !taken[i]);
        }
        Ok(())
    }

    fn retain(&mut self, keep: impl Fn(usize) -> bool) {
        let mut next = 0;
        for i in (0..self.rows.len()).filter(|&i| keep(i)) {
            self.rows.swap(next, i);
            self.values.copy_within(i * self.dim..(i + 1) * self.dim, next * self.dim);
            next += 1;
        }
        self.rows.truncate(next);
        self.values.truncate(next * self.dim);
    }

    /// Puts all of it.
    pub(super) fn put(self, rows: &mut Rows) -> Result<()> {
        rows.put(self.rows, &Values::new(&self.values, self.dim)?)
    }
}

/// Which of the rows with these keys are wanted.
fn kept(keys: &[Key], conflict: OnConflict) -> Result<Vec<bool>> {
    let mut kept = vec![true; keys.len()];
    let mut seen: HashMap<&Key, usize> = HashMap::with_capacity(keys.len());
    for (i, key) in keys.iter().enumerate() {
        key.check(i)?;
        let Some(earlier) = seen.insert(key, i) else { continue };
        match conflict {
            OnConflict::Replace => kept[earlier] = false,
            OnConflict::Skip => kept[i] = false,
            OnConflict::Error => return Err(Error::DuplicateKey(format!("{key:?}"))),
        }
    }
    Ok(kept)
}
