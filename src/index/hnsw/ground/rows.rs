//! Rows as they are kept, for any metric: a walk reads the row of everything that a node links to.

use super::{Ground, Reach};
use crate::index::hnsw::HnswParameters;
use crate::index::hnsw::graph::Layer;
use crate::index::hnsw::walk::{Admission, Beam, Candidate, Everything, Scratch, Terrain};
use crate::index::table::Table;
use crate::simd::{Simd, prefetch};
use crate::vectors::{CellQuery, Query, Space};

/// Rows as they are kept: of f32.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a, M> {
    pub(crate) table: &'a Table,
    pub(crate) base: &'a Layer,
    pub(crate) space: M,
}

/// A row or a query: values and term.
#[derive(Clone, Copy)]
pub(crate) struct Point<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) term: f32,
}

/// Bytes of rows that are asked for ahead of their use: about as many lines as a core can wait for at a time. On rows of 512 bytes
/// three times as much cost 5 to 10 %; on longer rows it makes no difference.
const PREFETCH_BYTES: usize = 2 << 10;

impl<M: Space> Ground for Rows<'_, M> {
    type Point<'p>
        = Point<'p>
    where
        Self: 'p;

    #[inline(always)]
    fn at<'p>(self, slot: usize) -> Point<'p>
    where
        Self: 'p,
    {
        Point { values: self.table.rows().row(slot), term: self.table.terms().scan().first(slot) }
    }

    #[inline(always)]
    fn distance<S: Simd>(self, simd: S, from: Point<'_>, slot: usize) -> f32 {
        debug_assert!(slot < self.table.slots());
        // SAFETY: nodes that come here are nodes of a layer (`Visited` lets no others through), and the slots of a layer are slots
        // of its table: the base layer has as many nodes as the table has linked slots, upper layers are checked when loaded. The
        // rows are f32: the index takes no other codec on this ground.
        let (row, term) =
            unsafe { (self.table.rows().row_unchecked(slot), *self.table.terms().scan().address_unchecked(slot)) };
        self.space.distance(simd, from.values, from.term, row, term)
    }

    fn blur(self, _from: Point<'_>, _slot: usize) -> f32 {
        // Distances of f32 are off by roundings alone; how many there are is not looked at. Scans look at all rows anyway.
        f32::INFINITY
    }

    #[inline(always)]
    fn prefetch(self, slot: usize) {
        // SAFETY: as in `distance`.
        let (row, term) =
            unsafe { (self.table.rows().address_unchecked(slot), self.table.terms().scan().address_unchecked(slot)) };
        prefetch(term);
        let lines = self.table.width() / 16;
        for line in 0..lines.min(PREFETCH_BYTES / 64) {
            prefetch(row.wrapping_add(line * 16));
        }
    }

    #[inline(always)]
    fn nodes(self) -> usize {
        self.base.len()
    }

    #[inline(always)]
    fn list<'g>(self, node: u32) -> &'g [u32]
    where
        Self: 'g,
    {
        self.base.links.row(node as usize)
    }

    #[inline(always)]
    fn ahead(self) -> usize {
        (PREFETCH_BYTES / (self.table.width() * size_of::<f32>())).clamp(1, 8)
    }

    #[inline(always)]
    fn spares(self, between: f32, distance: f32) -> bool {
        between < distance
    }

    #[inline(always)]
    fn prepare(self, _query: &Query<'_>, _memory: &mut CellQuery) {}

    #[inline(always)]
    fn prepare_row(self, _slot: usize, _memory: &mut CellQuery) {}

    #[inline(always)]
    fn point<'p>(self, query: &Query<'p>, _memory: &'p CellQuery) -> Point<'p>
    where
        Self: 'p,
    {
        Point { values: query.values, term: query.term }
    }

    #[inline(always)]
    fn begin<S: Simd, A: Admission>(
        self,
        simd: S,
        query: &Query<'_>,
        start: Option<u32>,
        reach: &Reach<'_, A>,
        scratch: &mut Scratch,
    ) {
        let point = Point { values: query.values, term: query.term };
        let terrain = Terrain::<_, false> { ground: self, layer: self.base };
        scratch.beam.start(reach.beam);
        scratch.accepted.start(reach.width.max(reach.kept));
        terrain.start(simd, point, start.as_slice(), reach.admission, scratch);
        scratch.visited.hide(reach.hidden);
        terrain.walk(simd, point, reach.admission, scratch);
    }

    #[inline(always)]
    fn found<'s, S: Simd, A: Admission>(
        self,
        _simd: S,
        reach: &Reach<'_, A>,
        scratch: &'s mut Scratch,
    ) -> Option<&'s [Candidate]> {
        let Scratch { beam, accepted, .. } = scratch;
        if !A::ASKS {
            return Some(beam.candidates());
        }
        let on_the_way = accepted.candidates().partition_point(|&candidate| candidate <= beam.limit());
        (on_the_way * 2 >= reach.width || !beam.is_full()).then_some(accepted.candidates())
    }

    #[inline(always)]
    fn search_base<'s, S: Simd>(
        self,
        simd: S,
        slot: usize,
        starts: &[u32],
        width: usize,
        scratch: &'s mut Scratch,
    ) -> &'s mut Beam {
        let terrain = Terrain::<_, false> { ground: self, layer: self.base };
        scratch.beam.start(width);
        terrain.start(simd, self.at(slot), starts, &Everything, scratch);
        terrain.walk(simd, self.at(slot), &Everything, scratch);
        &mut scratch.beam
    }

    fn own_links(self, parameters: &HnswParameters) -> (usize, usize) {
        (parameters.m, 0)
    }

    fn kept_links(self, parameters: &HnswParameters) -> (usize, usize) {
        (2 * parameters.m, 0)
    }
}
