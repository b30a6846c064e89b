//! The rows that a filter lets through: those of segments as postings say, those in memory and those that postings do not know one by one.

use super::{Place, Rows, Sealed};
use crate::error::Result;
use crate::runtime::{Call, map};
use crate::store::batch::Row;
use crate::store::filter::Filter;
use roaring::RoaringBitmap;

/// Rows that a thread looks at before it takes the next ones.
const ROWS_PER_TASK: usize = 4096;

/// Some rows, to be looked at by one thread.
enum Piece<'a> {
    Fresh(&'a [(i64, &'a Row)]),
    Sealed(&'a Sealed, &'a [u32]),
}

impl Piece<'_> {
    /// The numbers of those that pass.
    fn passing(&self, filter: &Filter) -> Result<Vec<i64>> {
        match self {
            Piece::Fresh(rows) => {
                Ok(rows.iter().filter(|(_, row)| filter.matches(&row.metadata)).map(|(number, _)| *number).collect())
            }
            Piece::Sealed(sealed, slots) => {
                let passing = slots.iter().map(|slot| {
                    let slot = *slot as usize;
                    Ok(says(sealed, slot, filter)?.then(|| sealed.number(slot)))
                });
                passing.filter_map(Result::transpose).collect()
            }
        }
    }
}

/// Rows of a segment of which postings say that they pass.
type Known<'a> = (&'a Sealed, RoaringBitmap);

/// Whether a row of a segment says what a filter wants.
fn says(sealed: &Sealed, slot: usize, filter: &Filter) -> Result<bool> {
    Ok(filter.matches_text(sealed.file.metadata(slot)?))
}

impl Rows {
    /// The rows that a filter lets through, in any order.
    pub(in crate::store) fn passing(&self, filter: &Filter, call: &Call<'_>) -> Result<Vec<i64>> {
        let (known, mut passing) = self.split(filter, call)?;
        for (sealed, slots) in known {
            passing.extend(slots.iter().map(|slot| sealed.number(slot as usize)));
        }
        Ok(passing)
    }

    /// How many rows a filter lets through.
    pub(in crate::store) fn count(&self, filter: &Filter, call: &Call<'_>) -> Result<usize> {
        let (known, looked_at) = self.split(filter, call)?;
        Ok(known.iter().map(|(_, slots)| slots.len() as usize).sum::<usize>() + looked_at.len())
    }

    /// How many rows a filter lets through, at least and at most, by what is known without looking at any.
    pub(in crate::store) fn estimate(&self, filter: &Filter) -> (u64, u64) {
        let sealed = self.segments.values().map(|sealed| {
            let (least, most) = sealed.file.postings().map_or((0, sealed.name.rows), |all| all.estimate(filter));
            (least.saturating_sub(sealed.gone_count), most.min(sealed.there()))
        });
        sealed.fold((0, self.fresh.len() as u64), |sum, part| (sum.0 + part.0, sum.1 + part.1))
    }

    /// The rows of segments of which postings say that they pass, and the numbers of the others that do.
    fn split(&self, filter: &Filter, call: &Call<'_>) -> Result<(Vec<Known<'_>>, Vec<i64>)> {
        let mut known = Vec::with_capacity(self.segments.len());
        let mut unknown = Vec::with_capacity(self.segments.len());
        for sealed in self.segments.values() {
            let verdict = sealed.verdict(filter);
            known.push((sealed, verdict.matches));
            unknown.push((sealed, verdict.candidates.into_iter().collect::<Vec<u32>>()));
        }
        let fresh: Vec<(i64, &Row)> = self.fresh.iter().collect();
        let fresh = fresh.chunks(ROWS_PER_TASK).map(Piece::Fresh);
        let sealed = unknown
            .iter()
            .flat_map(|(sealed, slots)| slots.chunks(ROWS_PER_TASK).map(|slots| Piece::Sealed(sealed, slots)));
        let pieces: Vec<Piece<'_>> = fresh.chain(sealed).collect();
        let passing = map(call, pieces.len(), |i| pieces[i].passing(filter))?;
        Ok((known, passing.into_iter().collect::<Result<Vec<_>>>()?.concat()))
    }

    /// Whether a filter lets this row through.
    pub(in crate::store) fn matches(&self, number: i64, filter: &Filter) -> Result<bool> {
        match self.place(number) {
            Some(Place::Fresh(row)) => Ok(filter.matches(&row.metadata)),
            Some(Place::Sealed(sealed, slot)) => says(sealed, slot, filter),
            None => Ok(false),
        }
    }
}
