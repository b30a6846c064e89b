//! A quantized index: its answers depend on rows and queries alone, and are the best of all its estimates.

use crate::data::{KINDS, Numbers, queries_for, rows_of, tiny_queries};
use crate::flat::churn;
use crate::model::{best, in_bits, range_in_bits};
use crate::{METRICS, Outcome, on_threads};
use nearfield::{
    Hits, Index, IndexFile, IndexOptions, Metric, QuantizedIndex, QuantizedParameters, Rows, Search, Selection,
};
use std::collections::BTreeMap;

const BITS: std::ops::RangeInclusive<u32> = 1..=8;

pub(crate) fn quantized(metric: Metric, dim: usize, bits: u32, keep: bool) -> QuantizedIndex {
    let parameters = QuantizedParameters { bits, keep, seed: 3 };
    QuantizedIndex::new(IndexOptions::new(dim, metric), parameters).expect("good parameters")
}

fn answers(index: &dyn Index, queries: &[f32], search: &Search<'_>, threads: usize) -> Hits {
    let queries = Rows::new(queries, index.dim()).expect("whole rows");
    index.search(&queries, search, &on_threads(threads)).expect("a good search")
}

#[test]
fn threads_and_the_split_into_calls_change_nothing() -> Outcome {
    let (dim, count) = (40, 2_100);
    for (metric, bits) in METRICS.into_iter().flat_map(|metric| BITS.map(move |bits| (metric, bits))) {
        for keep in [false, true] {
            let mut numbers = Numbers(u64::from(bits));
            let values = rows_of(KINDS[[0, 2, 5][bits as usize % 3]], &mut numbers, count, dim);
            let queries = queries_for(&mut numbers, &values, dim);
            let mut first: Option<(Vec<u8>, Hits, Hits)> = None;
            // All at once; row by row around the one that the codes are centred with; in pieces of no particular length.
            let splits: [&[usize]; 5] = [&[], &[1023], &[1024], &[1, 1022, 1, 1, 1], &[700, 400, 13, 500]];
            for (split, threads) in splits.into_iter().zip([1, 2, 5, 2, 1]) {
                let index = quantized(metric, dim, bits, keep);
                let mut left = &values[..];
                for rows in split.iter().chain([&count]) {
                    let (piece, rest) = left.split_at(left.len().min(rows * dim));
                    index.add(&Rows::new(piece, dim)?, None, &on_threads(threads))?;
                    left = rest;
                }
                let found = answers(&index, &queries, &Search::top(10), threads);
                let alone: Vec<i64> =
                    queries.chunks(dim).flat_map(|q| answers(&index, q, &Search::top(10), 1).ids).collect();
                assert_eq!(found.ids, alone, "{metric:?}, {bits} bits: all at once and one by one");
                let all = answers(&index, &queries, &Search::top(500), threads);
                let this = (index.to_bytes()?, found, all);
                let first = first.get_or_insert_with(|| this.clone());
                assert!(*first == this, "{metric:?}, {bits} bits, keep {keep}, split {split:?}, {threads} threads");
            }
        }
    }
    Ok(())
}

/// Slots of deleted rows are used again before the codes are centred, on values of which a sum in f64 depends on their order.
#[test]
fn the_split_into_calls_changes_nothing_where_slots_are_used_again() -> Outcome {
    let (dim, mut numbers) = (12, Numbers(8));
    let value = |n: &mut Numbers, row: usize| if row.is_multiple_of(3) { n.unit() } else { [1e17, -1e17][row % 3 - 1] };
    let values: Vec<f32> = (0..1_500 * dim).map(|at| value(&mut numbers, at / dim)).collect();
    let queries = &values[..9 * dim];
    for metric in [Metric::Dot, Metric::L2] {
        let mut first = None;
        for piece in [1_000, 1, 7, 64] {
            let index = quantized(metric, dim, 4, false);
            index.add(&Rows::new(&values[..500 * dim], dim)?, None, &on_threads(1))?;
            let dead: Vec<i64> = (0..200).map(|i| i * 37 % 500).collect();
            index.delete(&dead, &on_threads(1))?;
            for piece in values[500 * dim..].chunks(piece * dim) {
                index.add(&Rows::new(piece, dim)?, None, &on_threads(1))?;
            }
            let this = (answers(&index, queries, &Search::top(100), 2), index.to_bytes()?);
            assert!(*first.get_or_insert_with(|| this.clone()) == this, "{metric:?}, {piece} rows a call");
        }
    }
    Ok(())
}

/// All rows with their scores, best first, for each query: what is left of a search if nothing is left out.
fn rankings(index: &dyn Index, queries: &[f32]) -> Vec<Vec<(i64, f32)>> {
    let all = answers(index, queries, &Search::top(index.len()), 1);
    assert!(all.counts.iter().all(|&count| count as usize == index.len()));
    let rankings = all.ids.chunks(all.k).zip(all.scores.chunks(all.k));
    rankings.map(|(ids, scores)| ids.iter().copied().zip(scores.iter().copied()).collect()).collect()
}

/// Whatever is asked for is what the ranking of all rows has.
fn check(index: &dyn Index, queries: &[f32], what: &str) -> Outcome {
    let rankings = rankings(index, queries);
    let in_order = |pair: &[(i64, f32)]| pair[0].1 > pair[1].1 || pair[0].1 == pair[1].1 && pair[0].0 < pair[1].0;
    assert!(rankings.iter().all(|ranking| ranking.windows(2).all(in_order)), "{what}: out of order");
    let third: Vec<i64> = index.ids().into_iter().filter(|id| id % 3 == 0).collect();
    let third = index.select_ids(&third);
    let search = |search: Search<'_>, admits: &dyn Fn(i64, f32) -> bool| {
        let truth: Vec<_> = rankings.iter().map(|ranking| best(ranking, search.k, admits)).collect();
        for threads in [1, 2] {
            assert_eq!(in_bits(&answers(index, queries, &search, threads)), truth, "{what}, {search:?}");
        }
    };
    for k in [1, 10, 100] {
        search(Search::top(k), &|_, _| true);
        search(Search { selection: Some(&third), ..Search::top(k) }, &|id, _| id % 3 == 0);
    }
    for floor in [rankings[3][25].1, rankings[3][25].1.next_up(), rankings[1][0].1, -1.0] {
        search(Search { min_score: Some(floor), ..Search::top(100) }, &|_, score| score >= floor);
    }
    for rank in [0, 40] {
        check_range(index, queries, &rankings, f64::from(index.metric().distance(rankings[3][rank].1)), &third)?;
    }
    check_range(index, queries, &rankings, 2.0, &third)
}

fn check_range(
    index: &dyn Index,
    queries: &[f32],
    rankings: &[Vec<(i64, f32)>],
    radius: f64,
    third: &Selection,
) -> Outcome {
    let near = |id, score| f64::from(index.metric().distance(score)) <= radius && id % 3 == 0;
    let truth: Vec<_> = rankings.iter().map(|ranking| best(ranking, usize::MAX, near)).collect();
    let found = index.range_search(&Rows::new(queries, index.dim())?, radius, Some(third), &on_threads(2))?;
    assert_eq!(range_in_bits(&found), truth, "{:?}, within {radius}", index.metric());
    Ok(())
}

#[test]
fn answers_are_the_best_of_all_estimates() -> Outcome {
    for (metric, bits) in METRICS.into_iter().flat_map(|metric| BITS.map(move |bits| (metric, bits))) {
        for (kind, dim) in [(0, 30), (1, 6), (2, 64), (5, 9), (6, 40), (7, 3), (9, 16), (11, 3), (11, 30), (12, 100)] {
            let mut numbers = Numbers(u64::from(bits) + 10);
            let mut values = rows_of(KINDS[kind], &mut numbers, 1_150, dim);
            values.extend(vec![0.0; 3 * dim]);
            let mut queries = queries_for(&mut numbers, &values, dim);
            queries.extend(tiny_queries(&mut numbers, dim));
            let index = quantized(metric, dim, bits, false);
            index.add(&Rows::new(&values, dim)?, None, &on_threads(2))?;
            check(&index, &queries, &format!("rows {}, {metric:?}, dim {dim}, {bits} bits", KINDS[kind].0))?;
        }
    }
    Ok(())
}

#[test]
fn rows_and_scores_stay_the_same_through_the_life_of_an_index() -> Outcome {
    let (folder, dim) = (tempfile::tempdir()?, 28);
    for (metric, bits) in METRICS.into_iter().flat_map(|metric| BITS.map(move |bits| (metric, bits))) {
        let mut numbers = Numbers(u64::from(bits) + 20);
        let values = rows_of(KINDS[bits as usize % 3], &mut numbers, 1_800, dim);
        let queries = queries_for(&mut numbers, &values, dim);
        let index = quantized(metric, dim, bits, false);
        index.add(&Rows::new(&values, dim)?, None, &on_threads(2))?;
        let before: Vec<BTreeMap<i64, u32>> = scores(&index, &queries);
        let kept: BTreeMap<i64, Vec<f32>> = rows(&index);
        let ids = index.ids();
        index.delete(&ids[..400], &on_threads(1))?;
        let remains = |index: &dyn Index, what: &str| {
            let what = format!("{metric:?}, {bits} bits, {what}");
            for (before, now) in before.iter().zip(scores(index, &queries)) {
                let same = now.range(..1_800).all(|(id, score)| before[id] == *score);
                assert!(same, "{what}: the score of a row has changed");
            }
            assert!(rows(index).range(..1_800).all(|(id, row)| kept[id] == *row), "{what}: a row has changed");
            check(index, &queries, &what)
        };
        remains(&index, "after deletes")?;
        let more: Vec<i64> = (5_000..5_200).collect();
        index.upsert(&more, &Rows::new(&values[..200 * dim], dim)?, &on_threads(2))?;
        remains(&index, "with rows in old slots")?;
        let path = folder.path().join(format!("{}{bits}", metric.name()));
        index.save(&path)?;
        for mapped in [false, true] {
            let loaded = IndexFile::load(&path, mapped)?.index();
            assert_eq!(loaded.to_bytes()?, index.to_bytes()?);
            remains(&*loaded, if mapped { "mapped" } else { "loaded" })?;
        }
        index.optimize(&on_threads(2))?;
        remains(&index, "optimized")?;
        index.add(&Rows::new(&values[..33 * dim], dim)?, None, &on_threads(1))?;
        remains(&*index.copy()?.index(), "optimized, added to and copied")?;
        churn([&index, &index], &mut numbers, &values[..90 * dim])?;
        check(&index, &queries, "changed")?;
    }
    Ok(())
}

fn scores(index: &dyn Index, queries: &[f32]) -> Vec<BTreeMap<i64, u32>> {
    let bits = |ranking: Vec<(i64, f32)>| ranking.into_iter().map(|(id, score)| (id, score.to_bits())).collect();
    rankings(index, queries).into_iter().map(bits).collect()
}

fn rows(index: &dyn Index) -> BTreeMap<i64, Vec<f32>> {
    let ids = index.ids();
    let values = index.get(&ids).expect("rows that are there");
    ids.into_iter().zip(values.chunks(index.dim()).map(<[f32]>::to_vec)).collect()
}

#[test]
fn estimates_beyond_minus_one_are_scores_of_minus_one() -> Outcome {
    let (dim, mut numbers) = (8, Numbers(5));
    let values = rows_of(KINDS[0], &mut numbers, 1_200, dim);
    let queries: Vec<f32> = values[..20 * dim].iter().map(|value| -value).collect();
    for bits in BITS {
        let index = quantized(Metric::Cosine, dim, bits, false);
        index.add(&Rows::new(&values, dim)?, None, &on_threads(1))?;
        let found = answers(&index, &queries, &Search { min_score: Some(-1.0), ..Search::top(1_200) }, 2);
        assert!(found.counts.iter().all(|&count| count == 1_200), "{bits} bits: {:?}", found.counts);
        assert!(bits > 3 || found.scores.contains(&-1.0), "{bits} bits: the case does not arise");
        let within = index.range_search(&Rows::new(&queries, dim)?, 2.0, None, &on_threads(1))?;
        assert_eq!(within.ids.len(), 20 * 1_200, "{bits} bits");
    }
    Ok(())
}

#[test]
fn a_zero_row_comes_before_all_scores_that_are_negative() -> Outcome {
    let mut numbers = Numbers(6);
    for dim in [2, 3, 5, 24] {
        // Far from the others, so that the code of what lies between zero and their mean says little of it.
        let mut values: Vec<f32> = (0..3_000 * dim).map(|_| numbers.unit().abs() + 0.1).collect();
        values[2_777 * dim..][..dim].fill(0.0);
        let queries: Vec<f32> = (0..40 * dim).map(|_| -numbers.unit().abs()).collect();
        for bits in BITS {
            let index = quantized(Metric::Cosine, dim, bits, false);
            index.add(&Rows::new(&values, dim)?, None, &on_threads(1))?;
            let rankings = rankings(&index, &queries);
            assert!(rankings.iter().all(|ranking| ranking.contains(&(2_777, 0.0))), "dim {dim}, {bits} bits");
            for threads in [1, 2] {
                let found = answers(&index, &queries, &Search::top(3), threads);
                let truth: Vec<_> = rankings.iter().map(|ranking| best(ranking, 3, |_, _| true)).collect();
                assert_eq!(in_bits(&found), truth, "dim {dim}, {bits} bits");
                let firsts = found.ids.iter().step_by(3).filter(|&&id| id == 2_777).count();
                assert!(firsts > 10, "dim {dim}, {bits} bits: it comes first {firsts} times");
            }
            let row = index.get(&[2_777])?;
            assert!(row.iter().all(|&value| value == 0.0), "dim {dim}, {bits} bits: {row:?}");
        }
    }
    Ok(())
}
