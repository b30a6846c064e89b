//! Walks by turns.
//!
//! A walk waits for memory more than it computes: what it looks at next is known two or three steps ahead, and memory takes longer than that. So
//! where several queries are asked at once, a thread has several walks under way, each with memory of its own, and goes one step of
//! each by turns. What a query finds does not depend on which others are under way. A lone query is the same with one walk.

use super::ground::{Ground, GroundTask, Reach, Step};
use super::search::GraphSearch;
use super::walk::{Admission, Scratch};
use crate::index::hnsw::beam::Candidate;
use crate::index::topk::TopK;
use crate::simd::Simd;
use crate::vectors::Query;

/// The most walks that a thread has under way. More were no faster where other processes kept the memory busy, and push each other out of
/// the caches.
pub(super) const MOST_WALKS: usize = 2;

/// The best rows that a walk came to, and how many that may be returned it reached.
pub(super) type Found = Option<(TopK, usize)>;

/// Walks for some queries, one for each scratch at a time.
pub(super) struct Turns<'a, 's, A> {
    pub(super) search: &'a GraphSearch<'a>,
    pub(super) queries: &'a [Query<'a>],
    pub(super) reach: Reach<'a, A>,
    pub(super) scratches: &'s mut [Scratch],
}

/// How far the query that a scratch is lent to has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// There is none.
    Idle,
    /// It is on its way through the base layer.
    Walks(usize),
    /// All that is left to look at is on its way from memory, and so are the rows that it has found so far.
    Nears(usize),
    /// What it has found is on its way from memory, to be scored.
    Ends(usize),
}

impl<A: Admission> GroundTask for Turns<'_, '_, A> {
    type Output = Vec<Found>;

    #[inline(always)]
    fn run<S: Simd, G: Ground>(self, simd: S, ground: G) -> Vec<Found> {
        let Turns { search, queries, ref reach, scratches } = self;
        let mut found: Vec<Found> = queries.iter().map(|_| None).collect();
        let mut stages = [Stage::Idle; MOST_WALKS];
        let (mut begun, mut going) = (0, true);
        while going {
            going = false;
            for (stage, scratch) in stages.iter_mut().zip(scratches.iter_mut()) {
                *stage = match *stage {
                    Stage::Idle if begun == queries.len() => continue,
                    Stage::Idle => {
                        begin(simd, ground, search, &queries[begun], reach, scratch);
                        begun += 1;
                        Stage::Walks(begun - 1)
                    }
                    Stage::Walks(query) | Stage::Nears(query) => match ground.step(simd, reach, scratch) {
                        Step::Ends if end(simd, ground, search, &queries[query], reach, scratch) => Stage::Ends(query),
                        Step::Ends => Stage::Idle,
                        Step::Nears if *stage == Stage::Walks(query) => {
                            let nearest = scratch.accepted.candidates().iter().take(search.search.k);
                            nearest.for_each(|row| search.fetch(row.node()));
                            Stage::Nears(query)
                        }
                        _ => *stage,
                    },
                    Stage::Ends(query) => {
                        found[query] = Some(search.score(&queries[query], scratch));
                        Stage::Idle
                    }
                };
                going = true;
            }
        }
        found
    }
}

/// Prepares a query, goes down from the entry point and begins the walk through the base layer.
#[inline(always)]
fn begin<S: Simd, G: Ground, A: Admission>(
    simd: S,
    ground: G,
    search: &GraphSearch<'_>,
    query: &Query<'_>,
    reach: &Reach<'_, A>,
    scratch: &mut Scratch,
) {
    ground.prepare(query, &mut scratch.query);
    let start = descend(simd, ground, search, ground.point(query, &scratch.query));
    ground.begin(simd, query, start, reach, scratch);
}

/// Leaves what a walk has found in `near`: the k nearest, and a few that may be nearer than these, as far as the walk could tell. All are asked
/// for. Whether it ended with enough.
#[inline(always)]
fn end<S: Simd, G: Ground, A: Admission>(
    simd: S,
    ground: G,
    search: &GraphSearch<'_>,
    query: &Query<'_>,
    reach: &Reach<'_, A>,
    scratch: &mut Scratch,
) -> bool {
    let mut nearest = std::mem::take(&mut scratch.gathered);
    nearest.clear();
    let found = ground.found(simd, reach, scratch).map(|found| nearest.extend(found.iter().take(reach.kept)));
    let kth = search.search.k.checked_sub(1).and_then(|last| nearest.get(last));
    let blurred =
        |kth: &Candidate| kth.distance() + ground.blur(ground.point(query, &scratch.query), kth.node() as usize);
    let limit = kth.map_or(f32::INFINITY, blurred);
    scratch.near.clear();
    scratch.near.extend(nearest.iter().take_while(|row| row.distance() <= limit).map(|row| row.node()));
    scratch.near.iter().for_each(|&node| search.fetch(node));
    scratch.gathered = nearest;
    found.is_some()
}

/// The node of the base layer where its walk begins.
#[inline(always)]
fn descend<S: Simd, G: Ground>(simd: S, ground: G, search: &GraphSearch<'_>, point: G::Point<'_>) -> Option<u32> {
    let graph = &search.state.graph;
    let mut node = graph.entry()?;
    for (level, layer) in graph.layers().iter().enumerate().skip(1).rev() {
        if (node as usize) >= layer.len() {
            return None;
        }
        let mut nearest = Candidate::new(ground.distance_above(simd, point, layer, node), node);
        loop {
            let from = nearest.node();
            if level == 1 {
                // Mostly wrong, but the last time right: the walk does not wait for its first step.
                ground.prefetch_step(layer.below(from));
            }
            let links = layer.links.row(from as usize);
            // Also the end of the list: no node is as large as NONE.
            let links = links.iter().copied().take_while(|&link| (link as usize) < layer.len());
            links.clone().for_each(|link| ground.prefetch_above(layer, link));
            for link in links {
                nearest = nearest.min(Candidate::new(ground.distance_above(simd, point, layer, link), link));
            }
            if nearest.node() == from {
                break;
            }
        }
        node = layer.below(nearest.node());
    }
    Some(node)
}
