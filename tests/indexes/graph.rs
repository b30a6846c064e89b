//! The graph: what it finds, and that it is the same whatever builds it.

use super::*;

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
fn clusters_far_apart_are_all_found_in_whatever_order_they_came() -> Outcome {
    for metric in [Metric::L2, Metric::L1, Metric::Cosine] {
        for sizes in [[2_000, 150, 4_000], [4_000, 2_000, 150]] {
            let (dim, mut numbers) = (24, Numbers(23));
            let mut cluster = |which: usize, rows: usize| {
                let mut values = numbers.rows(rows, dim);
                values.chunks_exact_mut(dim).for_each(|row| row[which] += 60.0);
                values
            };
            let values: Vec<f32> = (0..3).flat_map(|which| cluster(which, sizes[which])).collect();
            let queries: Vec<f32> = (0..3).flat_map(|which| cluster(which, 30)).collect();
            let (index, _) = filled(hnsw, metric, dim, &values);
            let truth = index.search(&rows(&queries, dim), &Search { exact: true, ..Search::top(5) }, &call())?;
            let found = index.search(&rows(&queries, dim), &Search { ef: Some(100), ..Search::top(5) }, &call())?;
            let hits = found.ids.iter().zip(&truth.ids).filter(|(found, truth)| found == truth).count();
            assert!(hits * 10 >= truth.ids.len() * 8, "{metric:?}, {sizes:?}: {hits} of {}", truth.ids.len());
            for which in 0..3 {
                let of_cluster = which * 30 * 5..(which + 1) * 30 * 5;
                let first = sizes[..which].iter().sum::<usize>() as i64;
                let ids = first..first + sizes[which] as i64;
                assert!(found.ids[of_cluster].iter().all(|id| ids.contains(id)), "{metric:?}, {sizes:?}: {which}");
            }
        }
    }
    Ok(())
}

#[test]
fn rows_of_many_small_clusters_all_find_themselves() -> Outcome {
    let (dim, count, mut numbers) = (64, 6_000, Numbers(5));
    let centres = numbers.rows(3_000, dim);
    let near = |numbers: &mut Numbers| -> Vec<f32> {
        let centre = numbers.below(3_000) * dim;
        centres[centre..centre + dim].iter().map(|value| value + 0.3 * numbers.value()).collect()
    };
    let values: Vec<f32> = (0..count).flat_map(|_| near(&mut numbers)).collect();
    for codec in [GraphCodec::Auto, GraphCodec::F32] {
        let parameters = HnswParameters::for_size(count, Metric::L2, codec);
        let index = HnswIndex::new(IndexOptions::new(dim, Metric::L2), parameters)?;
        index.add(&rows(&values, dim), None, &call())?;
        let found = index.search(&rows(&values, dim), &Search::top(1), &call())?;
        let lost: Vec<usize> = (0..count).filter(|&row| found.ids[row] != row as i64).collect();
        assert!(lost.is_empty(), "{codec:?}: searches for rows {lost:?} do not find them");
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
fn a_query_finds_the_same_alone_and_among_others() -> Outcome {
    let (dim, mut numbers) = (12, Numbers(53));
    let index = hnsw(IndexOptions::new(dim, Metric::L2));
    index.add(&rows(&numbers.rows(4_000, dim), dim), None, &call())?;
    let queries = numbers.rows(71, dim);
    let half = index.select_ids(&(0..4_000).step_by(2).collect::<Vec<_>>());
    let check = |selection| -> Outcome {
        let search = Search { ef: Some(12), selection, ..Search::top(10) };
        let together = index.search(&rows(&queries, dim), &search, &on_threads(1))?;
        for (i, query) in queries.chunks(dim).enumerate() {
            let alone = index.search(&rows(query, dim), &search, &on_threads(1))?;
            assert_eq!(alone.ids, together.ids[i * 10..][..10], "query {i}");
            assert_eq!(alone.scores, together.scores[i * 10..][..10], "query {i}");
        }
        Ok(())
    };
    check(None)?;
    check(Some(&half))?;
    // Walks come to rows that are gone.
    index.delete(&(0..4_000).step_by(12).collect::<Vec<_>>(), &call())?;
    check(None)?;
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
