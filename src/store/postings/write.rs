//! From fields to bytes: terms in order, each with its slots.
//!
//! ```text
//! rows u64 | complete u8 | odd rows: bitmap | fields u32 | per field: path, bytes of its values u64, of its elements u64
//!                   | values, elements, values, elements, ...
//! values, elements: numbers u32, texts u32, frequent u32 | numbers, 9 bytes each | ends of texts u64 | texts | ends of terms u64
//!                   | frequent terms: term u32, 0 u32, end of its bitmap u64 | slots u32 | bitmaps
//! ```
//!
//! Elements of 0 bytes are not there. A path, and the bitmap of odd rows, begin with their length as u32.

use super::super::coding::Put;
use super::super::filter::value::Exact;
use super::build::{Found, FoundField, LIST, LONG, Notes, OBJECT};
use super::{number, terms};
use roaring::RoaringBitmap;

/// A term has a bitmap if more than one row in so many has it: from there on two bytes a row, or fewer, serve instead of four.
const FREQUENT: usize = 32;
/// And no fewer rows than these.
const FREQUENT_ROWS: usize = 64;

pub(super) fn write(found: Found, rows: usize) -> Vec<u8> {
    let mut fields = found.fields;
    fields.remove(0);
    fields.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    let mut out = Vec::new();
    out.put_u64(rows as u64);
    out.put_u8(u8::from(found.complete && found.rows as usize == rows));
    let mut odd = Vec::new();
    put_bitmap(&mut odd, &found.odd);
    out.put_bytes(&odd);
    // Without a field for every row there are no fields at all.
    if found.rows as usize != rows {
        fields.clear();
    }
    out.put_u32(fields.len() as u32);
    let mut terms = Vec::new();
    for FoundField { path, values, elements, is_too_varied, .. } in fields {
        out.put_bytes(path.as_bytes());
        let start = terms.len();
        put_notes(&mut terms, found.rows as usize, values);
        let middle = terms.len();
        if !is_too_varied {
            put_notes(&mut terms, found.rows as usize, elements);
        }
        out.put_u64((middle - start) as u64);
        out.put_u64((terms.len() - middle) as u64);
    }
    out.extend_from_slice(&terms);
    out
}

fn put_bitmap(out: &mut Vec<u8>, bitmap: &RoaringBitmap) {
    out.reserve(bitmap.serialized_size());
    if bitmap.serialize_into(&mut *out).is_err() {
        unreachable!("memory takes all that is written to it");
    }
}

fn put_notes(out: &mut Vec<u8>, rows: usize, notes: Notes) {
    let mut numbers: Vec<([u8; number::BYTES], u32)> = notes.numbers.into_iter().collect();
    let exact = |bytes: &[u8; number::BYTES]| number::decode(bytes).unwrap_or(Exact::Whole(0));
    numbers.sort_unstable_by(|(a, _), (b, _)| exact(a).compare(exact(b)));
    let mut texts: Vec<(Box<str>, u32)> = notes.texts.into_iter().collect();
    texts.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));

    let single = [terms::NULL as u32, terms::FALSE as u32, terms::TRUE as u32];
    let order = single.into_iter().chain(numbers.iter().map(|(_, term)| *term));
    let order = order.chain(texts.iter().map(|(_, term)| *term)).chain([LONG, LIST, OBJECT]);
    let slots = Slots::sorted(&notes.pairs, order.collect());
    let frequent = slots.frequent(rows);

    out.put_u32(numbers.len() as u32);
    out.put_u32(texts.len() as u32);
    out.put_u32(frequent.len() as u32);
    numbers.iter().for_each(|(bytes, _)| out.extend_from_slice(bytes));
    let mut end = 0;
    for (text, _) in &texts {
        end += text.len() as u64;
        out.put_u64(end);
    }
    texts.iter().for_each(|(text, _)| out.extend_from_slice(text.as_bytes()));
    slots.ends.iter().for_each(|end| out.put_u64(*end as u64));
    slots.put(out, &frequent);
}

/// Slots by term.
struct Slots {
    ends: Vec<usize>,
    slots: Vec<u32>,
}

impl Slots {
    /// `order`: the terms as they were noted, in the order that they are to have. Slots were noted in order, and stay so within a term.
    fn sorted(pairs: &[(u32, u32)], order: Vec<u32>) -> Slots {
        let mut rank = vec![0; order.len()];
        for (place, term) in order.into_iter().enumerate() {
            rank[term as usize] = place;
        }
        let mut places = vec![0; rank.len() + 1];
        for (_, term) in pairs {
            places[rank[*term as usize] + 1] += 1;
        }
        for i in 1..places.len() {
            places[i] += places[i - 1];
        }
        let mut slots = vec![0; pairs.len()];
        for (slot, term) in pairs {
            let place = &mut places[rank[*term as usize]];
            slots[*place] = *slot;
            *place += 1;
        }
        // Each place has moved to its end.
        places.pop();
        Slots { ends: places, slots }
    }

    fn of(&self, term: usize) -> &[u32] {
        let start = if term == 0 { 0 } else { self.ends[term - 1] };
        &self.slots[start..self.ends[term]]
    }

    /// The terms that have a bitmap.
    fn frequent(&self, rows: usize) -> Vec<usize> {
        let count = |term: &usize| self.of(*term).len();
        (0..self.ends.len()).filter(|term| count(term) >= FREQUENT_ROWS && count(term) > rows / FREQUENT).collect()
    }

    /// The bitmaps of frequent terms and the lists of all others.
    fn put(&self, out: &mut Vec<u8>, frequent: &[usize]) {
        let mut bitmaps = Vec::new();
        for &term in frequent {
            let mut bitmap = RoaringBitmap::from_sorted_iter(self.of(term).iter().copied()).unwrap_or_default();
            bitmap.optimize();
            put_bitmap(&mut bitmaps, &bitmap);
            out.put_u32(term as u32);
            out.put_u32(0);
            out.put_u64(bitmaps.len() as u64);
        }
        let mut start = 0;
        for &term in frequent {
            let end = self.ends[term] - self.of(term).len();
            out.extend_from_slice(bytemuck::cast_slice(&self.slots[start..end]));
            start = self.ends[term];
        }
        out.extend_from_slice(bytemuck::cast_slice(&self.slots[start..]));
        out.extend_from_slice(&bitmaps);
    }
}
