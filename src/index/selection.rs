//! The one type that every filter becomes.
//!
//! Masks and id arrays, and later every metadata filter, compile to a dense bitset over slots, so that the search loops know a
//! single question: is this bit set? A selection belongs to one state of one index: any change there makes it stale.

use crate::error::{Error, Result};
use crate::kernel::BLOCK_ROWS;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bits by slot.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bits {
    words: Vec<u64>,
}

impl Bits {
    /// `len` bits, all clear.
    pub(crate) fn zeros(len: usize) -> Bits {
        Bits { words: vec![0; len.div_ceil(64)] }
    }

    /// The bits in these words.
    pub(crate) fn from_words(words: Vec<u64>) -> Bits {
        Bits { words }
    }

    /// The 64 bits from `64 * word` on; zero beyond the end.
    #[inline]
    pub(crate) fn word(&self, word: usize) -> u64 {
        self.words.get(word).copied().unwrap_or(0)
    }

    /// All words.
    pub(crate) fn words(&self) -> &[u64] {
        &self.words
    }

    /// Bit `i`; clear beyond the end.
    #[inline]
    pub(crate) fn get(&self, i: usize) -> bool {
        self.word(i / 64) >> (i % 64) & 1 == 1
    }

    /// Sets bit `i`, growing as needed. Whether it was clear.
    pub(crate) fn set(&mut self, i: usize) -> bool {
        if i / 64 >= self.words.len() {
            self.words.resize(i / 64 + 1, 0);
        }
        let was_clear = !self.get(i);
        self.words[i / 64] |= 1 << (i % 64);
        was_clear
    }

    /// Clears bit `i`. Whether it was set.
    pub(crate) fn clear(&mut self, i: usize) -> bool {
        let was_set = self.get(i);
        if was_set {
            self.words[i / 64] &= !(1 << (i % 64));
        }
        was_set
    }

    /// The first `len` bits, each as it is not.
    pub(crate) fn complement(&self, len: usize) -> Bits {
        let mut words: Vec<u64> = (0..len.div_ceil(64)).map(|word| !self.word(word)).collect();
        if let Some(last) = words.last_mut().filter(|_| !len.is_multiple_of(64)) {
            *last &= (1 << (len % 64)) - 1;
        }
        Bits { words }
    }

    /// How many are set.
    pub(crate) fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// At most so many positions that are set, as evenly spread as can be had by looking at few words.
    pub(crate) fn spread(&self, most: usize) -> Vec<u32> {
        let part = self.words.len().div_ceil(most.max(1)).max(1);
        let first = |(at, words): (usize, &[u64])| {
            let (word, bits) = words.iter().enumerate().find(|(_, bits)| **bits != 0)?;
            Some(((at * part + word) * 64) as u32 + bits.trailing_zeros())
        };
        self.words.chunks(part).enumerate().filter_map(first).collect()
    }

    /// The positions that are set, ascending.
    pub(crate) fn ones(&self) -> impl Iterator<Item = usize> {
        self.words.iter().enumerate().flat_map(|(at, &word)| {
            std::iter::successors((word != 0).then_some(word), |&left| {
                let left = left & (left - 1);
                (left != 0).then_some(left)
            })
            .map(move |left| at * 64 + left.trailing_zeros() as usize)
        })
    }
}

/// Names one state of one index; no two states of any two indexes in a process share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version(u64);

impl Version {
    /// A name that has not been used.
    pub(crate) fn next() -> Version {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Version(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Which rows of an index a search may return.
#[derive(Clone, Debug)]
pub struct Selection {
    bits: Bits,
    count: usize,
    version: Version,
    /// In how many blocks of codes they lie, once somebody has asked.
    blocks: OnceLock<usize>,
    /// The selected slots one by one, once somebody has asked for them.
    slots: OnceLock<Vec<u32>>,
    /// Whether somebody has read their rows, and these side by side, once somebody has again.
    was_read: OnceLock<()>,
    rows: OnceLock<Vec<u8>>,
}

/// How many blocks of the 64 slots of a word have a bit that is set.
fn blocks_of(word: u64) -> usize {
    let blocks = bytemuck::cast::<u64, [u16; 64 / BLOCK_ROWS]>(word);
    blocks.iter().filter(|&&block| block != 0).count()
}

/// Selected slots are kept as a list if there are so many times fewer of them than slots.
const LISTED_PART: usize = 8;

/// Rows are kept side by side if they take no more than this: about what stays in the caches.
const HELD_BYTES: usize = 4 << 20;

impl Selection {
    /// The rows in `bits`, in the state `version`.
    pub(crate) fn new(bits: Bits, version: Version) -> Selection {
        Selection {
            count: bits.count(),
            bits,
            version,
            blocks: OnceLock::new(),
            slots: OnceLock::new(),
            was_read: OnceLock::new(),
            rows: OnceLock::new(),
        }
    }

    /// How many rows are selected.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The selected slots.
    #[inline]
    pub(crate) fn bits(&self) -> &Bits {
        &self.bits
    }

    /// In how many blocks of [`BLOCK_ROWS`] slots something is selected.
    pub(crate) fn blocks(&self) -> usize {
        *self.blocks.get_or_init(|| self.bits.words().iter().map(|&word| blocks_of(word)).sum())
    }

    /// The selected slots, ascending, if they are few enough for a list that is kept.
    pub(crate) fn slots(&self) -> Option<&[u32]> {
        let are_few = self.count <= self.bits.words().len() * 64 / LISTED_PART;
        are_few.then(|| &**self.slots.get_or_init(|| self.bits.ones().map(|slot| slot as u32).collect()))
    }

    /// The rows of all selected slots side by side, for whoever is to read them more than once: reading from all over the memory takes several times as
    /// long. `read` makes them the second time; that they stay what they are follows from the state.
    pub(crate) fn rows(&self, row_bytes: usize, read: impl FnOnce() -> Vec<u8>) -> Option<&[u8]> {
        let first = self.was_read.set(()).is_ok();
        let is_held = !first && self.count.saturating_mul(row_bytes) <= HELD_BYTES;
        is_held.then(|| &**self.rows.get_or_init(read))
    }

    /// Fails unless the index is still in the state that this was compiled for.
    pub(crate) fn check(&self, version: Version) -> Result<()> {
        if self.version == version { Ok(()) } else { Err(Error::StaleSelection) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_what_was_set() {
        let mut bits = Bits::zeros(10);
        for i in [0, 9, 63, 64, 200] {
            assert!(bits.set(i) && !bits.set(i));
        }
        assert!(bits.clear(63) && !bits.clear(63) && !bits.clear(100_000));
        assert_eq!(bits.ones().collect::<Vec<_>>(), [0, 9, 64, 200]);
        assert_eq!(bits.count(), 4);
        assert!(bits.get(200) && !bits.get(201) && !bits.get(1 << 40));
        assert_eq!(bits.complement(65).ones().collect::<Vec<_>>(), (1..64).filter(|i| *i != 9).collect::<Vec<_>>());
        assert_eq!(Bits::default().complement(128).count(), 128);
    }

    #[test]
    fn blocks_are_those_in_which_something_is_selected() {
        let mut bits = Bits::zeros(200);
        for slot in [0, 15, 16, 63, 127, 199] {
            bits.set(slot);
        }
        assert_eq!(Selection::new(bits, Version::next()).blocks(), 5);
        assert_eq!(Selection::new(Bits::default(), Version::next()).blocks(), 0);
    }

    #[test]
    fn a_selection_is_stale_for_every_other_state() {
        let (now, later) = (Version::next(), Version::next());
        let selection = Selection::new(Bits::zeros(1), now);
        assert!(selection.check(now).is_ok());
        assert!(matches!(selection.check(later), Err(Error::StaleSelection)));
    }

    #[test]
    fn rows_are_held_side_by_side_from_the_second_time_on_unless_they_are_many() {
        let mut bits = Bits::zeros(100);
        (0..3).for_each(|slot| _ = bits.set(slot));
        let selection = Selection::new(bits, Version::next());
        assert_eq!(selection.rows(2, || vec![1; 6]), None, "once is no reason");
        assert_eq!(selection.rows(2, || vec![2; 6]), Some(&[2; 6][..]));
        assert_eq!(selection.rows(2, || vec![3; 6]), Some(&[2; 6][..]), "they are read once");
        let large = HELD_BYTES / 3 + 1;
        assert_eq!(selection.rows(large, || vec![0; 3 * large]), None);
    }
}
