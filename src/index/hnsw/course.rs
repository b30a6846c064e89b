//! The course of a query through the graph: down from the entry point, step by step through the base layer, and what it found is made ready to be scored.
//!
//! What comes later is asked for early: the cell of the first step on the way down, the rows when the walk nears its end. (Steps of several queries by
//! turns on one thread, so that one goes on while another waits, were tried: with two, four or eight under way batches were no faster, among
//! wide rows slower. A walk that is two cells ahead of itself waits for the throughput of memory, not for its answers.)

use super::beam::Candidate;
use super::ground::{Ground, GroundTask, Reach, Step};
use super::search::GraphSearch;
use super::start::start;
use super::walk::{Admission, Scratch};
use crate::simd::Simd;
use crate::vectors::CellQuery;

/// The way of a query; the best that it finds are left in `near`. Whether it found enough.
pub(super) struct Course<'a, 's, A> {
    pub(super) search: &'a GraphSearch<'a>,
    pub(super) reach: Reach<'a, A>,
    pub(super) scratch: &'s mut Scratch,
}

impl<A: Admission> GroundTask for Course<'_, '_, A> {
    type Output = bool;

    #[inline(always)]
    fn run<S: Simd, G: Ground>(self, simd: S, ground: G) -> bool {
        let Course { search, ref reach, scratch } = self;
        ground.prepare(search.query, &mut scratch.query);
        let point = ground.point(search.query, &scratch.query);
        let start = begin(simd, ground, search, (point, &scratch.query));
        ground.begin(simd, search.query, start, reach, scratch);
        let mut asked = false;
        loop {
            match ground.step(simd, reach, scratch) {
                Step::Ends => return end(simd, ground, search, reach, scratch),
                Step::Nears if !asked => {
                    // Most of what it has found by now is what it will have found.
                    let nearest = scratch.accepted.candidates().iter().take(search.search.k);
                    nearest.for_each(|row| search.fetch(row.node()));
                    asked = true;
                }
                _ => (),
            }
        }
    }
}

/// Leaves what a walk has found in `near`: the k nearest, and a few that may be nearer than these, as far as the walk could tell. All are asked
/// for. Whether it ended with enough.
#[inline(always)]
fn end<S: Simd, G: Ground, A: Admission>(
    simd: S,
    ground: G,
    search: &GraphSearch<'_>,
    reach: &Reach<'_, A>,
    scratch: &mut Scratch,
) -> bool {
    let mut nearest = std::mem::take(&mut scratch.gathered);
    nearest.clear();
    let found = ground.found(simd, reach, scratch).map(|found| nearest.extend(found.iter().take(reach.kept)));
    let kth = search.search.k.checked_sub(1).and_then(|last| nearest.get(last));
    let blurred =
        |kth: &Candidate| kth.distance() + ground.blur(ground.point(search.query, &scratch.query), kth.node() as usize);
    let limit = kth.map_or(f32::INFINITY, blurred);
    scratch.near.clear();
    scratch.near.extend(nearest.iter().take_while(|row| row.distance() <= limit).map(|row| row.node()));
    scratch.near.iter().for_each(|&node| search.fetch(node));
    scratch.gathered = nearest;
    found.is_some()
}

/// The node of the base layer where a search begins.
#[inline(always)]
fn begin<S: Simd, G: Ground>(
    simd: S,
    ground: G,
    search: &GraphSearch<'_>,
    seen: (G::Point<'_>, &CellQuery),
) -> Option<u32> {
    let graph = &search.state.graph;
    let node = start(simd, ground, graph, seen)?;
    // A walk that must not come to where it would begin begins farther off.
    if Some(node) == search.hidden { Some(graph.base_of(graph.layers().len() - 1, graph.entry()?)) } else { Some(node) }
}
