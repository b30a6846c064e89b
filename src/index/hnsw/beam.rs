//! The beam of a walk: one sorted list of the `ef` nearest nodes seen so far, each with a mark whether its links have been followed.

/// A distance and a node in one integer that sorts by distance, then node; the lowest bit marks a node whose links have been followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(transparent)]
pub(crate) struct Candidate(i64);

impl Candidate {
    /// None: after all others.
    pub(crate) const LAST: Candidate = Candidate(i64::MAX);

    #[inline(always)]
    pub(crate) fn new(distance: f32, node: u32) -> Candidate {
        let ordered = turned(distance.to_bits() as i32);
        Candidate(i64::from(ordered) << 32 | i64::from(node) << 1)
    }

    #[inline(always)]
    pub(crate) fn node(self) -> u32 {
        (self.0 as u32) >> 1
    }

    #[inline(always)]
    pub(crate) fn distance(self) -> f32 {
        f32::from_bits(turned((self.0 >> 32) as i32) as u32)
    }
}

/// Bits of floats as integers that sort as they do: the negative ones are turned round. And back.
#[inline(always)]
fn turned(bits: i32) -> i32 {
    if bits < 0 { bits ^ i32::MAX } else { bits }
}

/// The nearest nodes seen so far.
///
/// What is not there yet counts as infinitely far, so that the list is always full, and taking one in is the same few operations on
/// each of its lines, without a branch: `new[i] = max(old[i - 1], min(old[i], candidate))`.
#[derive(Default)]
pub(crate) struct Beam {
    /// A line of what sorts before, or with, all candidates (with its last the first of them is compared), then these in whole lines.
    lines: Vec<[i64; LINE]>,
    width: usize,
    len: usize,
    /// Everything in the lines before this one has been followed.
    next: usize,
}

/// Candidates that are compared at a time.
const LINE: usize = 8;

/// So few lines, with the one before all candidates, are all gone through for every candidate.
const FEW: usize = 25;

impl Beam {
    /// Empties the beam and sets its width.
    pub(crate) fn start(&mut self, width: usize) {
        (self.width, self.len, self.next) = (width, 0, 0);
        self.lines.clear();
        self.lines.resize(1 + width.div_ceil(LINE), [i64::MAX; LINE]);
        self.lines[0] = [i64::MIN; LINE];
    }

    /// Whether it has passed over nodes, or may have.
    pub(crate) fn is_full(&self) -> bool {
        self.len == self.width
    }

    /// What a candidate must be below to be taken in.
    #[inline(always)]
    pub(crate) fn limit(&self) -> Candidate {
        match self.candidates().last() {
            Some(&worst) if self.len == self.width => worst,
            _ => Candidate::LAST,
        }
    }

    /// The distance below which a candidate may be taken in.
    #[inline(always)]
    pub(crate) fn reach(&self) -> f32 {
        if self.len == self.width { self.limit().distance() } else { f32::INFINITY }
    }

    /// Takes a candidate in if it is among the nearest so far.
    #[inline(always)]
    pub(crate) fn push(&mut self, candidate: Candidate) {
        if candidate >= self.limit() {
            return;
        }
        self.len = self.width.min(self.len + 1);
        let line = self.put(self.len.div_ceil(LINE), candidate.0);
        self.next = self.next.min(line - 1);
    }

    /// As [`push`](Beam::push); returns what there is no place for, be it the candidate or what it displaces, unless its links have been followed.
    #[inline(always)]
    pub(crate) fn displace(&mut self, candidate: Candidate) -> Option<Candidate> {
        let last = self.limit();
        self.push(candidate);
        let out = last.max(candidate);
        // While there is room the last is no candidate, which counts as followed.
        (out.0 & 1 == 0).then_some(out)
    }

    /// Puts a candidate into the first so many lines; returns the line that it is in then.
    ///
    /// In few lines it is not looked for where it belongs: a branch that is guessed wrong takes longer than to go through some lines for nothing. Each
    /// is read once, as it was written: what lies across two of them cannot be had before both are in the cache.
    #[inline(always)]
    fn put(&mut self, lines: usize, candidate: i64) -> usize {
        let lines = &mut self.lines[..=lines];
        // Not less alone: distances of forged rows may be such that they sort with what stands before all lines.
        let is_before = |line: &[i64; LINE]| line[LINE - 1] <= candidate;
        let first = if lines.len() <= FEW { 1 } else { lines.partition_point(is_before) };
        let (mut at, mut line) = (first - 1, lines[lines.len() - 1]);
        // By index, from the end: of an iterator over lines the compiler made gathers across eight of them, which took half as long again.
        for i in (first..lines.len()).rev() {
            let before = lines[i - 1];
            lines[i] = shifted(line, before[LINE - 1], candidate);
            at += usize::from(is_before(&before));
            line = before;
        }
        at
    }

    /// The nearest node whose links have not been followed; it is marked.
    #[inline(always)]
    pub(crate) fn follow(&mut self) -> Option<u32> {
        let lines = self.len.div_ceil(LINE);
        while self.next < lines {
            let places = (self.len - self.next * LINE).min(LINE);
            for candidate in &mut self.lines[1 + self.next][..places] {
                if *candidate & 1 == 0 {
                    *candidate |= 1;
                    return Some((*candidate as u32) >> 1);
                }
            }
            self.next += 1;
        }
        None
    }

    /// The node that will be followed next, as things stand.
    #[inline(always)]
    pub(crate) fn peek(&self) -> Option<Candidate> {
        let line = self.lines.get(1 + self.next)?;
        line.iter().find(|&&candidate| candidate & 1 == 0).map(|&candidate| Candidate(candidate))
    }

    /// The nearest, sorted.
    pub(crate) fn candidates(&self) -> &[Candidate] {
        if self.lines.is_empty() {
            return &[];
        }
        bytemuck::cast_slice(&self.lines.as_flattened()[LINE..LINE + self.len])
    }
}

/// A line that `candidate` has been put into, if it is less than the last; the candidate before the line is `before`.
#[inline(always)]
fn shifted(line: [i64; LINE], before: i64, candidate: i64) -> [i64; LINE] {
    let mut new = [0; LINE];
    let previous = [before, line[0], line[1], line[2], line[3], line[4], line[5], line[6]];
    for i in 0..LINE {
        new[i] = previous[i].max(line[i].min(candidate));
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_sort_by_distance_then_node() {
        let distances = [f32::NEG_INFINITY, -3.0, -1e-40, 0.0, 1e-40, 0.5, 2.0, f32::INFINITY];
        let candidates: Vec<_> = distances.iter().map(|&distance| Candidate::new(distance, 7)).collect();
        assert!(candidates.is_sorted());
        assert!(Candidate::new(1.0, 3) < Candidate::new(1.0, 4));
        assert!(Candidate::new(f32::INFINITY, 3) < Candidate::new(f32::NAN, 0), "a NaN is farther than all");
        for (&distance, candidate) in distances.iter().zip(&candidates) {
            assert_eq!((candidate.distance(), candidate.node()), (distance, 7));
        }
    }

    #[test]
    fn a_beam_keeps_the_nearest_and_follows_them_in_order() {
        let mut beam = Beam::default();
        beam.start(3);
        for (distance, node) in [(5.0, 1), (2.0, 2), (9.0, 3), (3.0, 4)] {
            beam.push(Candidate::new(distance, node));
        }
        assert_eq!(beam.follow(), Some(2));
        beam.push(Candidate::new(1.0, 5));
        assert_eq!((beam.follow(), beam.follow(), beam.follow()), (Some(5), Some(4), None));
    }

    #[test]
    fn what_a_beam_has_no_place_for_comes_out_unless_it_was_followed() {
        let mut beam = Beam::default();
        beam.start(2);
        let [first, second, third, fourth] =
            [(2.0, 1), (5.0, 2), (3.0, 3), (9.0, 4)].map(|(d, n)| Candidate::new(d, n));
        assert_eq!((beam.displace(first), beam.displace(second)), (None, None), "there was room");
        assert_eq!(beam.displace(third), Some(second));
        assert_eq!(beam.displace(fourth), Some(fourth));
        assert_eq!((beam.follow(), beam.follow()), (Some(1), Some(3)));
        assert_eq!(beam.displace(Candidate::new(1.0, 5)), None, "the third has been followed");
        assert_eq!(beam.follow(), Some(5));
    }

    #[test]
    fn a_beam_of_any_width_is_the_nearest_so_far_in_order() {
        for width in [1, 8, 9, LINE * (FEW - 1), LINE * FEW, 300] {
            let (mut beam, mut nearest) = (Beam::default(), Vec::new());
            beam.start(width);
            for node in 0..1000 {
                // Some distances are the same, and so are some candidates.
                let distance = (crate::vectors::random_bits(width as u64, u64::from(node)) % 400) as f32;
                let candidate = Candidate::new(distance, node / 3);
                beam.push(candidate);
                nearest.push(candidate);
                nearest.sort_unstable();
                nearest.truncate(width);
                let unmarked: Vec<_> = beam.candidates().iter().map(|candidate| Candidate(candidate.0 & !1)).collect();
                assert_eq!(unmarked, nearest, "width {width}, after {node}");
                if node % 5 == 0 {
                    let next = beam
                        .candidates()
                        .iter()
                        .find(|candidate| candidate.0 & 1 == 0)
                        .map(|candidate| candidate.node());
                    assert_eq!(beam.follow(), next, "width {width}, after {node}");
                }
            }
        }
    }
}
