//! Rows that come at once and are many: the graph has them in an order of its own, and nobody can tell.

use super::*;

const DIM: usize = 8;
/// More than are left in the order in which they came.
const MANY: usize = 70_000;

fn graph(codec: GraphCodec, max_bytes: Option<u64>) -> HnswIndex {
    let parameters = HnswParameters { m: 6, ef_construction: 24, seed: 1, codec };
    let options = IndexOptions { max_bytes, ..IndexOptions::new(DIM, Metric::L2) };
    HnswIndex::new(options, parameters).expect("good options")
}

fn values() -> Vec<f32> {
    Numbers(71).rows(MANY, DIM)
}

/// Looks at a few rows, by their ids, by searches, and through filters.
fn check(index: &dyn Index, values: &[f32], ids: &[i64], what: &str) -> Outcome {
    let mut sorted = ids.to_vec();
    sorted.sort_unstable();
    assert!(index.ids() == sorted, "{what}");
    for (row, &id) in values.chunks_exact(DIM).zip(ids).step_by(997) {
        assert_eq!(index.get(&[id])?, row, "{what}: {id}");
        let found = index.search(&rows(row, DIM), &Search::top(1), &call())?;
        assert_eq!((found.ids[0], found.scores[0]), (id, 0.0), "{what}");
    }
    // The mask goes with the ascending ids.
    let third: Vec<i64> = sorted.iter().copied().step_by(3).collect();
    let mask: Vec<bool> = (0..sorted.len()).map(|at| at % 3 == 0).collect();
    for selection in [index.select_mask(&mask)?, index.select_ids(&third)] {
        assert_eq!(selection.count(), third.len(), "{what}");
        let search = Search { selection: Some(&selection), ..Search::top(5) };
        let found = index.search(&rows(&values[..20 * DIM], DIM), &search, &call())?;
        assert!(found.ids.iter().all(|id| third.binary_search(id).is_ok()), "{what}");
    }
    Ok(())
}

#[test]
fn rows_keep_their_ids_whatever_order_the_graph_has_them_in() -> Outcome {
    let values = values();
    let (index, given) = (graph(GraphCodec::Auto, None), (0..MANY as i64).map(|row| 3 * row % 100_003 + 7));
    let mut ids: Vec<i64> = given.collect();
    index.add(&rows(&values, DIM), Some(&ids), &call())?;
    check(&index, &values, &ids, "given ids")?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("index.nf");
    index.save(&path)?;
    for map in [false, true] {
        let file = IndexFile::load(&path, map)?;
        check(&*file.index(), &values, &ids, "from a file")?;
    }
    // One by one others come, under ids that are few among many numbers too, and go.
    let more = Numbers(73).rows(3, DIM);
    for (row, id) in more.chunks_exact(DIM).zip([1, 500_000, i64::MAX]) {
        index.add(&rows(row, DIM), Some(&[id]), &call())?;
        ids.push(id);
    }
    check(&index, &[&values[..], &more].concat(), &ids, "with others")?;
    index.delete(&ids[..10_000], &call())?;
    index.optimize(&call())?;
    assert_eq!(index.stats().dead, 0);
    check(&index, &[&values[10_000 * DIM..], &more].concat(), &ids[10_000..], "made anew")
}

#[test]
fn the_order_is_the_same_whatever_the_threads_and_fits_the_limit() -> Outcome {
    let values = values();
    let mut files = Vec::new();
    for threads in [1, 3] {
        let index = graph(GraphCodec::Auto, None);
        let ids = index.add(&rows(&values, DIM), None, &on_threads(threads))?;
        assert!(ids.iter().copied().eq(0..MANY as i64), "ids are told in the order of the rows");
        files.push(index.to_bytes()?);
        let needed = index.stats().bytes as u64;
        // What an index may need is known before it takes anything.
        let small = graph(GraphCodec::Auto, Some(needed - 1));
        assert!(matches!(small.add(&rows(&values, DIM), None, &call()), Err(Error::Capacity { .. })));
    }
    assert!(files[0] == files[1]);
    Ok(())
}

#[test]
fn rows_that_came_a_few_at_a_time_are_put_in_order_when_the_index_is_optimized() -> Outcome {
    let values = values();
    let (whole, parts) = (graph(GraphCodec::Auto, None), graph(GraphCodec::Auto, None));
    whole.add(&rows(&values, DIM), None, &call())?;
    for part in values.chunks(10_000 * DIM) {
        parts.add(&rows(part, DIM), None, &call())?;
    }
    let whole = whole.to_bytes()?;
    assert!(parts.to_bytes()? != whole);
    parts.optimize(&call())?;
    assert!(parts.to_bytes()? == whole);
    Ok(())
}

#[test]
fn codes_are_put_in_order_too_and_stay_in_it() -> Outcome {
    let values = values();
    let index = graph(GraphCodec::Lean, None);
    index.add(&rows(&values, DIM), None, &call())?;
    let near = |at: usize| -> Result<Vec<i64>, Error> {
        Ok(index.search(&rows(&values[at * DIM..][..DIM], DIM), &Search::top(1), &call())?.ids)
    };
    let hits = (0..MANY).step_by(997).filter(|&at| near(at).is_ok_and(|ids| ids == [at as i64])).count();
    assert!(hits > 60, "{hits} of 71");
    index.delete(&(0..1000).collect::<Vec<_>>(), &call())?;
    index.optimize(&call())?;
    let hits = (1000..MANY).step_by(997).filter(|&at| near(at).is_ok_and(|ids| ids == [at as i64])).count();
    assert!(hits > 60, "{hits} of 70 after some were deleted");
    Ok(())
}

#[test]
fn a_bad_row_is_named_by_its_place_and_nothing_is_left() -> Outcome {
    let mut values = values();
    values[66_000 * DIM + 3] = f32::NAN;
    let index = graph(GraphCodec::Auto, None);
    let refused = index.add(&rows(&values, DIM), None, &call());
    assert!(matches!(refused, Err(Error::NonFinite { row: 66_000, column: 3, .. })), "{refused:?}");
    assert_eq!((index.len(), index.ids().len()), (0, 0));
    Ok(())
}

/// Has enough when it is asked so many times.
struct Asked {
    left: Cell<usize>,
}

impl Caller for Asked {
    fn interrupted(&self) -> bool {
        self.left.set(self.left.get().saturating_sub(1));
        self.left.get() == 0
    }
}

#[test]
fn a_write_interrupted_at_any_time_leaves_nothing() -> Outcome {
    let values = values();
    let index = graph(GraphCodec::Auto, None);
    for asked in [1, 2, 3, 5, 9] {
        let caller = Asked { left: Cell::new(asked) };
        let stopped = index.add(&rows(&values, DIM), None, &Call::new(&caller, NonZeroUsize::new(2)));
        assert!(matches!(stopped, Err(Error::Interrupted)), "asked {asked} times");
        assert_eq!((index.len(), index.stats().pending), (0, 0), "asked {asked} times");
    }
    let ids = index.add(&rows(&values, DIM), None, &call())?;
    check(&index, &values, &ids, "after all")
}
