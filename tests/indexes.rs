//! What holds for every index, seen from outside, through `dyn Index`.
//!
//! The definition that answers are held against is the few lines of [`Oracle`]: naive, in f64, over a map from ids to rows. Answers
//! must agree with it bit for bit wherever a search is exact. A new index registers in [`KINDS`].

use nearfield::{
    Call, Caller, Codec, Error, FlatIndex, Hits, HnswIndex, HnswParameters, Index, IndexFile, IndexOptions, Metric,
    RangeHits, RowSource, Rows, Search, Selection,
};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

type Outcome = Result<(), Box<dyn std::error::Error>>;
type Make = fn(IndexOptions) -> Box<dyn Index>;

const KINDS: [(&str, Make); 2] = [("flat", flat), ("hnsw", hnsw)];
const METRICS: [Metric; 4] = [Metric::Cosine, Metric::Dot, Metric::L2, Metric::L1];

fn flat(options: IndexOptions) -> Box<dyn Index> {
    Box::new(FlatIndex::new(options).expect("good options"))
}

fn hnsw(options: IndexOptions) -> Box<dyn Index> {
    let parameters = HnswParameters { m: 8, ef_construction: 60, seed: 7 };
    Box::new(HnswIndex::new(options, parameters).expect("good options"))
}

fn rows(values: &[f32], dim: usize) -> Rows<'_> {
    Rows::new(values, dim).expect("whole rows")
}

fn call() -> Call<'static> {
    Call::uninterrupted()
}

/// Nobody in particular, but not on all cores.
struct Patient;
impl Caller for Patient {}

fn on_threads(threads: usize) -> Call<'static> {
    Call::new(&Patient, NonZeroUsize::new(threads))
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

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// Between -1 and 1.
    fn value(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    fn rows(&mut self, count: usize, dim: usize) -> Vec<f32> {
        (0..count * dim).map(|_| self.value()).collect()
    }

    /// Whole numbers from -2 to 2, so that many scores are the same and many rows too.
    fn coarse(&mut self, count: usize, dim: usize) -> Vec<f32> {
        (0..count * dim).map(|_| self.below(5) as f32 - 2.0).collect()
    }
}

/// What an index should hold, and what it should answer.
struct Oracle {
    metric: Metric,
    dim: usize,
    rows: BTreeMap<i64, Vec<f32>>,
}

impl Oracle {
    fn new(metric: Metric, dim: usize) -> Oracle {
        Oracle { metric, dim, rows: BTreeMap::new() }
    }

    fn put(&mut self, ids: &[i64], values: &[f32]) {
        self.rows.extend(ids.iter().copied().zip(values.chunks(self.dim).map(<[f32]>::to_vec)));
    }

    fn score(&self, query: &[f32], row: &[f32]) -> f32 {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
        let lengths = dot(query, query).sqrt() * dot(row, row).sqrt();
        let score = match self.metric {
            Metric::Dot => dot(query, row),
            Metric::Cosine if lengths == 0.0 => 0.0,
            Metric::Cosine => (dot(query, row) / lengths).clamp(-1.0, 1.0),
            Metric::L1 => -query.iter().zip(row).map(|(&q, &x)| (f64::from(q) - f64::from(x)).abs()).sum::<f64>(),
            _ => -query.iter().zip(row).map(|(&q, &x)| (f64::from(q) - f64::from(x)).powi(2)).sum::<f64>().sqrt(),
        };
        score as f32
    }

    /// All rows that `admits` lets through, best first.
    fn ranking(&self, query: &[f32], admits: impl Fn(i64, f32) -> bool) -> Vec<(i64, f32)> {
        let scored = self.rows.iter().map(|(&id, row)| (id, self.score(query, row)));
        let mut ranking: Vec<(i64, f32)> = scored.filter(|&(id, score)| admits(id, score)).collect();
        ranking.sort_by(|a, b| b.1.partial_cmp(&a.1).expect("no NaN").then(a.0.cmp(&b.0)));
        ranking
    }

    fn hits(&self, queries: &[f32], k: usize, admits: impl Fn(i64, f32) -> bool) -> Hits {
        let mut hits = Hits { k, ids: Vec::new(), scores: Vec::new(), counts: Vec::new() };
        for (i, query) in queries.chunks(self.dim).enumerate() {
            let ranking = self.ranking(query, &admits);
            hits.counts.push(ranking.len().min(k) as i64);
            hits.ids.extend(ranking.iter().take(k).map(|hit| hit.0));
            hits.scores.extend(ranking.iter().take(k).map(|hit| hit.1));
            hits.ids.resize((i + 1) * k, -1);
            hits.scores.resize((i + 1) * k, f32::NEG_INFINITY);
        }
        hits
    }

    /// Holds the whole of an index against this.
    fn check(&self, index: &dyn Index, queries: &[f32], what: &str) -> Outcome {
        let ids: Vec<i64> = self.rows.keys().copied().collect();
        assert_eq!((index.ids(), index.len()), (ids.clone(), ids.len()), "{what}");
        assert_eq!(index.get(&ids)?, self.rows.values().flatten().copied().collect::<Vec<_>>(), "{what}");
        let search = Search { exact: true, ..Search::top(ids.len() + 3) };
        let found = index.search(&rows(queries, self.dim), &search, &call())?;
        assert_eq!(found, self.hits(queries, search.k, |_, _| true), "{what}");
        Ok(())
    }
}

/// The share of `truth` that was found.
fn recall(found: &Hits, truth: &Hits) -> f64 {
    let in_both = |(found, truth): (&[i64], &[i64])| found.iter().filter(|id| truth.contains(id)).count();
    let both: usize = found.ids.chunks(found.k).zip(truth.ids.chunks(truth.k)).map(in_both).sum();
    both as f64 / truth.ids.len() as f64
}

/// An index of whatever kind with these rows under the ids 0, 1, 2, ..., and its oracle.
fn filled(make: Make, metric: Metric, dim: usize, values: &[f32]) -> (Box<dyn Index>, Oracle) {
    let (index, mut oracle) = (make(IndexOptions::new(dim, metric)), Oracle::new(metric, dim));
    let ids = index.add(&rows(values, dim), None, &call()).expect("good rows");
    oracle.put(&ids, values);
    (index, oracle)
}

#[test]
fn exact_answers_are_those_of_the_definition() -> Outcome {
    for (kind, make) in KINDS {
        for (metric, dim) in METRICS.into_iter().flat_map(|metric| [1, 3, 8, 37, 130].map(|dim| (metric, dim))) {
            let mut numbers = Numbers(dim as u64);
            let mut values = numbers.rows(150, dim);
            values.extend(numbers.coarse(150, dim));
            values.extend(vec![0.0; 2 * dim]);
            let ids: Vec<i64> = (0..302).map(|i| i * 1009 % 4001).collect();
            let (index, mut oracle) = (make(IndexOptions::new(dim, metric)), Oracle::new(metric, dim));
            assert_eq!(index.add(&rows(&values, dim), Some(&ids), &call())?, ids);
            oracle.put(&ids, &values);

            let wanted: Vec<i64> = ids.iter().copied().filter(|id| id % 3 == 0).collect();
            let selection = index.select_ids(&wanted);
            assert_eq!(selection.count(), wanted.len());
            let mask: Vec<bool> = index.ids().iter().map(|id| id % 3 == 0).collect();
            let same_selection = index.select_mask(&mask)?;
            // One query, a few, and enough for panels, the zero vector among them.
            for count in [1, 3, 41] {
                let mut queries = numbers.rows(count / 2, dim);
                queries.extend(numbers.coarse(count - count / 2 - 1, dim));
                queries.extend(vec![0.0; dim]);
                let what = format!("{kind}, {metric:?}, dim {dim}, {count} queries");
                let all = Search { exact: true, ..Search::top(10) };
                let found = index.search(&rows(&queries, dim), &all, &call())?;
                assert_eq!(found, oracle.hits(&queries, 10, |_, _| true), "{what}");
                for selection in [&selection, &same_selection] {
                    let some = Search { selection: Some(selection), ..all };
                    let found = index.search(&rows(&queries, dim), &some, &call())?;
                    assert_eq!(found, oracle.hits(&queries, 10, |id, _| id % 3 == 0), "{what}, selected");
                }
                let floor = oracle.hits(&queries, 5, |_, _| true).scores[4];
                let good = Search { min_score: Some(floor), ..all };
                let found = index.search(&rows(&queries, dim), &good, &call())?;
                assert_eq!(found, oracle.hits(&queries, 10, |_, score| score >= floor), "{what}, at least {floor}");
            }
        }
    }
    Ok(())
}

/// A flat index that keeps rows in this codec.
fn flat_in(codec: Codec, dim: usize, metric: Metric) -> FlatIndex {
    FlatIndex::new(IndexOptions { codec, ..IndexOptions::new(dim, metric) }).expect("good options")
}

/// Rows that every codec takes and only u8 and f32 keep as they are: whole numbers from 0 to 255, many of them equal.
fn bytes(numbers: &mut Numbers, count: usize, dim: usize) -> Vec<f32> {
    (0..count * dim).map(|i| numbers.below(if i % 2 == 0 { 256 } else { 4 }) as f32).collect()
}

#[test]
fn a_codec_is_searched_exactly_for_the_rows_that_it_keeps() -> Outcome {
    // Bits, and the metric for them, have tests of their own.
    for &codec in Codec::ALL.iter().filter(|&&codec| codec != Codec::B1) {
        for (metric, dim) in METRICS.into_iter().flat_map(|metric| [1, 3, 37, 130].map(|dim| (metric, dim))) {
            let mut numbers = Numbers(dim as u64 + 3);
            // Enough for several tiles, whether one query is asked or many.
            let mut values = bytes(&mut numbers, 900, dim);
            values.extend(vec![0.0; 2 * dim]);
            let (index, mut oracle) = (flat_in(codec, dim, metric), Oracle::new(metric, dim));
            let ids: Vec<i64> = (0..902).map(|i| i * 1009 % 4001).collect();
            index.add(&rows(&values, dim), Some(&ids), &call())?;
            // New rows in old slots, and holes.
            let fresh = bytes(&mut numbers, 50, dim);
            index.delete(&ids[100..200], &call())?;
            index.upsert(&ids[150..200], &rows(&fresh, dim), &call())?;
            let left = index.ids();
            let kept = index.get(&left)?;
            assert_eq!((left.len(), index.codec()), (852, codec));
            oracle.put(&left, &kept);
            for count in [1, 3, 41] {
                let queries = numbers.rows(count, dim);
                let what = format!("{codec:?}, {metric:?}, dim {dim}, {count} queries");
                let found = index.search(&rows(&queries, dim), &Search::top(10), &call())?;
                assert_eq!(found, oracle.hits(&queries, 10, |_, _| true), "{what}");
                let thirds: Vec<i64> = left.iter().copied().filter(|id| id % 3 == 0).collect();
                let selection = index.select_ids(&thirds);
                let some = Search { selection: Some(&selection), ..Search::top(10) };
                let found = index.search(&rows(&queries, dim), &some, &on_threads(2))?;
                assert_eq!(found, oracle.hits(&queries, 10, |id, _| id % 3 == 0), "{what}, selected");
            }
            index.optimize(&call())?;
            oracle.check(&index, &numbers.rows(2, dim), "optimized")?;
        }
    }
    Ok(())
}

#[test]
fn a_codec_takes_the_memory_that_it_says_and_comes_back_from_a_file() -> Outcome {
    let folder = tempfile::tempdir()?;
    for (codec, row) in Codec::ALL.iter().zip([1536, 768, 768, 384, 400]) {
        let (dim, mut numbers) = (384, Numbers(83));
        let values = bytes(&mut numbers, 300, dim);
        let (index, mut oracle) = (flat_in(*codec, dim, Metric::Cosine), Oracle::new(Metric::Cosine, dim));
        index.add(&rows(&values, dim), None, &call())?;
        index.delete(&[7, 8], &call())?;
        // Beside the row its term, and a bit; ids that follow each other take nothing.
        let bits = index.stats().bytes - 300 * (row + 4);
        assert!(bits < 4096, "{codec:?}: {bits}");
        oracle.put(&index.ids(), &index.get(&index.ids())?);
        let path = folder.path().join(codec.name());
        index.save(&path)?;
        let loaded = IndexFile::load(&path, false)?.index();
        let mapped = IndexFile::load(&path, true)?.index();
        let unmapped = mapped.copy()?.index();
        for other in [&*loaded, &*mapped, &*unmapped] {
            assert_eq!((other.codec(), other.to_bytes()?), (*codec, index.to_bytes()?));
            oracle.check(other, &numbers.rows(5, dim), codec.name())?;
        }
        assert!(mapped.stats().mapped && !unmapped.stats().mapped);
        assert!(matches!(mapped.delete(&[1], &call()), Err(Error::ReadOnly)));
        unmapped.upsert(&[1, 500], &rows(&values[..2 * dim], dim), &call())?;
        assert_eq!(unmapped.get(&[1, 500])?, index.get(&[0, 1])?);
    }
    Ok(())
}

#[test]
fn what_a_codec_cannot_keep_is_named_and_changes_nothing() -> Outcome {
    let dim = 3;
    let rising = 1.843e19;
    let cases: [(Codec, &[f32], usize, f32); 6] = [
        (Codec::F16, &[1.0, -70_000.0, 80_000.0], 1, -70_000.0),
        (Codec::U8, &[1.0, 0.0, 255.5], 2, 255.5),
        (Codec::U8, &[-1.0, 0.0, 0.0], 0, -1.0),
        (Codec::U8, &[0.0, 256.0, 0.0], 1, 256.0),
        (Codec::I8, &[0.0, 1e-37, -1.4e-36], 2, -1.4e-36),
        (Codec::Bf16, &[rising, 0.0, 0.0], 0, rising),
    ];
    for (codec, bad, column, value) in cases {
        let index = flat_in(codec, dim, Metric::Dot);
        let good: Vec<f32> = (0..3_000).map(|i| (i % 200) as f32).collect();
        index.add(&rows(&good, dim), None, &call())?;
        index.delete(&[4, 5, 6], &call())?;
        let before = index.to_bytes()?;
        let given = [&good[..], bad, &[f32::NAN; 3]].concat();
        let ids: Vec<i64> = (500..1502).collect();
        let given = rows(&given, dim);
        for result in [index.add(&given, None, &call()).map(drop), index.upsert(&ids, &given, &call()).map(drop)] {
            match result {
                Err(Error::Unfit { row: 1000, column: at, value: what, codec: name, .. }) => {
                    assert_eq!((at, what, name), (column, value, codec.name()));
                }
                Err(Error::NormOverflow { row: 1000, column: 0, .. }) if codec == Codec::Bf16 => {}
                other => panic!("{codec:?}: {other:?}"),
            }
        }
        assert_eq!(index.to_bytes()?, before, "{codec:?}");
        assert_eq!(index.search(&rows(bad, dim), &Search::top(1), &call())?.counts, [1], "a query is not kept");
    }
    let options = IndexOptions { codec: Codec::F16, ..IndexOptions::new(dim, Metric::Dot) };
    let refused = HnswIndex::new(options, HnswParameters::for_size(0)).err().map(|error| error.to_string());
    assert!(refused.is_some_and(|message| message.contains("'f32' only, got 'f16'")));
    Ok(())
}

#[test]
fn a_range_search_returns_every_row_within_the_radius_and_no_other() -> Outcome {
    for (kind, make) in KINDS {
        for metric in METRICS {
            let (dim, mut numbers) = (9, Numbers(5));
            let (index, oracle) = filled(make, metric, dim, &numbers.coarse(400, dim));
            let queries = numbers.coarse(7, dim);
            let selection = index.select_ids(&(0..400).step_by(2).collect::<Vec<_>>());
            // The distance of the 20th row to the first query, exactly, is one of the radii: it is inclusive.
            let twentieth = metric.distance(oracle.hits(&queries, 20, |_, _| true).scores[19]);
            for radius in [f64::from(twentieth), 0.0, 1.0, -1.0, 2.5, f64::INFINITY, f64::NEG_INFINITY] {
                for selected in [false, true] {
                    let near =
                        |id: i64, score| f64::from(metric.distance(score)) <= radius && (!selected || id % 2 == 0);
                    let mut truth = RangeHits { lims: vec![0], ids: Vec::new(), scores: Vec::new() };
                    for query in queries.chunks(dim) {
                        let ranking = oracle.ranking(query, near);
                        truth.ids.extend(ranking.iter().map(|hit| hit.0));
                        truth.scores.extend(ranking.iter().map(|hit| hit.1));
                        truth.lims.push(truth.ids.len() as i64);
                    }
                    let selection = selected.then_some(&selection);
                    let found = index.range_search(&rows(&queries, dim), radius, selection, &call())?;
                    assert_eq!(found, truth, "{kind}, {metric:?}, radius {radius}, selected: {selected}");
                }
            }
            assert!(matches!(
                index.range_search(&rows(&queries, dim), f64::NAN, None, &call()),
                Err(Error::InvalidArgument(_))
            ));
        }
    }
    Ok(())
}

#[test]
fn the_graph_finds_nearly_all_neighbours() -> Outcome {
    for metric in METRICS {
        let (dim, count, mut numbers) = (16, 4_000, Numbers(11));
        // Clusters of two hundred, which arrive one after another.
        let centres = numbers.rows(20, dim);
        let noise = numbers.rows(count, dim);
        let values: Vec<f32> =
            noise.iter().enumerate().map(|(i, x)| 0.4 * x + centres[i / dim / 200 * dim + i % dim]).collect();
        let (index, _) = filled(hnsw, metric, dim, &values);
        let queries = &values[..100 * dim].iter().map(|x| x * 1.01 - 0.05).collect::<Vec<_>>();
        let truth = index.search(&rows(queries, dim), &Search { exact: true, ..Search::top(10) }, &call())?;
        for (ef, floor) in [(20, 0.85), (80, 0.93)] {
            let found = index.search(&rows(queries, dim), &Search { ef: Some(ef), ..Search::top(10) }, &call())?;
            let recall = recall(&found, &truth);
            assert!(recall >= floor, "{metric:?}, ef {ef}: recall {recall}");
        }
    }
    Ok(())
}

#[test]
fn a_walk_with_a_selection_returns_as_many_rows_as_there_are() -> Outcome {
    let (dim, mut numbers) = (8, Numbers(13));
    let (index, oracle) = filled(hnsw, Metric::L2, dim, &numbers.rows(3_000, dim));
    let queries = numbers.rows(20, dim);
    for (step, k) in [(2, 10), (40, 10), (40, 100), (3_000, 3)] {
        let wanted: Vec<i64> = (0..3_000).step_by(step).collect();
        let selection = index.select_ids(&wanted);
        let search = Search { selection: Some(&selection), ef: Some(8), ..Search::top(k) };
        let found = index.search(&rows(&queries, dim), &search, &call())?;
        assert!(found.counts.iter().all(|&count| count as usize == k.min(wanted.len())), "every {step}th");
        assert!(found.ids.iter().all(|&id| id == -1 || id % step as i64 == 0), "every {step}th");
        let truth = oracle.hits(&queries, k, |id, _| id % step as i64 == 0);
        assert!(recall(&found, &truth) > 0.8, "every {step}th: {}", recall(&found, &truth));
    }
    Ok(())
}

#[test]
fn the_number_of_threads_changes_nothing() -> Outcome {
    for (kind, make) in KINDS {
        let (dim, mut numbers) = (12, Numbers(17));
        let (first, second) = (numbers.rows(1_200, dim), numbers.coarse(800, dim));
        let queries = numbers.rows(70, dim);
        let mut answers: Vec<(Vec<u8>, [Hits; 3])> = Vec::new();
        for threads in [1, 2, 5] {
            let call = on_threads(threads);
            let index = make(IndexOptions::new(dim, Metric::Cosine));
            index.add(&rows(&first, dim), None, &call)?;
            index.delete(&(0..200).collect::<Vec<_>>(), &call)?;
            index.upsert(&(1_000..1_800).collect::<Vec<_>>(), &rows(&second, dim), &call)?;
            let search = |search: Search<'_>| index.search(&rows(&queries, dim), &search, &call);
            let exact = search(Search { exact: true, ..Search::top(10) })?;
            let walked = search(Search { ef: Some(10), ..Search::top(10) })?;
            index.optimize(&call)?;
            let optimized = search(Search { ef: Some(10), ..Search::top(10) })?;
            answers.push((index.to_bytes()?, [exact, walked, optimized]));
        }
        assert_eq!(answers[0].1, answers[1].1, "{kind}");
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{kind}: the files differ");
    }
    Ok(())
}

#[test]
fn rows_with_the_same_values_are_all_found_lowest_ids_first() -> Outcome {
    for (kind, make) in KINDS {
        for metric in METRICS {
            let (dim, mut numbers) = (6, Numbers(19));
            let mut values = numbers.rows(1, dim).repeat(700);
            values.extend(numbers.rows(900, dim));
            let (index, oracle) = filled(make, metric, dim, &values);
            let query = &values[..dim];
            for (k, exact) in [(5, false), (5, true), (700, false), (1_600, false), (9_999, true)] {
                let search = Search { exact, ef: Some(10), ..Search::top(k) };
                let found = index.search(&rows(query, dim), &search, &call())?;
                let truth = oracle.hits(query, k, |_, _| true);
                if metric == Metric::Dot && k < 1_600 && !exact {
                    // The row that has the largest product with a query need not be the query.
                    assert_eq!(found.counts, truth.counts);
                } else {
                    assert_eq!(found, truth, "{kind}, {metric:?}, k {k}, exact: {exact}");
                }
            }
        }
    }
    Ok(())
}

#[test]
fn a_sequence_of_changes_ends_where_the_model_ends() -> Outcome {
    for ((kind, make), metric) in KINDS.into_iter().flat_map(|kind| METRICS.map(|metric| (kind, metric))) {
        let (dim, mut numbers) = (5, Numbers(23));
        let (index, mut oracle) = (make(IndexOptions::new(dim, metric)), Oracle::new(metric, dim));
        let mut next = 0;
        for step in 0..60 {
            let count = numbers.below(20);
            let values = numbers.coarse(count, dim);
            let ids: Vec<i64> = (0..count).map(|_| numbers.below(120) as i64).collect();
            match numbers.below(8) {
                0..=1 => {
                    let given = index.add(&rows(&values, dim), None, &call())?;
                    assert_eq!(given, (next..next + count as i64).collect::<Vec<_>>());
                    oracle.put(&given, &values);
                }
                2..=4 => {
                    let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
                    assert_eq!(index.upsert(&ids, &rows(&values, dim), &call())?, distinct.len());
                    oracle.put(&ids, &values);
                }
                5..=6 => {
                    let before = oracle.rows.len();
                    oracle.rows.retain(|id, _| !ids.contains(id));
                    assert_eq!(index.delete(&ids, &call())?, before - oracle.rows.len());
                    assert!(ids.iter().all(|&id| !index.contains(id)));
                }
                _ => {
                    index.optimize(&call())?;
                    assert_eq!(index.stats().dead, 0);
                }
            }
            next = next.max(oracle.rows.last_key_value().map_or(0, |(&id, _)| id + 1));
            let what = format!("{kind}, {metric:?}, step {step}");
            oracle.check(&*index, &numbers.coarse(4, dim), &what)?;
        }
        let file = IndexFile::from_bytes(index.to_bytes()?)?;
        let queries = numbers.rows(5, dim);
        oracle.check(&*file.index(), &queries, "loaded")?;
        oracle.check(&*index.copy()?.index(), &queries, "copied")?;
    }
    Ok(())
}

#[test]
fn a_walk_never_meets_deleted_rows_and_still_finds_the_others() -> Outcome {
    let (dim, mut numbers) = (16, Numbers(29));
    let values = numbers.rows(3_000, dim);
    let (index, mut oracle) = filled(hnsw, Metric::L2, dim, &values);
    let queries = numbers.rows(40, dim);
    let gone: Vec<i64> = (0..3_000).filter(|id| id % 3 != 1).collect();
    assert_eq!(index.delete(&gone, &call())?, gone.len());
    oracle.rows.retain(|id, _| id % 3 == 1);
    let search = Search { ef: Some(24), ..Search::top(10) };
    let truth = oracle.hits(&queries, 10, |_, _| true);
    for when in ["deleted", "optimized"] {
        let found = index.search(&rows(&queries, dim), &search, &call())?;
        assert!(found.ids.iter().all(|id| id % 3 == 1), "{when}: a deleted row was found");
        assert!(recall(&found, &truth) > 0.85, "{when}: {}", recall(&found, &truth));
        index.optimize(&call())?;
    }
    assert_eq!((index.stats().rows, index.stats().dead), (1_000, 0));
    Ok(())
}

#[test]
fn an_index_loaded_or_mapped_answers_like_the_one_that_was_saved() -> Outcome {
    let folder = tempfile::tempdir()?;
    for (kind, make) in KINDS {
        for optimized in [false, true] {
            let (dim, mut numbers) = (10, Numbers(31));
            let (index, mut oracle) = filled(make, Metric::L2, dim, &numbers.rows(1_500, dim));
            let ids: Vec<i64> = (0..300).map(|i| 5_000 - 7 * i).collect();
            let values = numbers.rows(300, dim);
            index.upsert(&ids, &rows(&values, dim), &call())?;
            oracle.put(&ids, &values);
            index.delete(&ids[..40], &call())?;
            oracle.rows.retain(|id, _| !ids[..40].contains(id));
            if optimized {
                index.optimize(&call())?;
            }
            let path = folder.path().join(kind);
            index.save(&path)?;

            let queries = numbers.rows(20, dim);
            let walk = Search { ef: Some(12), ..Search::top(10) };
            let walked = index.search(&rows(&queries, dim), &walk, &call())?;
            let loaded = IndexFile::load(&path, false)?.index();
            let mapped = IndexFile::load(&path, true)?.index();
            let unmapped = mapped.copy()?.index();
            for (how, other) in [("loaded", &*loaded), ("mapped", &*mapped), ("unmapped", &*unmapped)] {
                let what = format!("{kind}, {how}");
                assert_eq!(other.search(&rows(&queries, dim), &walk, &call())?, walked, "{what}");
                assert_eq!((other.stats().kind, other.stats().mapped), (kind, how == "mapped"));
                assert_eq!(other.to_bytes()?, index.to_bytes()?, "{what}");
                oracle.check(other, &queries, &what)?;
            }

            let row = numbers.rows(1, dim);
            let refusals = [
                mapped.add(&rows(&row, dim), None, &call()).map(drop),
                mapped.upsert(&[5_000], &rows(&row, dim), &call()).map(drop),
                mapped.delete(&[5_000], &call()).map(drop),
                mapped.optimize(&call()),
            ];
            assert!(refusals.iter().all(|refusal| matches!(refusal, Err(Error::ReadOnly))), "{refusals:?}");
            for other in [&*loaded, &*unmapped] {
                // Ids go on after the largest that there ever was, a deleted one.
                assert_eq!(other.add(&rows(&row, dim), None, &call())?, [5_001]);
                assert_eq!(other.get(&[5_001])?, row);
            }
            oracle.check(&*mapped, &queries, "mapped, after its copy has changed")?;
        }
    }
    Ok(())
}

#[test]
fn input_that_is_refused_changes_nothing() -> Outcome {
    for (kind, make) in KINDS {
        let (dim, mut numbers) = (4, Numbers(37));
        let (index, oracle) = filled(make, Metric::Dot, dim, &numbers.rows(200, dim));
        index.delete(&[], &call())?;
        let (bytes, selection) = (index.to_bytes()?, index.select_ids(&[3, 4]));
        let good = numbers.rows(300, dim);
        let with = |value: f32| {
            let mut bad = good.clone();
            bad[299 * dim + 2] = value;
            bad
        };
        for bad in [with(f32::NAN), with(f32::INFINITY), with(f32::NEG_INFINITY), with(3e38)] {
            let bad = rows(&bad, dim);
            let ids: Vec<i64> = (100..400).collect();
            for result in [index.add(&bad, None, &call()).map(drop), index.upsert(&ids, &bad, &call()).map(drop)] {
                assert!(
                    matches!(
                        result,
                        Err(Error::NonFinite { row: 299, column: 2, .. }
                            | Error::NormOverflow { row: 299, column: 2, .. })
                    ),
                    "{result:?}"
                );
            }
            let found = index.search(&bad, &Search::top(3), &call());
            assert!(matches!(found, Err(Error::NonFinite { .. } | Error::NormOverflow { .. })));
        }
        let two = rows(&good[..2 * dim], dim);
        let narrow = rows(&good[..2 * dim], dim / 2);
        let put = |ids: &[i64]| index.add(&two, Some(ids), &call());
        assert!(matches!(index.add(&narrow, None, &call()), Err(Error::Dimension { expected: 4, given: 2 })));
        assert!(matches!(index.search(&narrow, &Search::top(1), &call()), Err(Error::Dimension { .. })));
        assert!(matches!(put(&[500]), Err(Error::IdCount { rows: 2, ids: 1 })));
        assert!(matches!(put(&[500, -1]), Err(Error::IdRange { id: -1, position: 1 })));
        assert!(matches!(put(&[500, 500]), Err(Error::DuplicateId(500))));
        assert!(matches!(put(&[500, 199]), Err(Error::DuplicateId(199))));
        assert!(matches!(index.get(&[0, 500]), Err(Error::MissingId(500))));
        assert!(matches!(index.select_mask(&[true; 199]), Err(Error::MaskLength { rows: 200, given: 199 })));

        oracle.check(&*index, &numbers.rows(3, dim), kind)?;
        assert_eq!(index.to_bytes()?, bytes, "{kind}");
        let selected = Search { selection: Some(&selection), ..Search::top(5) };
        assert_eq!(index.search(&two, &selected, &call())?.counts, [2, 2], "the selection is still good");
        assert_eq!(index.add(&two, None, &call())?, [200, 201]);
    }
    Ok(())
}

#[test]
fn what_is_not_there_is_no_error() -> Outcome {
    for (kind, make) in KINDS {
        let index = make(IndexOptions::new(3, Metric::Cosine));
        let (nothing, row) = (rows(&[], 3), [1.0, 2.0, 2.0]);
        for when in ["empty", "with a row", "emptied"] {
            let len = index.len();
            assert_eq!(index.is_empty(), when != "with a row", "{kind}");
            assert_eq!(index.add(&nothing, None, &call())?, [0i64; 0]);
            assert_eq!(index.upsert(&[], &nothing, &call())?, 0);
            assert_eq!(index.delete(&[77, -5, i64::MAX], &call())?, 0);
            let found = index.search(&rows(&row, 3), &Search::top(2), &call())?;
            assert_eq!((found.counts[0] as usize, found.ids.len()), (len, 2), "{kind}, {when}");
            assert_eq!(index.search(&rows(&row, 3), &Search::top(0), &call())?.ids, [0i64; 0]);
            assert_eq!(index.search(&nothing, &Search::top(2), &call())?.counts, [0i64; 0]);
            assert_eq!(index.range_search(&rows(&row, 3), 2.0, None, &call())?.ids.len(), len);
            assert_eq!(IndexFile::from_bytes(index.to_bytes()?)?.index().len(), len);
            match when {
                "empty" => drop(index.add(&rows(&row, 3), None, &call())?),
                _ => drop(index.delete(&[0], &call())?),
            }
        }
        index.optimize(&call())?;
        assert_eq!((index.stats().rows, index.stats().dead), (0, 0));
        assert_eq!(index.add(&rows(&row, 3), None, &call())?, [1], "ids are not used again");
    }
    Ok(())
}

/// Says that it is interrupted as soon as it may be asked and its time has come.
#[derive(Default)]
struct Impatient {
    interrupts: AtomicBool,
}

impl Caller for Impatient {
    fn interrupted(&self) -> bool {
        self.interrupts.load(Ordering::Relaxed)
    }
}

/// Rows of which the first takes long to read, and that tell when the last is read.
struct Slow<'a> {
    rows: Rows<'a>,
    pause: Duration,
    read: Cell<usize>,
    done: &'a AtomicBool,
}

impl RowSource for Slow<'_> {
    fn rows(&self) -> usize {
        self.rows.rows()
    }

    fn dim(&self) -> usize {
        self.rows.dim()
    }

    fn read(&self, row: usize, out: &mut [f32]) {
        if row == 0 {
            std::thread::sleep(self.pause);
        }
        self.rows.read(row, out);
        self.read.set(self.read.get() + 1);
        if self.read.get() == self.rows() {
            self.done.store(true, Ordering::Relaxed);
        }
    }
}

#[test]
fn a_write_interrupted_while_it_reads_leaves_the_index_as_it_was() -> Outcome {
    let (dim, mut numbers) = (1024, Numbers(41));
    let (old, new, queries) = (numbers.rows(50, dim), numbers.rows(300, dim), numbers.rows(2, dim));
    for (kind, make) in KINDS {
        for threads in [1, 2] {
            let (index, mut oracle) = filled(make, Metric::L2, dim, &old);
            // Free slots, which the interrupted write will have written into.
            index.delete(&[7, 30], &call())?;
            oracle.rows.retain(|id, _| ![7, 30].contains(id));
            let caller = Impatient { interrupts: true.into() };
            let pause = Duration::from_millis(50);
            let ids: Vec<i64> = (0..300).collect();
            let slow = Slow { rows: rows(&new, dim), pause, read: Cell::new(0), done: &AtomicBool::new(false) };
            let impatient = || Call::new(&caller, NonZeroUsize::new(threads));
            assert!(matches!(index.add(&slow, None, &impatient()), Err(Error::Interrupted)), "{kind}");
            assert!(matches!(index.upsert(&ids, &slow, &impatient()), Err(Error::Interrupted)), "{kind}");
            assert!(slow.read.get() < 600, "it read everything all the same");
            oracle.check(&*index, &queries, kind)?;
            let given = index.add(&rows(&new, dim), None, &call())?;
            assert_eq!(given[0], 50);
            oracle.put(&given, &new);
            oracle.check(&*index, &queries, kind)?;
        }
    }
    Ok(())
}

#[test]
fn a_write_interrupted_while_it_links_leaves_the_index_as_it_was() -> Outcome {
    let (dim, mut numbers) = (24, Numbers(43));
    let (old, new, queries) = (numbers.rows(1_000, dim), numbers.rows(4_000, dim), numbers.rows(20, dim));
    for already in [0, 1_000] {
        let index = hnsw(IndexOptions::new(dim, Metric::Cosine));
        let mut oracle = Oracle::new(Metric::Cosine, dim);
        oracle.put(&index.add(&rows(&old[..already * dim], dim), None, &call())?, &old[..already * dim]);
        let walk = Search { ef: Some(10), ..Search::top(5) };
        let before = index.search(&rows(&queries, dim), &walk, &call())?;
        for threads in [1, 2] {
            let caller = Impatient::default();
            let slow =
                Slow { rows: rows(&new, dim), pause: Duration::ZERO, read: Cell::new(0), done: &caller.interrupts };
            let result = index.add(&slow, None, &Call::new(&caller, NonZeroUsize::new(threads)));
            assert!(matches!(result, Err(Error::Interrupted)), "linking 4,000 rows took less than 20 ms?");
            oracle.check(&*index, &queries, "interrupted")?;
        }
        if already == 0 {
            assert_eq!(index.search(&rows(&queries, dim), &walk, &call())?, before);
            assert_eq!((index.stats().dead, index.stats().layers), (0, 0));
        }
        let given = index.add(&rows(&new[..1_500 * dim], dim), None, &call())?;
        oracle.put(&given, &new[..1_500 * dim]);
        let walked = index.search(&rows(&queries, dim), &Search { ef: Some(40), ..walk }, &call())?;
        let truth = oracle.hits(&queries, 5, |_, _| true);
        assert!(recall(&walked, &truth) > 0.8, "recall {}", recall(&walked, &truth));
        index.optimize(&call())?;
        oracle.check(&*index, &queries, "finished")?;
    }
    Ok(())
}

#[test]
fn max_bytes_refuses_what_does_not_fit_and_lets_the_rest_in() -> Outcome {
    for (kind, make) in KINDS {
        let (dim, max_bytes, mut numbers) = (32, 64_000, Numbers(47));
        let index = make(IndexOptions { max_bytes: Some(max_bytes), ..IndexOptions::new(dim, Metric::L2) });
        let mut oracle = Oracle::new(Metric::L2, dim);
        let queries = numbers.rows(3, dim);
        let too_many = numbers.rows(1_000, dim);
        let mut refused = 0;
        while refused < 2 {
            let result = index.add(&rows(&too_many, dim), None, &call());
            assert!(matches!(result, Err(Error::Capacity { needed, .. }) if needed > max_bytes), "{kind}: {result:?}");
            let ten = numbers.rows(10, dim);
            match index.add(&rows(&ten, dim), None, &call()) {
                Ok(given) => oracle.put(&given, &ten),
                Err(Error::Capacity { .. }) => {
                    refused += 1;
                    oracle.check(&*index, &queries, kind)?;
                    // Half of the rows away and their memory given back: there is room again.
                    assert!(oracle.rows.len() > 30, "{kind} holds no more than {} rows", oracle.rows.len());
                    let gone: Vec<i64> = oracle.rows.keys().copied().step_by(2).collect();
                    index.delete(&gone, &call())?;
                    oracle.rows.retain(|id, _| !gone.contains(id));
                    index.optimize(&call())?;
                    index.add(&rows(&ten, dim), Some(&(9_000 * refused..).take(10).collect::<Vec<_>>()), &call())?;
                    oracle.put(&(9_000 * refused..).take(10).collect::<Vec<_>>(), &ten);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

#[test]
fn no_index_grows_beyond_max_bytes() -> Outcome {
    for (kind, make) in KINDS {
        let (dim, max_bytes, mut numbers) = (4, 100_000, Numbers(67));
        let index = make(IndexOptions { max_bytes: Some(max_bytes), ..IndexOptions::new(dim, Metric::L2) });
        for first in (0..).step_by(20) {
            // Ids that need a map, which takes memory too.
            let ids: Vec<i64> = (first..first + 20).map(|id| 3 * id + 1).collect();
            match index.add(&rows(&numbers.rows(20, dim), dim), Some(&ids), &call()) {
                Ok(_) => {}
                Err(Error::Capacity { .. }) => break,
                Err(error) => return Err(error.into()),
            }
        }
        assert!(index.stats().bytes as u64 <= max_bytes, "{kind} has grown to {}", index.stats().bytes);
    }
    Ok(())
}

#[test]
fn a_full_flat_index_takes_rows_into_the_slots_of_deleted_ones() -> Outcome {
    let (dim, mut numbers) = (32, Numbers(71));
    let index = flat(IndexOptions { max_bytes: Some(64_000), ..IndexOptions::new(dim, Metric::L2) });
    let ten = numbers.rows(10, dim);
    while index.add(&rows(&ten, dim), None, &call()).is_ok() {}
    let rows_before = index.len();
    assert_eq!(index.delete(&(0..10).collect::<Vec<_>>(), &call())?, 10);
    assert_eq!(index.upsert(&(0..10).collect::<Vec<_>>(), &rows(&ten, dim), &call())?, 10);
    assert_eq!((index.stats().rows, index.stats().dead), (rows_before, 0));
    Ok(())
}

#[test]
fn a_selection_serves_one_state_of_one_index() -> Outcome {
    for (kind, make) in KINDS {
        let (dim, mut numbers) = (3, Numbers(53));
        let (index, _) = filled(make, Metric::Dot, dim, &numbers.rows(20, dim));
        let row = numbers.rows(1, dim);
        let refuses = |index: &dyn Index, selection: &Selection| {
            let search = Search { selection: Some(selection), ..Search::top(2) };
            let found = index.search(&rows(&row, dim), &search, &call());
            let near = index.range_search(&rows(&row, dim), 1.0, Some(selection), &call());
            assert_eq!(found.is_ok(), near.is_ok());
            matches!(found, Err(Error::StaleSelection))
        };
        let changes: [(&str, &dyn Fn() -> nearfield::Result<()>); 4] = [
            ("add", &|| index.add(&rows(&row, dim), None, &call()).map(drop)),
            ("upsert", &|| index.upsert(&[4], &rows(&row, dim), &call()).map(drop)),
            ("delete", &|| index.delete(&[5], &call()).map(drop)),
            ("optimize", &|| index.optimize(&call())),
        ];
        for (change, apply) in changes {
            let selection = index.select_ids(&[1, 2, 1, 999]);
            assert_eq!(selection.count(), 2);
            assert!(!refuses(&*index, &selection), "{kind}");
            apply()?;
            assert!(refuses(&*index, &selection), "{kind} after {change}");
        }
        assert!(refuses(&*index.copy()?.index(), &index.select_ids(&[1])), "{kind}, its copy");
    }
    Ok(())
}

#[test]
fn readers_see_each_write_whole_or_not_at_all() -> Outcome {
    const GROUP: std::ops::Range<i64> = 100..140;
    const VERSIONS: usize = 25;
    for (kind, make) in KINDS {
        let (dim, mut numbers) = (16, Numbers(59));
        let (index, oracle) = filled(make, Metric::L2, dim, &numbers.rows(1_000, dim));
        let versions: Vec<Vec<f32>> = (0..VERSIONS).map(|_| numbers.rows(GROUP.count(), dim)).collect();
        let (group, queries) = (GROUP.collect::<Vec<i64>>(), numbers.rows(8, dim));
        index.upsert(&group, &rows(&versions[0], dim), &call())?;
        let done = AtomicBool::new(false);

        let read = |seed: usize| {
            let (mut rounds, mut latest) = (0, 0);
            while rounds < 3 || !done.load(Ordering::Relaxed) {
                rounds += 1;
                let query = &queries[(seed + rounds) % 8 * dim..][..dim];
                let search = Search { exact: rounds % 2 == 0, ef: Some(30), ..Search::top(2_000) };
                let found = index.search(&rows(query, dim), &search, &on_threads(1 + seed % 2)).expect("a good query");
                let hits: BTreeMap<i64, f32> = found.ids.iter().copied().zip(found.scores.iter().copied()).collect();
                assert!(found.scores.is_sorted_by(|a, b| a >= b), "{kind}: not in order");
                let stable = (0..1_000).filter(|id| !group.contains(id));
                let mut all = stable.map(|id| (id, oracle.score(query, &oracle.rows[&id])));
                assert!(all.all(|(id, score)| hits.get(&id) == Some(&score)), "{kind}: a row that never changed");
                let is = |version: &usize| {
                    let mut rows = group.iter().zip(versions[*version].chunks(dim));
                    rows.all(|(id, row)| hits.get(id) == Some(&oracle.score(query, row)))
                };
                let seen = (latest..VERSIONS).find(is);
                latest = seen.unwrap_or_else(|| panic!("{kind}: a mixture of versions, or an older one"));
            }
        };
        std::thread::scope(|scope| {
            let readers = [scope.spawn(|| read(0)), scope.spawn(|| read(1)), scope.spawn(|| read(2))];
            for (version, values) in versions.iter().enumerate().skip(1) {
                index.upsert(&group, &rows(values, dim), &call()).expect("good rows");
                let extra = 5_000 + version as i64;
                index.add(&rows(&values[..dim], dim), Some(&[extra]), &call()).expect("a good row");
                assert_eq!(index.delete(&[extra], &call()).expect("no error"), 1);
                if version % 8 == 0 {
                    index.optimize(&call()).expect("no error");
                }
            }
            done.store(true, Ordering::Relaxed);
            readers.into_iter().for_each(|reader| reader.join().expect("a reader"));
        });
    }
    Ok(())
}

#[test]
fn writers_take_turns() -> Outcome {
    for (kind, make) in KINDS {
        let (dim, mut numbers) = (8, Numbers(61));
        let index = make(IndexOptions::new(dim, Metric::Cosine));
        let values: Vec<Vec<f32>> = (0..4).map(|_| numbers.rows(25, dim)).collect();
        let given: Vec<Vec<i64>> = std::thread::scope(|scope| {
            let add = |values| index.add(&rows(values, dim), None, &call()).expect("good rows");
            let writers: Vec<_> = values.iter().map(|values| scope.spawn(move || add(values))).collect();
            writers.into_iter().map(|writer| writer.join().expect("a writer")).collect()
        });
        let mut oracle = Oracle::new(Metric::Cosine, dim);
        for (ids, values) in given.iter().zip(&values) {
            assert!(ids.is_sorted_by(|a, b| a + 1 == *b), "{kind}: ids of one call follow each other");
            oracle.put(ids, values);
        }
        assert_eq!(oracle.rows.len(), 100);
        oracle.check(&*index, &numbers.rows(4, dim), kind)?;
    }
    Ok(())
}
