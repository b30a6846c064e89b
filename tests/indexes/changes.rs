//! What changes and files leave, and what input that is refused leaves.

use super::*;

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
