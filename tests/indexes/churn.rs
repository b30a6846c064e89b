//! Graphs that live: rows come, go, change and come back.

use super::*;

const DIM: usize = 16;
const ROWS: usize = 4_000;

fn graph(metric: Metric, codec: GraphCodec) -> HnswIndex {
    let parameters = HnswParameters::for_size(ROWS, metric, codec);
    HnswIndex::new(IndexOptions::new(DIM, metric), parameters).expect("an index")
}

/// Of the ten nearest rows the part that is found with this beam.
fn recall_at(index: &dyn Index, queries: &[f32], ef: usize, selection: Option<&Selection>) -> Result<f64, Error> {
    let search = Search { selection, ..Search::top(10) };
    let truth = index.search(&rows(queries, DIM), &Search { exact: true, ..search }, &call())?;
    let found = index.search(&rows(queries, DIM), &Search { ef: Some(ef), ..search }, &call())?;
    Ok(recall(&found, &truth))
}

/// How many rows do not find themselves.
fn misses(index: &dyn Index, ids: &[i64]) -> Result<usize, Error> {
    let values = index.get(ids)?;
    let found = index.search(&rows(&values, DIM), &Search { ef: Some(200), ..Search::top(1) }, &call())?;
    Ok(found.ids.iter().zip(ids).filter(|(found, id)| found != id).count())
}

/// Deletes a fifth of the rows and adds others under their ids, as often as it is told.
fn churn(index: &dyn Index, rounds: usize, numbers: &mut Numbers, call: &Call<'_>) -> Outcome {
    for round in 0..rounds {
        let ids: Vec<i64> = (0..ROWS as i64).filter(|id| (id + round as i64) % 5 == 0).collect();
        let values = numbers.rows(ids.len(), DIM);
        assert_eq!(index.delete(&ids, call)?, ids.len());
        index.upsert(&ids, &rows(&values, DIM), call)?;
    }
    Ok(())
}

#[test]
fn slots_of_deleted_rows_are_used_again_and_recall_stays() -> Outcome {
    for (metric, codec) in [
        (Metric::L2, GraphCodec::Auto),
        (Metric::Cosine, GraphCodec::Auto),
        (Metric::Dot, GraphCodec::F32),
        (Metric::L1, GraphCodec::Auto),
    ] {
        let mut numbers = Numbers(7);
        let index = graph(metric, codec);
        index.add(&rows(&numbers.rows(ROWS, DIM), DIM), None, &call())?;
        churn(&index, 12, &mut numbers, &call())?;
        let queries = numbers.rows(100, DIM);
        let dead = index.stats().dead;
        assert!(dead < ROWS / 2, "{metric:?}: {dead} slots of {} deleted rows were never used again", 12 * ROWS / 5);
        let churned = recall_at(&index, &queries, 32, None)?;
        // By inner product, the nearest row of a row is seldom the row itself.
        let missed = if metric == Metric::Dot { 0 } else { misses(&index, &index.ids())? };
        assert!(missed <= ROWS / 1000, "{metric:?}: {missed} rows cannot be found");
        index.optimize(&call())?;
        assert_eq!(index.stats().dead, 0);
        let fresh = recall_at(&index, &queries, 32, None)?;
        assert!(churned > fresh - 0.02, "{metric:?}: {churned} after changes, {fresh} built anew");
    }
    Ok(())
}

#[test]
fn the_same_changes_make_the_same_graph_whatever_the_threads() -> Outcome {
    let mut files = Vec::new();
    for threads in [1, 4] {
        let mut numbers = Numbers(11);
        let index = graph(Metric::L2, GraphCodec::Auto);
        index.add(&rows(&numbers.rows(ROWS, DIM), DIM), None, &on_threads(threads))?;
        churn(&index, 4, &mut numbers, &on_threads(threads))?;
        files.push(index.to_bytes()?);
    }
    assert!(files[0] == files[1]);
    Ok(())
}

#[test]
fn a_graph_that_was_saved_goes_on_like_the_one_that_was_not() -> Outcome {
    let mut numbers = Numbers(23);
    let index = graph(Metric::Cosine, GraphCodec::Auto);
    index.add(&rows(&numbers.rows(ROWS, DIM), DIM), None, &call())?;
    // So few at a time that not all rows are looked for, but those whose turn it is.
    let (before, after) = (numbers.rows(60, DIM), numbers.rows(60, DIM));
    for some in before.chunks(20 * DIM) {
        index.add(&rows(some, DIM), None, &call())?;
    }
    let saved = IndexFile::from_bytes(index.to_bytes()?)?.index();
    for some in after.chunks(20 * DIM) {
        index.add(&rows(some, DIM), None, &call())?;
        saved.add(&rows(some, DIM), None, &call())?;
    }
    assert!(index.to_bytes()? == saved.to_bytes()?);
    Ok(())
}

#[test]
fn rows_replaced_by_themselves_do_not_pile_up() -> Outcome {
    let mut numbers = Numbers(13);
    let (index, values) = (graph(Metric::Cosine, GraphCodec::Auto), numbers.rows(ROWS, DIM));
    let ids: Vec<i64> = (0..ROWS as i64).collect();
    for _ in 0..8 {
        index.upsert(&ids, &rows(&values, DIM), &call())?;
        // The rows, their first copies, which keep the links, and a few that are in layers above.
        assert!(index.stats().dead <= 2 * ROWS + ROWS / 8, "{:?}", index.stats());
    }
    assert_eq!(misses(&index, &ids)?, 0);
    Ok(())
}

#[test]
fn copies_that_come_and_go_are_found_while_they_are_there() -> Outcome {
    let mut numbers = Numbers(17);
    let index = graph(Metric::L2, GraphCodec::Auto);
    let values = numbers.rows(ROWS / 4, DIM);
    let four: Vec<f32> = values.iter().copied().cycle().take(values.len() * 4).collect();
    index.add(&rows(&four, DIM), None, &call())?;
    for round in 0..6 {
        // Of every four copies one or two go, the first ones among them, and come back.
        let gone: Vec<i64> = (0..ROWS as i64).filter(|id| (id / (ROWS as i64 / 4) + round) % 3 == 0).collect();
        index.delete(&gone, &call())?;
        let found = index.search(&rows(&values[..20 * DIM], DIM), &Search::top(4), &call())?;
        for (i, ids) in found.ids.chunks(4).enumerate() {
            let there: Vec<i64> =
                (0..4).map(|copy| (copy * ROWS / 4 + i) as i64).filter(|id| !gone.contains(id)).collect();
            assert_eq!(ids[..there.len()], there, "round {round}, row {i}");
        }
        let back: Vec<f32> = gone.iter().flat_map(|&id| four[id as usize * DIM..][..DIM].to_vec()).collect();
        index.upsert(&gone, &rows(&back, DIM), &call())?;
        assert!(index.stats().dead <= 2 * ROWS);
    }
    Ok(())
}

#[test]
fn after_all_rows_are_gone_others_are_as_in_a_new_index() -> Outcome {
    let mut numbers = Numbers(19);
    let (used, fresh) = (graph(Metric::L2, GraphCodec::Auto), graph(Metric::L2, GraphCodec::Auto));
    let ids: Vec<i64> = (0..ROWS as i64).collect();
    used.add(&rows(&numbers.rows(ROWS, DIM), DIM), None, &call())?;
    used.delete(&ids, &call())?;
    // Far from the first ones: what these were centred on would not do.
    let values: Vec<f32> = numbers.rows(ROWS, DIM).iter().map(|value| 1e3 * value + 5e4).collect();
    for index in [&used, &fresh] {
        index.upsert(&ids, &rows(&values, DIM), &call())?;
        assert_eq!((index.stats().rows, index.stats().dead), (ROWS, 0));
    }
    let queries = &values[..50 * DIM];
    assert_eq!(
        used.search(&rows(queries, DIM), &Search::top(10), &call())?,
        fresh.search(&rows(queries, DIM), &Search::top(10), &call())?
    );
    Ok(())
}

#[test]
fn rows_that_are_linked_later_are_found_at_once() -> Outcome {
    for metric in [Metric::Cosine, Metric::L1] {
        let mut numbers = Numbers(23);
        let index = graph(metric, GraphCodec::Auto);
        index.add(&rows(&numbers.rows(ROWS / 2, DIM), DIM), None, &call())?;
        index.link_later(true);
        index.add(&rows(&numbers.rows(ROWS / 2, DIM), DIM), None, &call())?;
        assert_eq!(index.stats().pending, ROWS / 2);
        index.delete(&[0, 1, ROWS as i64 - 1], &call())?;
        let newest: Vec<i64> = (ROWS as i64 / 2..ROWS as i64 - 1).collect();
        assert_eq!(misses(&index, &newest)?, 0, "{metric:?}: rows that wait for links must be found for certain");
        let selected = index.select_ids(&newest);
        assert_eq!(recall_at(&index, &numbers.rows(20, DIM), 32, Some(&selected))?, 1.0);
        // A file may be written meanwhile.
        let file = IndexFile::from_bytes(index.to_bytes()?)?;
        assert_eq!(file.index().stats().pending, ROWS / 2);
        assert_eq!(index.catch_up(992, &call())?, ROWS / 2 - 992);
        assert_eq!(index.catch_up(usize::MAX, &call())?, 0);
        assert!(misses(&index, &index.ids())? <= ROWS / 1000);
        index.add(&rows(&numbers.rows(100, DIM), DIM), None, &call())?;
        assert_eq!(index.stats().pending, 100);
        index.optimize(&call())?;
        assert_eq!(index.stats().pending, 0);
    }
    Ok(())
}

#[test]
fn a_beam_that_was_measured_goes_for_the_same_rows_in_order_too() -> Outcome {
    let mut numbers = Numbers(31);
    let index = graph(Metric::L2, GraphCodec::Auto);
    index.add(&rows(&numbers.rows(ROWS, DIM), DIM), None, &call())?;
    let beam = index.beam_for(0.9, &call())?;
    index.delete(&(0..ROWS as i64 / 10).collect::<Vec<_>>(), &call())?;
    assert_eq!(index.beam_for(0.9, &call())?, beam);
    index.optimize(&call())?;
    assert_eq!(index.beam_for(0.9, &call())?, beam);
    Ok(())
}

#[test]
fn few_or_many_rows_may_be_returned_near_the_query_or_far_from_it() -> Outcome {
    for (metric, codec) in
        [(Metric::L2, GraphCodec::Auto), (Metric::Cosine, GraphCodec::Auto), (Metric::Dot, GraphCodec::F32)]
    {
        let mut numbers = Numbers(29);
        let index = graph(metric, codec);
        index.add(&rows(&numbers.rows(3 * ROWS, DIM), DIM), None, &call())?;
        let queries = numbers.rows(12, DIM);
        for query in queries.chunks(DIM) {
            let all = Search { exact: true, ..Search::top(3 * ROWS) };
            let order = index.search(&rows(query, DIM), &all, &call())?.ids;
            for part in [2, 20, 300] {
                let near = index.select_ids(&order[..order.len() / part]);
                let far = index.select_ids(&order[order.len() - order.len() / part..]);
                let anywhere = index.select_ids(&(0..order.len() as i64).step_by(part).collect::<Vec<_>>());
                for (selection, what) in [(&near, "near"), (&far, "far"), (&anywhere, "anywhere")] {
                    let recall = recall_at(&index, query, 48, Some(selection))?;
                    assert!(recall >= 0.7, "{metric:?}, one in {part}, {what}: {recall}");
                    let k = Search { selection: Some(selection), ..Search::top(selection.count() + 5) };
                    let found = index.search(&rows(query, DIM), &k, &call())?;
                    assert_eq!(found.counts, [selection.count() as i64], "{what}");
                }
            }
        }
    }
    Ok(())
}

#[test]
fn a_selection_answers_the_same_however_often_it_is_asked() -> Outcome {
    for metric in [Metric::L2, Metric::Cosine, Metric::Dot] {
        let mut numbers = Numbers(31);
        let index = graph(metric, GraphCodec::Auto);
        index.add(&rows(&numbers.rows(2 * ROWS, DIM), DIM), None, &call())?;
        let queries = numbers.rows(9, DIM);
        // As many as make fours, and as leave some over.
        for count in [1, 4, 403] {
            let selection = index.select_ids(&(0..count).map(|i| i * 7).collect::<Vec<_>>());
            let search = Search { selection: Some(&selection), ..Search::top(6) };
            let exact = index.search(&rows(&queries, DIM), &Search { exact: true, ..search }, &call())?;
            for query in 0..9 {
                let found = index.search(&rows(&queries[query * DIM..][..DIM], DIM), &search, &call())?;
                assert_eq!(found.ids, exact.ids[query * 6..][..6], "{metric:?}, {count}, query {query}");
            }
        }
    }
    Ok(())
}
