//! What is kept of a row: the same wherever and however it is encoded, and through all that happens to a plane.

use super::*;
use crate::vectors::{Code, n8, rabitq, turbo};

/// Every code, and what it is for.
pub(super) fn codes() -> Vec<(Purpose, Code)> {
    let estimates = (1..=8).map(rabitq).chain((2..=4).map(turbo)).chain([n8()]);
    let estimates = estimates.map(|code| (Purpose::Estimate, code));
    estimates.chain([(Purpose::Certify, rabitq(4))]).collect()
}

/// A plane of each code and metric with rows that hurt, to be shown to `check` with its rows.
fn for_every_plane(dims: &[usize], mut check: impl FnMut(&str, Plane, &[Vec<f32>])) {
    for &dim in dims {
        let rows = rows_that_hurt(&mut Numbers::new(dim as u64 + 1), dim);
        for (metric, (purpose, code)) in
            METRICS.into_iter().flat_map(|metric| codes().into_iter().map(move |c| (metric, c)))
        {
            for mean in means(metric, &rows).into_iter().skip(1).take(2) {
                let what = format!("{} {purpose:?}, {metric:?}, dim {dim}", code.name);
                check(&what, plane(Coding::new(metric, purpose, code, mean, 5), &rows), &rows);
            }
        }
    }
}

fn record(plane: &Plane, slot: usize) -> Vec<u8> {
    let mut record = vec![0; plane.coding().record_bytes()];
    plane.read_record(slot, &mut record);
    record
}

/// Encodes rows one after another at a level.
struct Encoded<'a> {
    coding: &'a Coding,
    rows: &'a [Vec<f32>],
}

impl Operation for Encoded<'_> {
    type Output = Vec<Vec<u8>>;

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> Self::Output {
        let (mut encoder, mut records) = (Encoder::new(self.coding), Vec::new());
        for row in self.rows {
            let mut record = vec![0; self.coding.record_bytes()];
            encoder.encode_one(row, squared(row), &mut record);
            records.push(record);
        }
        records
    }
}

#[test]
fn a_row_has_the_same_record_at_every_level_alone_and_among_others() {
    for_every_plane(&[1, 9, 33, 100], |what, plane, rows| {
        let records = records_of(&plane, rows);
        for level in Level::available() {
            let found = dispatch_at(level, Encoded { coding: plane.coding(), rows });
            assert_eq!(found, records, "{what}, {}", level.name());
        }
        for (slot, row) in rows.iter().enumerate() {
            let alone = records_of(&plane, std::slice::from_ref(row));
            assert_eq!(alone[0], records[slot], "{what}, row {slot} by itself");
            assert_eq!(record(&plane, slot), records[slot], "{what}, row {slot} in the plane");
        }
    });
}

#[test]
fn rows_stay_intact_whatever_becomes_of_the_others() {
    for_every_plane(&[3, 100], |what, mut plane, rows| {
        let records = records_of(&plane, rows);
        let holds = |plane: &Plane, slots: &[u32], what: &str| {
            let found: Vec<Vec<u8>> = (0..plane.rows()).map(|slot| record(plane, slot)).collect();
            let expected: Vec<Vec<u8>> = slots.iter().map(|&slot| records[slot as usize].clone()).collect();
            assert_eq!(found, expected, "{what}");
            assert_eq!(plane.blocks(), slots.len().div_ceil(BLOCK_ROWS), "{what}");
        };
        let all: Vec<u32> = (0..rows.len() as u32).collect();
        holds(&plane, &all, what);
        let some: Vec<u32> = all.iter().rev().copied().filter(|slot| slot % 3 != 1).chain([7, 7, 0]).collect();
        holds(&plane.gathered(&some).expect("memory"), &some, &format!("{what}, gathered"));
        holds(&plane.gathered(&[]).expect("memory"), &[], &format!("{what}, none gathered"));
        let copy = plane.try_clone().expect("memory");
        // Two rows exchanged, then as many forgotten as leave a block half full; what follows fills it again.
        let mut slots = all.clone();
        slots.swap(4, 37);
        plane.overwrite(4, &records[37]);
        plane.overwrite(37, &records[4]);
        holds(&plane, &slots, &format!("{what}, exchanged"));
        for kept in [40, 33, 32, 7] {
            plane.truncate(kept);
            slots.truncate(kept);
            holds(&plane, &slots, &format!("{what}, {kept} kept"));
            plane.try_reserve(2).expect("memory");
            for slot in [1, 69] {
                plane.push(&records[slot as usize]);
                slots.push(slot);
            }
            holds(&plane, &slots, &format!("{what}, two more than {kept}"));
        }
        plane.truncate(0);
        holds(&plane, &[], &format!("{what}, none left"));
        holds(&copy, &all, &format!("{what}, the copy"));
    });
}

#[test]
fn rows_in_a_plane_take_the_bytes_that_it_says() {
    for_every_plane(&[1, 33, 100], |what, plane, rows| {
        let coding = plane.coding();
        let per_row = coding.block_bytes() / BLOCK_ROWS + coding.rest_bytes();
        assert_eq!(coding.record_bytes(), per_row, "{what}");
        // Rows without anything apart take no byte there.
        let rests = if coding.rest_bytes() > 0 { rows.len() * coding.rest_bytes() } else { 0 };
        assert_eq!(plane.bytes(), plane.blocks() * coding.block_bytes() + rests, "{what}");
        let bits = coding.width() * coding.code.bits as usize;
        assert!(per_row <= bits / 8 + 18 && coding.width() < coding.mean().len() + 32, "{what}: {per_row} bytes");
    });
}
