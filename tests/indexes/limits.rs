//! Writes that are cut short, and memory that is not there.

use super::*;

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
