//! A flat index with codes, one without, and the definition.

use crate::data::{KINDS, Numbers, queries_for, rows_of, tiny_queries};
use crate::model::{Model, best, in_bits, range_in_bits};
use crate::{METRICS, Outcome, on_threads};
use nearfield::{Codec, FlatIndex, Index, IndexFile, IndexOptions, Metric, Rows, Search, Selection};

/// Two indexes with the same rows, one with codes and one without, and some queries.
struct Pair<'a> {
    coded: &'a dyn Index,
    plain: &'a dyn Index,
    queries: &'a [f32],
    what: String,
}

impl Pair<'_> {
    /// Asks both the same and holds them against the truth: all queries in one call, on one thread and on two, and some alone.
    fn check(
        &self,
        rankings: &[Vec<(i64, f32)>],
        search: Search<'_>,
        selections: [Option<&Selection>; 2],
        admits: impl Fn(i64, f32) -> bool,
    ) -> Outcome {
        let dim = self.coded.dim();
        let truth: Vec<_> = rankings.iter().map(|ranking| best(ranking, search.k, &admits)).collect();
        let what = format!("{}, k {}, min_score {:?}", self.what, search.k, search.min_score);
        for (index, selection) in [self.coded, self.plain].into_iter().zip(selections) {
            let search = Search { selection, ..search };
            for threads in [1, 2] {
                let found = index.search(&Rows::new(self.queries, dim)?, &search, &on_threads(threads))?;
                assert_eq!(in_bits(&found), truth, "{what}, all at once on {threads} threads");
            }
        }
        let search = Search { selection: selections[0], ..search };
        // A few of them; others for another k.
        for (number, query) in self.queries.chunks(dim).enumerate().skip(search.k % 4).step_by(4) {
            let found = self.coded.search(&Rows::new(query, dim)?, &search, &on_threads(1 + number % 2))?;
            assert_eq!(in_bits(&found)[0], truth[number], "{what}, query {number} alone");
        }
        Ok(())
    }

    /// Asks for everything that can be asked.
    fn check_all(&self) -> Outcome {
        let model = Model::of(self.coded);
        assert_eq!(self.plain.ids(), self.coded.ids(), "{}", self.what);
        let rankings = model.rankings(self.queries);
        for k in [1, 10, 100] {
            self.check(&rankings, Search::top(k), [None, None], |_, _| true)?;
        }
        self.check_selected(&model, &rankings)?;
        self.check_floors(&rankings)?;
        self.check_ranges(&rankings)
    }

    fn check_selected(&self, model: &Model, rankings: &[Vec<(i64, f32)>]) -> Outcome {
        for (one_in, k) in [(2, 10), (7, 100), (50, 1), (500, 10), (100_000, 1)] {
            let wanted = |id: i64| ((id * 2_654_435_761) >> 8) % one_in == 0;
            let ids: Vec<i64> = model.rows.keys().copied().filter(|&id| wanted(id)).collect();
            let by_id = [self.coded, self.plain].map(|index| index.select_ids(&ids));
            let mask: Vec<bool> = model.rows.keys().map(|&id| wanted(id)).collect();
            let by_mask = [self.coded.select_mask(&mask)?, self.plain.select_mask(&mask)?];
            for selections in [&by_id, &by_mask] {
                let selections = [Some(&selections[0]), Some(&selections[1])];
                self.check(rankings, Search::top(k), selections, |id, _| wanted(id))?;
            }
        }
        Ok(())
    }

    /// With a smallest score that is exactly that of a row, and those next to it.
    fn check_floors(&self, rankings: &[Vec<(i64, f32)>]) -> Outcome {
        let exact = rankings[3][25].1;
        for floor in [exact, exact.next_up(), exact.next_down(), rankings[1][0].1, f32::INFINITY] {
            let search = Search { min_score: Some(floor), ..Search::top(100) };
            self.check(rankings, search, [None, None], |_, score| score >= floor)?;
        }
        Ok(())
    }

    fn check_ranges(&self, rankings: &[Vec<(i64, f32)>]) -> Outcome {
        let (dim, metric) = (self.coded.dim(), self.coded.metric());
        let ids: Vec<i64> = self.coded.ids().into_iter().filter(|id| id % 3 == 0).collect();
        for rank in [0, 7, 60] {
            let radius = f64::from(metric.distance(rankings[3][rank].1));
            let near = |score| f64::from(metric.distance(score)) <= radius;
            for selected in [false, true] {
                let truth: Vec<_> = rankings
                    .iter()
                    .map(|ranking| best(ranking, usize::MAX, |id, score| near(score) && (!selected || id % 3 == 0)))
                    .collect();
                for index in [self.coded, self.plain] {
                    let selection = selected.then(|| index.select_ids(&ids));
                    let queries = Rows::new(self.queries, dim)?;
                    let found = index.range_search(&queries, radius, selection.as_ref(), &on_threads(2))?;
                    assert_eq!(range_in_bits(&found), truth, "{}, within {radius}", self.what);
                }
            }
        }
        Ok(())
    }
}

/// An index with codes and one without, with the same rows.
fn filled(options: IndexOptions, values: &[f32]) -> Result<[FlatIndex; 2], nearfield::Error> {
    let pair = [FlatIndex::new(options)?, FlatIndex::without_codes(options)?];
    for index in &pair {
        index.add(&Rows::new(values, options.dim)?, None, &on_threads(2))?;
    }
    assert!(pair[0].accelerates() && pair[0].stats().code_bytes > 0 && pair[1].stats().code_bytes == 0);
    Ok(pair)
}

#[test]
fn answers_through_codes_have_the_bits_of_the_definition() -> Outcome {
    for dim in [1, 2, 3, 7, 8, 9, 31, 33, 100, 128, 384] {
        for kind in KINDS {
            let mut numbers = Numbers(dim as u64);
            let count = 1_100 + numbers.below(150);
            let values = rows_of(kind, &mut numbers, count, dim);
            let queries = queries_for(&mut numbers, &values, dim);
            for metric in METRICS {
                let [coded, plain] = filled(IndexOptions::new(dim, metric), &values)?;
                let what = format!("rows {}, {metric:?}, dim {dim}", kind.0);
                Pair { coded: &coded, plain: &plain, queries: &queries, what: what.clone() }.check_all()?;
                assert!(coded.stats().queries > 100, "{what}: {} queries through codes", coded.stats().queries);
            }
        }
    }
    Ok(())
}

#[test]
fn many_rows_and_long_ones_are_answered_alike() -> Outcome {
    for (kind, count, dim) in [(0, 5_000, 48), (2, 3_000, 64), (3, 4_000, 20), (10, 5_000, 33), (0, 1_100, 1000)] {
        let mut numbers = Numbers(count as u64);
        let values = rows_of(KINDS[kind], &mut numbers, count, dim);
        let queries = queries_for(&mut numbers, &values, dim);
        for metric in METRICS {
            let [coded, plain] = filled(IndexOptions::new(dim, metric), &values)?;
            let what = format!("{count} rows {}, {metric:?}, dim {dim}", KINDS[kind].0);
            Pair { coded: &coded, plain: &plain, queries: &queries, what }.check_all()?;
        }
    }
    Ok(())
}

#[test]
fn queries_as_short_as_can_be_are_answered_alike() -> Outcome {
    let (dim, mut numbers) = (20, Numbers(3));
    for (metric, kind) in METRICS.into_iter().flat_map(|metric| [0, 2, 5, 6, 9].map(|kind| (metric, KINDS[kind]))) {
        let values = rows_of(kind, &mut numbers, 1_200, dim);
        let [coded, plain] = filled(IndexOptions::new(dim, metric), &values)?;
        let queries = tiny_queries(&mut numbers, dim);
        let what = format!("rows {}, {metric:?}, tiny queries", kind.0);
        Pair { coded: &coded, plain: &plain, queries: &queries, what }.check_all()?;
    }
    Ok(())
}

/// Codes are of use: of a thousand rows few are looked at.
#[test]
fn few_rows_are_looked_at_where_rows_are_ordinary() -> Outcome {
    let (dim, mut numbers) = (128, Numbers(1));
    let values = rows_of(KINDS[0], &mut numbers, 5_000, dim);
    for metric in METRICS {
        let [coded, _] = filled(IndexOptions::new(dim, metric), &values)?;
        coded.search(&Rows::new(&values[..100 * dim], dim)?, &Search::top(10), &on_threads(1))?;
        let stats = coded.stats();
        assert!(stats.queries == 100 && stats.reranked < 100 * 500, "{metric:?}: {stats:?}");
    }
    Ok(())
}

/// Rows that every codec takes: whole numbers from 0 to 255.
fn bytes(numbers: &mut Numbers, count: usize, dim: usize) -> Vec<f32> {
    (0..count * dim).map(|i| numbers.below(if i % 2 == 0 { 256 } else { 4 }) as f32).collect()
}

#[test]
fn codes_beside_rows_in_any_codec_change_no_answer() -> Outcome {
    for codec in [Codec::F16, Codec::Bf16, Codec::I8, Codec::U8] {
        for (metric, dim) in METRICS.into_iter().flat_map(|metric| [3, 37, 130].map(|dim| (metric, dim))) {
            let mut numbers = Numbers(dim as u64);
            let values = if codec == Codec::U8 || dim == 37 {
                bytes(&mut numbers, 1_300, dim)
            } else {
                rows_of(KINDS[2], &mut numbers, 1_300, dim)
            };
            let [coded, plain] = filled(IndexOptions { codec, ..IndexOptions::new(dim, metric) }, &values)?;
            let queries = queries_for(&mut numbers, &values, dim);
            let what = format!("{codec:?}, {metric:?}, dim {dim}");
            Pair { coded: &coded, plain: &plain, queries: &queries, what }.check_all()?;
        }
    }
    Ok(())
}

/// Deletes and upserts rows of both, so that old slots get new rows and holes stay.
pub(crate) fn churn(indexes: [&dyn Index; 2], numbers: &mut Numbers, fresh: &[f32]) -> Outcome {
    let dim = indexes[0].dim();
    let ids = indexes[0].ids();
    let dead: Vec<i64> = ids.iter().copied().filter(|_| numbers.below(3) == 0).collect();
    let fresh_rows = fresh.len() / dim;
    let replaced: Vec<i64> =
        (0..fresh_rows).map(|_| ids[numbers.below(ids.len())] + 3 * numbers.below(2) as i64).collect();
    for index in indexes {
        index.delete(&dead, &on_threads(1))?;
        index.upsert(&replaced, &Rows::new(fresh, dim)?, &on_threads(2))?;
        index.add(&Rows::new(&fresh[..fresh.len() / dim / 4 * dim], dim)?, None, &on_threads(1))?;
    }
    Ok(())
}

#[test]
fn answers_stay_exact_through_the_life_of_an_index() -> Outcome {
    let folder = tempfile::tempdir()?;
    for (turn, (metric, kind)) in METRICS.into_iter().flat_map(|m| [0, 1, 2, 5, 9].map(|kind| (m, kind))).enumerate() {
        let codec = if kind == 2 { Codec::F16 } else { Codec::F32 };
        let (dim, mut numbers) = ([24, 50][turn % 2], Numbers(turn as u64));
        let values = rows_of(KINDS[kind], &mut numbers, 2_000, dim);
        let queries = queries_for(&mut numbers, &values, dim);
        let [coded, plain] = filled(IndexOptions { codec, ..IndexOptions::new(dim, metric) }, &values)?;
        let check = |coded: &dyn Index, plain: &dyn Index, what: &str| {
            let what = format!("rows {}, {metric:?}, dim {dim}, {what}", KINDS[kind].0);
            Pair { coded, plain, queries: &queries, what }.check_all()
        };
        // Rows that have nothing to do with what the codes are centred on, among others.
        let fresh = rows_of(KINDS[(kind + 1) % 3], &mut numbers, 500, dim);
        churn([&coded, &plain], &mut numbers, &fresh)?;
        check(&coded, &plain, "changed")?;
        let path = folder.path().join(format!("{turn}.nf"));
        coded.save(&path)?;
        for mapped in [false, true] {
            let loaded = IndexFile::load(&path, mapped)?.index();
            assert!(loaded.stats().code_bytes > 0 && loaded.stats().mapped == mapped);
            check(&*loaded, &plain, if mapped { "mapped" } else { "loaded" })?;
            let copy = loaded.copy()?.index();
            let (again, more) = (Numbers(99), rows_of(KINDS[0], &mut Numbers(98), 300, dim));
            let other = plain.copy()?.index();
            churn([&*copy, &*other], &mut { again }, &more)?;
            check(&*copy, &*other, "copied and changed")?;
        }
        coded.optimize(&on_threads(2))?;
        plain.optimize(&on_threads(1))?;
        check(&coded, &plain, "optimized")?;
        churn([&coded, &plain], &mut numbers, &fresh)?;
        check(&coded, &plain, "changed again")?;
    }
    Ok(())
}

/// Rows whose inner products with a query are lost in the rounding of f64: the canonical score is a multiple of 2^-23, wherever the true one
/// lies, and of rows with the same score the lowest id comes first.
#[test]
fn a_score_that_is_all_rounding_is_still_the_score() -> Outcome {
    let (dim, count, mut numbers) = (64, 2_000, Numbers(77));
    for scale in [1e-8f32, 3e-8, 1e-7] {
        let value = |numbers: &mut Numbers, at: usize| if at % dim < 2 { 1e9 } else { numbers.unit() * scale };
        let values: Vec<f32> = (0..count * dim).map(|at| value(&mut numbers, at)).collect();
        let mut queries = Vec::new();
        for _ in 0..20 {
            queries.extend((0..dim).map(|i| if i < 2 { 1.0 - 2.0 * i as f32 } else { numbers.unit() }));
        }
        let [coded, plain] = filled(IndexOptions::new(dim, Metric::Dot), &values)?;
        Pair { coded: &coded, plain: &plain, queries: &queries, what: format!("scale {scale}") }.check_all()?;
    }
    Ok(())
}
