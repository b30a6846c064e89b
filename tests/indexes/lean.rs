//! Graphs that keep no rows: their scores are their own, and everything else is as in other indexes.

use super::*;

const DIM: usize = 24;
const ROWS: usize = 3_000;
const METRICS: [Metric; 3] = [Metric::Cosine, Metric::Dot, Metric::L2];

fn lean(metric: Metric, dim: usize) -> HnswIndex {
    let parameters = HnswParameters::for_size(0, metric, GraphCodec::Lean);
    HnswIndex::new(IndexOptions::new(dim, metric), parameters).expect("good options")
}

fn search(index: &dyn Index, queries: &[f32], search: Search<'_>) -> Result<Hits, Error> {
    index.search(&rows(queries, DIM), &search, &call())
}

fn exact(k: usize) -> Search<'static> {
    Search { exact: true, ..Search::top(k) }
}

/// Bytes a row, as the index says.
fn bytes_a_row(index: &dyn Index) -> usize {
    index.stats().bytes / index.len()
}

#[test]
fn scores_are_near_those_of_the_rows_and_the_same_on_every_way() -> Outcome {
    for metric in METRICS {
        let (index, mut numbers) = (lean(metric, DIM), Numbers(41));
        let (values, queries) = (numbers.rows(ROWS, DIM), numbers.rows(40, DIM));
        let mut oracle = Oracle::new(metric, DIM);
        oracle.put(&index.add(&rows(&values, DIM), None, &call())?, &values);
        let (truth, all) = (search(&index, &queries, exact(10))?, search(&index, &queries, exact(ROWS))?);
        let found = search(&index, &queries, Search { ef: Some(200), ..Search::top(10) })?;
        let spread = 0.02 * values.len() as f32 / ROWS as f32;
        for (query, (ids, scores)) in queries.chunks(DIM).zip(all.ids.chunks(ROWS).zip(all.scores.chunks(ROWS))) {
            for (id, &score) in ids.iter().zip(scores) {
                let of_row = oracle.score(query, &oracle.rows[id]);
                assert!((score - of_row).abs() < spread, "{metric:?}: {score} for {of_row}");
            }
        }
        assert!(recall(&truth, &oracle.hits(&queries, 10, |_, _| true)) > 0.95, "{metric:?}");
        assert!(recall(&found, &truth) > 0.97, "{metric:?}: {}", recall(&found, &truth));
        for (i, (id, score)) in found.ids.iter().zip(&found.scores).enumerate() {
            let row = i / 10 * ROWS..(i / 10 + 1) * ROWS;
            let at = all.ids[row.clone()].iter().position(|other| other == id).ok_or("a row that is not there")?;
            assert_eq!(score.to_bits(), all.scores[row][at].to_bits(), "{metric:?}");
        }
        let chosen = index.select_ids(&(0..ROWS as i64).step_by(7).collect::<Vec<_>>());
        let filtered = search(&index, &queries, Search { selection: Some(&chosen), ..Search::top(10) })?;
        let expected = search(&index, &queries, Search { selection: Some(&chosen), ..exact(10) })?;
        assert!(filtered.ids.iter().all(|id| id % 7 == 0));
        assert!(recall(&filtered, &expected) > 0.97, "{metric:?}");
        let near = index.range_search(
            &rows(&queries[..DIM], DIM),
            f64::from(metric.distance(truth.scores[4])),
            None,
            &call(),
        )?;
        assert_eq!(near.ids, truth.ids[..5], "{metric:?}");
    }
    Ok(())
}

#[test]
fn rows_are_given_up_with_the_last_of_the_first_1024_and_kept_again_in_an_empty_index() -> Outcome {
    for metric in METRICS {
        let (index, mut numbers) = (lean(metric, DIM), Numbers(43));
        let values = numbers.rows(1_100, DIM);
        let mut oracle = Oracle::new(metric, DIM);
        oracle.put(&index.add(&rows(&values[..1_023 * DIM], DIM), None, &call())?, &values[..1_023 * DIM]);
        oracle.check(&index, &values[..3 * DIM], "rows")?;
        index.add(&rows(&values[1_023 * DIM..], DIM), None, &call())?;
        assert!(index.stats().code_bytes > 0);
        let codes = index.get(&[5])?;
        assert!(codes != values[5 * DIM..6 * DIM], "eight bits are not all of a row");
        let apart = codes.iter().zip(&values[5 * DIM..]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart < 0.05, "{metric:?}: {apart}");
        let ids = index.ids();
        assert_eq!(index.delete(&ids, &call())?, 1_100);
        index.upsert(&ids[..20], &rows(&values[..20 * DIM], DIM), &call())?;
        let mut oracle = Oracle::new(metric, DIM);
        oracle.put(&ids[..20], &values[..20 * DIM]);
        oracle.check(&index, &values[..3 * DIM], "rows again")?;
    }
    Ok(())
}

#[test]
fn rows_come_and_go_and_files_hold_all_of_it() -> Outcome {
    for metric in METRICS {
        let mut files = Vec::new();
        for threads in [1, 3] {
            let (index, mut numbers, call) = (lean(metric, DIM), Numbers(47), on_threads(threads));
            index.add(&rows(&numbers.rows(ROWS, DIM), DIM), None, &call)?;
            for round in 0..6 {
                let ids: Vec<i64> = (0..ROWS as i64).filter(|id| (id + round) % 4 == 0).collect();
                assert_eq!(index.delete(&ids, &call)?, ids.len());
                index.upsert(&ids, &rows(&numbers.rows(ids.len(), DIM), DIM), &call)?;
            }
            assert!(index.stats().dead < ROWS / 2, "slots were not used again: {:?}", index.stats());
            index.link_later(true);
            index.add(&rows(&numbers.rows(70, DIM), DIM), None, &call)?;
            assert_eq!(index.stats().pending, 70);
            let queries = numbers.rows(50, DIM);
            let loaded = IndexFile::from_bytes(index.to_bytes()?)?.index();
            for k in [1, 10] {
                assert_eq!(search(&*loaded, &queries, Search::top(k))?, search(&index, &queries, Search::top(k))?);
                assert_eq!(search(&*loaded, &queries, exact(k))?, search(&index, &queries, exact(k))?);
            }
            let copied = loaded.copy()?.index();
            assert!(copied.to_bytes()? == index.to_bytes()?);
            let found = search(&index, &queries, Search { ef: Some(64), ..Search::top(10) })?;
            let truth = search(&index, &queries, exact(10))?;
            let churned = recall(&found, &truth);
            index.catch_up(usize::MAX, &call)?;
            index.optimize(&call)?;
            assert_eq!((index.stats().dead, index.stats().pending), (0, 0));
            assert_eq!(search(&index, &queries, exact(10))?, truth, "codes stay what they are");
            let fresh = recall(&search(&index, &queries, Search { ef: Some(64), ..Search::top(10) })?, &truth);
            assert!(churned > 0.9 && churned > fresh - 0.03, "{metric:?}: {churned}, {fresh} built anew");
            files.push(index.to_bytes()?);
        }
        assert!(files[0] == files[1], "{metric:?}: threads make no difference");
    }
    Ok(())
}

#[test]
fn copies_share_a_node_and_are_all_found() -> Outcome {
    let (index, mut numbers) = (lean(Metric::L2, DIM), Numbers(53));
    let values = numbers.rows(1_500, DIM);
    let twice: Vec<f32> = values.iter().chain(&values).copied().collect();
    index.add(&rows(&twice, DIM), None, &call())?;
    let found = search(&index, &values[..30 * DIM], Search { ef: Some(100), ..Search::top(2) })?;
    for (i, ids) in found.ids.chunks(2).enumerate() {
        assert_eq!(ids, [i as i64, i as i64 + 1_500]);
    }
    Ok(())
}

#[test]
fn a_row_of_384_values_takes_little_more_than_its_codes_and_links() -> Outcome {
    let (index, mut numbers) = (lean(Metric::Cosine, 384), Numbers(59));
    index.add(&rows(&numbers.rows(2_000, 384), 384), None, &call())?;
    assert!(bytes_a_row(&index) <= 520, "{}", bytes_a_row(&index));
    Ok(())
}

#[test]
fn what_codes_cannot_serve_is_refused() {
    let parameters = HnswParameters::for_size(0, Metric::L1, GraphCodec::Lean);
    for (metric, codec) in [(Metric::L1, Codec::F32), (Metric::L2, Codec::F16)] {
        let options = IndexOptions { codec, ..IndexOptions::new(4, metric) };
        let error = HnswIndex::new(options, parameters).err().expect("refused");
        assert!(matches!(error, Error::InvalidArgument(_)), "{error}");
    }
}
