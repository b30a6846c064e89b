//! Lean cells: a walk glances at all that a node links to, and takes a closer look at what it ends with.

use super::{Ground, Reach};
use crate::index::hnsw::HnswParameters;
use crate::index::hnsw::graph::Layer;
use crate::index::hnsw::walk::{Admission, Beam, Candidate, Everything, Scratch, Terrain};
use crate::simd::Simd;
use crate::vectors::{CellQuery, Cells, LeanPoint, Query};

/// Lean cells.
#[derive(Clone, Copy)]
pub(crate) struct Lean<'a> {
    pub(crate) cells: &'a Cells,
    /// Without lists: those are in the cells.
    pub(crate) base: &'a Layer,
    /// How many of them are linked.
    pub(crate) nodes: usize,
}

/// Cells that are asked for ahead of a glance, and ahead of a look.
const GLANCES_AHEAD: usize = 8;
const LOOKS_AHEAD: usize = 6;

/// The width of a beam of glances that finds about as much as one of looks that is `width` wide.
fn beam_of_glances(width: usize) -> usize {
    width + width / 8
}

impl Ground for Lean<'_> {
    type Point<'p>
        = LeanPoint<'p>
    where
        Self: 'p;

    #[inline(always)]
    fn at<'p>(self, slot: usize) -> LeanPoint<'p>
    where
        Self: 'p,
    {
        self.cells.lean_cell(slot).point()
    }

    #[inline(always)]
    fn distance<S: Simd>(self, simd: S, from: LeanPoint<'_>, slot: usize) -> f32 {
        from.value(simd, self.cells.lean_cell(slot))
    }

    #[inline(always)]
    fn glance<S: Simd>(self, simd: S, from: LeanPoint<'_>, slot: usize) -> f32 {
        from.glance(simd, self.cells.lean_cell(slot))
    }

    fn blur(self, from: LeanPoint<'_>, slot: usize) -> f32 {
        from.blur(self.cells.lean_cell(slot))
    }

    #[inline(always)]
    fn prefetch(self, slot: usize) {
        self.cells.prefetch_lean(slot);
    }

    #[inline(always)]
    fn prefetch_glance(self, slot: usize) {
        self.cells.prefetch_head(slot);
    }

    #[inline(always)]
    fn nodes(self) -> usize {
        self.nodes
    }

    #[inline(always)]
    fn list<'g>(self, node: u32) -> &'g [u32]
    where
        Self: 'g,
    {
        self.cells.lean_cell(node as usize).list()
    }

    #[inline(always)]
    fn distance_above<S: Simd>(self, simd: S, from: LeanPoint<'_>, layer: &Layer, node: u32) -> f32 {
        self.glance(simd, from, layer.slot(node) as usize)
    }

    #[inline(always)]
    fn prefetch_above(self, layer: &Layer, node: u32) {
        self.prefetch_glance(layer.slot(node) as usize);
    }

    #[inline(always)]
    fn ahead(self) -> usize {
        GLANCES_AHEAD
    }

    #[inline(always)]
    fn overlaps(self) -> bool {
        true
    }

    #[inline(always)]
    fn spares(self, between: f32, distance: f32) -> bool {
        self.cells.frame().longer() * between < distance
    }

    #[inline(always)]
    fn prepare(self, query: &Query<'_>, memory: &mut CellQuery) {
        memory.set(self.cells.frame(), query);
    }

    #[inline(always)]
    fn prepare_row(self, slot: usize, memory: &mut CellQuery) {
        memory.set_lean_row(self.cells.frame(), self.cells.lean_cell(slot));
    }

    #[inline(always)]
    fn point<'p>(self, _query: &Query<'p>, memory: &'p CellQuery) -> LeanPoint<'p>
    where
        Self: 'p,
    {
        memory.lean_point(self.cells.frame())
    }

    #[inline(always)]
    fn begin<S: Simd, A: Admission>(
        self,
        simd: S,
        _query: &Query<'_>,
        start: Option<u32>,
        reach: &Reach<'_, A>,
        scratch: &mut Scratch,
    ) {
        let beam = beam_of_glances(reach.beam).min(self.nodes.max(1));
        let width = if A::ASKS { beam_of_glances(reach.width.max(reach.kept)) } else { reach.kept };
        scratch.beam.start(beam);
        scratch.accepted.start(width);
        self.walk(simd, start.as_slice(), (reach.admission, reach.hidden), scratch);
    }

    #[inline(always)]
    fn found<'s, S: Simd, A: Admission>(
        self,
        simd: S,
        reach: &Reach<'_, A>,
        scratch: &'s mut Scratch,
    ) -> Option<&'s [Candidate]> {
        let Scratch { beam, accepted, query, .. } = scratch;
        let point = query.lean_point(self.cells.frame());
        if !A::ASKS {
            self.look(simd, point, beam, accepted);
            return Some(accepted.candidates());
        }
        let on_the_way = accepted.candidates().partition_point(|&candidate| candidate <= beam.limit());
        let enough = on_the_way * 2 >= reach.width || !beam.is_full();
        beam.start(reach.kept);
        self.look(simd, point, accepted, beam);
        enough.then_some(beam.candidates())
    }

    #[inline(always)]
    fn search_base<'s, S: Simd>(
        self,
        simd: S,
        _slot: usize,
        starts: &[u32],
        width: usize,
        scratch: &'s mut Scratch,
    ) -> &'s mut Beam {
        scratch.beam.start(width);
        scratch.accepted.start(width);
        self.walk(simd, starts, (&Everything, None), scratch);
        let Scratch { beam, accepted, query, .. } = scratch;
        self.look(simd, query.lean_point(self.cells.frame()), beam, accepted);
        accepted
    }

    fn own_links(self, parameters: &HnswParameters) -> (usize, usize) {
        (parameters.m, parameters.m / 2)
    }

    fn kept_links(self, parameters: &HnswParameters) -> (usize, usize) {
        (parameters.base_links(), parameters.m / 2)
    }
}

impl Lean<'_> {
    /// Walks the base layer with the query in `scratch`.
    #[inline(always)]
    fn walk<S: Simd, A: Admission>(
        self,
        simd: S,
        starts: &[u32],
        (admission, hidden): (&A, Option<u32>),
        scratch: &mut Scratch,
    ) {
        // Terrain and query both are of the scratch.
        let query = std::mem::take(&mut scratch.query);
        let point = query.lean_point(self.cells.frame());
        let terrain = Terrain::<_, false> { ground: self, layer: self.base };
        terrain.start(simd, point, starts, admission, scratch);
        scratch.visited.hide(hidden);
        terrain.walk(simd, point, admission, scratch);
        scratch.query = query;
    }

    /// Looks at what was glanced at.
    #[inline(always)]
    fn look<S: Simd>(self, simd: S, point: LeanPoint<'_>, glanced: &Beam, nearest: &mut Beam) {
        let glanced = glanced.candidates();
        for (i, candidate) in glanced.iter().enumerate() {
            if let Some(next) = glanced.get(i + LOOKS_AHEAD) {
                self.prefetch(next.node() as usize);
            }
            let slot = candidate.node() as usize;
            nearest.push(Candidate::new(self.distance(simd, point, slot), candidate.node()));
        }
    }
}
