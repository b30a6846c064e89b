//! Selections, readers and writers at the same time.

use super::*;

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
