//! A gather: what the ground says of each row that may be returned, and of no other.
//!
//! It ends with the rows that may be among the k nearest, given how far off what was said may be. Most rows are farther than the k-th nearest
//! before them, so only the few that may be nearer are set aside, and sorted out when there are too many.

use super::ground::{Ground, GroundTask};
use super::walk::{Candidate, Scratch};
use crate::simd::Simd;
use crate::vectors::Query;

/// Rows that are looked at together, and that are asked for ahead.
const TOGETHER: usize = 4;
const AHEAD: usize = 12;

/// Rows that are set aside before they are sorted out, at least, and for each that is wanted.
const LEAST_ROOM: usize = 128;
const ROOM_PER_ROW: usize = 4;

/// What the ground says of some rows; those that may be among the k nearest are left in `near`.
pub(super) struct Gather<'a, 's> {
    pub(super) slots: &'a [u32],
    /// The rows of these slots side by side, as the ground has them, if somebody keeps them so.
    pub(super) rows: Option<&'a [u8]>,
    pub(super) query: &'a Query<'a>,
    pub(super) k: usize,
    pub(super) scratch: &'s mut Scratch,
}

impl GroundTask for Gather<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, G: Ground>(self, simd: S, ground: G) {
        let Gather { slots, rows, query, k, scratch } = self;
        let Scratch { query: memory, gathered, near, .. } = scratch;
        ground.prepare(query, memory);
        let point = ground.point(query, memory);
        gathered.clear();
        let scattered = if rows.is_some() { &[] } else { slots };
        for &slot in scattered.iter().take(AHEAD) {
            ground.prefetch(slot as usize);
        }
        let (mut reach, mut room) = (f32::INFINITY, LEAST_ROOM.max(k.saturating_mul(ROOM_PER_ROW)));
        for first in (0..slots.len()).step_by(TOGETHER) {
            // Of the last few there may be fewer: the last one is looked at instead.
            let (mut which, mut these) = ([0; TOGETHER], [0; TOGETHER]);
            for i in 0..TOGETHER {
                which[i] = (first + i).min(slots.len() - 1);
                these[i] = slots[which[i]];
                if let Some(&next) = scattered.get(first + i + AHEAD) {
                    ground.prefetch(next as usize);
                }
            }
            let distances = match rows {
                Some(rows) => ground.distances_to(simd, point, rows, which),
                None => ground.distances(simd, point, these),
            };
            for i in 0..TOGETHER.min(slots.len() - first) {
                // What is no number is kept.
                if distances[i] > reach {
                    continue;
                }
                gathered.push(Candidate::new(distances[i], these[i]));
            }
            if gathered.len() >= room {
                reach = sort_out(ground, point, k, gathered);
                room = room.max(2 * gathered.len());
            }
        }
        sort_out(ground, point, k, gathered);
        near.clear();
        near.extend(gathered.iter().map(|candidate| candidate.node()));
    }
}

/// Leaves those that may be among the `k` nearest, and says how far these are at most.
#[inline(always)]
fn sort_out<G: Ground>(ground: G, point: G::Point<'_>, k: usize, gathered: &mut Vec<Candidate>) -> f32 {
    if k == 0 || k >= gathered.len() {
        return f32::INFINITY;
    }
    let (_, &mut kth, _) = gathered.select_nth_unstable(k - 1);
    // One of the k may be that much farther, and another row that much nearer.
    let reach = kth.distance() + 2.0 * ground.blur(point, kth.node() as usize);
    gathered.retain(|candidate| candidate.distance() <= reach);
    reach
}
