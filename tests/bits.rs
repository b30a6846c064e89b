//! Rows of bits under the metric hamming, held against counting bit by bit.

use nearfield::{
    Call, Codec, Error, FlatIndex, GraphCodec, Hits, HnswIndex, HnswParameters, Index, IndexFile, IndexOptions, Metric,
    RowSource, Rows, Search,
};
use std::collections::BTreeMap;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn call() -> Call<'static> {
    Call::uninterrupted()
}

fn index(dim: usize) -> FlatIndex {
    FlatIndex::new(IndexOptions::new(dim, Metric::Hamming)).expect("good options")
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }
}

/// Rows of bits, each in words of its own.
#[derive(Clone)]
struct BitRows {
    dim: usize,
    rows: Vec<Vec<u64>>,
}

impl BitRows {
    /// Random bits; every third row differs from the one before in two bits at most.
    fn random(numbers: &mut Numbers, count: usize, dim: usize) -> BitRows {
        let mut rows: Vec<Vec<u64>> = Vec::with_capacity(count);
        for i in 0..count {
            let mut row: Vec<u64> = (0..dim.div_ceil(64)).map(|_| numbers.next()).collect();
            if i % 3 == 2 {
                row.clone_from(&rows[i - 1]);
                for _ in 0..numbers.next() % 3 {
                    let bit = numbers.next() as usize % dim;
                    row[bit / 64] ^= 1 << (bit % 64);
                }
            }
            if let Some(last) = row.last_mut().filter(|_| !dim.is_multiple_of(64)) {
                *last &= (1 << (dim % 64)) - 1;
            }
            rows.push(row);
        }
        BitRows { dim, rows }
    }
}

impl RowSource for BitRows {
    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn read(&self, row: usize, out: &mut [f32]) {
        for (i, value) in out.iter_mut().enumerate() {
            *value = (self.rows[row][i / 64] >> (i % 64) & 1) as f32;
        }
    }
}

fn differing(a: &[u64], b: &[u64]) -> u32 {
    a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum()
}

/// The answers by counting: all rows that `admits` lets through, best first.
fn counted(rows: &BTreeMap<i64, Vec<u64>>, queries: &BitRows, k: usize, admits: impl Fn(i64, u32) -> bool) -> Hits {
    let mut hits = Hits { k, ids: Vec::new(), scores: Vec::new(), counts: Vec::new() };
    for (i, query) in queries.rows.iter().enumerate() {
        let mut ranking: Vec<(u32, i64)> = rows.iter().map(|(&id, row)| (differing(query, row), id)).collect();
        ranking.retain(|&(bits, id)| admits(id, bits));
        ranking.sort_unstable();
        ranking.truncate(k);
        hits.counts.push(ranking.len() as i64);
        hits.ids.extend(ranking.iter().map(|hit| hit.1));
        hits.scores.extend(ranking.iter().map(|hit| 0.0 - hit.0 as f32));
        hits.ids.resize((i + 1) * k, -1);
        hits.scores.resize((i + 1) * k, f32::NEG_INFINITY);
    }
    hits
}

#[test]
fn answers_are_those_of_counting() -> Outcome {
    for dim in [1, 7, 63, 64, 65, 128, 200, 449, 1030] {
        let mut numbers = Numbers(dim as u64);
        let index = index(dim);
        let given = BitRows::random(&mut numbers, 900, dim);
        let ids: Vec<i64> = (0..900).map(|i| i * 1009 % 4001).collect();
        index.add(&given, Some(&ids), &call())?;
        let mut rows: BTreeMap<i64, Vec<u64>> = ids.iter().copied().zip(given.rows).collect();
        // Holes, and new rows in the slots of old ones; some runs of 64 slots stay whole.
        index.delete(&ids[200..260], &call())?;
        ids[200..260].iter().for_each(|id| drop(rows.remove(id)));
        let fresh = BitRows::random(&mut numbers, 20, dim);
        index.upsert(&ids[190..210], &fresh, &call())?;
        rows.extend(ids[190..210].iter().copied().zip(fresh.rows));

        let selection = index.select_ids(&(0..4001).filter(|id| id % 3 == 0).collect::<Vec<_>>());
        for count in [0, 1, 3, 23, 24, 64, 70, 100, 600] {
            let mut queries = BitRows::random(&mut numbers, count, dim);
            queries.rows.iter_mut().step_by(5).zip(rows.values()).for_each(|(query, row)| query.clone_from(row));
            let what = format!("dim {dim}, {count} queries");
            for k in [0, 1, 10, 2000] {
                let found = index.search(&queries, &Search::top(k), &call())?;
                assert_eq!(found, counted(&rows, &queries, k, |_, _| true), "{what}, k {k}");
            }
            let some = Search { selection: Some(&selection), ..Search::top(10) };
            let found = index.search(&queries, &some, &call())?;
            assert_eq!(found, counted(&rows, &queries, 10, |id, _| id % 3 == 0), "{what}, selected");
            for (floor, most) in [(-3.0, 3), (-3.9, 3), (0.0, 0), (-0.0, 0)] {
                let good = Search { min_score: Some(floor), ..Search::top(10) };
                let found = index.search(&queries, &good, &call())?;
                assert_eq!(found, counted(&rows, &queries, 10, |_, bits| bits <= most), "{what}, at least {floor}");
                let near = index.range_search(&queries, f64::from(-floor), None, &call())?;
                let counted = counted(&rows, &queries, 900, |_, bits| bits <= most);
                let lengths: Vec<i64> = near.lims.windows(2).map(|pair| pair[1] - pair[0]).collect();
                assert_eq!(lengths, counted.counts, "{what}, within {floor}");
                assert_eq!(near.ids, counted.ids.into_iter().filter(|&id| id >= 0).collect::<Vec<_>>());
            }
            let none = Search { min_score: Some(0.5), ..Search::top(10) };
            assert!(index.search(&queries, &none, &call())?.counts.iter().all(|&count| count == 0));
        }
    }
    Ok(())
}

#[test]
fn many_rows_in_several_tasks_and_tiles_are_answered_like_few() -> Outcome {
    let (dim, mut numbers) = (1030, Numbers(3));
    let (index, given) = (index(dim), BitRows::random(&mut numbers, 40_000, dim));
    index.add(&given, None, &call())?;
    let rows: BTreeMap<i64, Vec<u64>> = (0..).zip(given.rows).collect();
    let queries = BitRows::random(&mut numbers, 70, dim);
    let found = index.search(&queries, &Search::top(10), &call())?;
    assert_eq!(found, counted(&rows, &queries, 10, |_, _| true));
    let lone = BitRows { dim, rows: queries.rows[..1].to_vec() };
    assert_eq!(index.search(&lone, &Search::top(10), &call())?.ids, found.ids[..10]);
    // A word for 64 bits, padded to 16 bytes; a term and an id; a bit.
    assert!(index.stats().bytes < 40_000 * (144 + 4 + 8 + 1));
    Ok(())
}

#[test]
fn bits_come_back_from_files_copies_and_get() -> Outcome {
    let folder = tempfile::tempdir()?;
    for dim in [5, 64, 130, 700] {
        let mut numbers = Numbers(dim as u64);
        let (index, given) = (index(dim), BitRows::random(&mut numbers, 300, dim));
        index.add(&given, None, &call())?;
        index.delete(&[4, 5], &call())?;
        let queries = BitRows::random(&mut numbers, 40, dim);
        let found = index.search(&queries, &Search::top(7), &call())?;
        let mut values = vec![0.0; dim];
        given.read(17, &mut values);
        assert_eq!((index.get(&[17])?, index.codec()), (values.clone(), Codec::B1));

        let path = folder.path().join("bits.nf");
        index.save(&path)?;
        let mapped = IndexFile::load(&path, true)?.index();
        for other in [IndexFile::load(&path, false)?.index(), mapped.copy()?.index(), index.copy()?.index(), mapped] {
            assert_eq!((other.metric(), other.codec(), other.dim()), (Metric::Hamming, Codec::B1, dim));
            assert_eq!(other.search(&queries, &Search::top(7), &call())?, found, "dim {dim}");
            assert_eq!((other.get(&[17])?, other.to_bytes()?), (values.clone(), index.to_bytes()?));
        }
        index.optimize(&call())?;
        assert_eq!(index.search(&queries, &Search::top(7), &call())?, found, "optimized");
    }
    Ok(())
}

#[test]
fn what_is_no_bit_is_named_and_changes_nothing() -> Outcome {
    let index = index(3);
    index.add(&Rows::new(&[0.0, 1.0, -0.0], 3)?, None, &call())?;
    let kept: Vec<u32> = index.get(&[0])?.into_iter().map(f32::to_bits).collect();
    assert_eq!(kept, [0.0f32, 1.0, 0.0].map(f32::to_bits), "-0 is kept as 0");
    for bad in [2.0, 0.5, -1.0] {
        let given = [0.0, 1.0, 1.0, 1.0, 0.0, bad];
        let given = Rows::new(&given, 3)?;
        let outcomes = [
            index.add(&given, None, &call()).map(drop),
            index.upsert(&[0, 9], &given, &call()).map(drop),
            index.search(&given, &Search::top(1), &call()).map(drop),
            index.range_search(&given, 1.0, None, &call()).map(drop),
        ];
        for outcome in outcomes {
            let Err(Error::Unfit { row: 1, column: 2, value, codec: "b1", .. }) = outcome else {
                panic!("{bad}: {outcome:?}")
            };
            assert_eq!((value, index.ids()), (bad, vec![0]));
        }
    }
    let nan = Rows::new(&[f32::NAN, 0.0, 0.0], 3)?;
    assert!(matches!(index.search(&nan, &Search::top(1), &call()), Err(Error::NonFinite { row: 0, column: 0, .. })));
    Ok(())
}

#[test]
fn hamming_and_bits_go_together_only() {
    let message = |options: IndexOptions| FlatIndex::new(options).err().expect("no such index").to_string();
    for &codec in Codec::ALL.iter().filter(|&&codec| codec != Codec::B1) {
        let message = message(IndexOptions { codec, ..IndexOptions::new(4, Metric::Hamming) });
        assert!(message.contains("'b1'") && message.contains(&format!("got '{}'", codec.name())), "{message}");
    }
    for &metric in Metric::ALL.iter().filter(|&&metric| metric != Metric::Hamming) {
        assert_eq!(metric.codec(), Codec::F32);
        let message = message(IndexOptions { codec: Codec::B1, ..IndexOptions::new(4, metric) });
        assert!(message.contains("'hamming'") && message.contains(&format!("got '{}'", metric.name())), "{message}");
    }
    let graph = HnswIndex::new(
        IndexOptions::new(4, Metric::Hamming),
        HnswParameters::for_size(0, Metric::Hamming, GraphCodec::Auto),
    );
    assert!(graph.err().is_some_and(|error| error.to_string().contains("FlatIndex")));
}
