//! Exact answers: the definition, the codecs, the radius.

use super::*;

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
    // A walk among cells does not read rows, so that they may be halves; a walk among rows reads f32.
    for (codec, graph, message) in [
        (Codec::I8, GraphCodec::Auto, Some("got 'i8'")),
        (Codec::F16, GraphCodec::F32, Some("got 'f16'")),
        (Codec::F16, GraphCodec::Auto, None),
    ] {
        let options = IndexOptions { codec, ..IndexOptions::new(dim, Metric::Dot) };
        let refused = HnswIndex::new(options, HnswParameters::for_size(0, options.metric, graph)).err();
        let refused = refused.map(|error| error.to_string());
        assert!(refused.as_deref().is_none_or(|said| message.is_some_and(|part| said.contains(part))));
        assert_eq!(refused.is_some(), message.is_some(), "{codec:?}");
    }
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
