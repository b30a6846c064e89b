//! Several processes: one writes until it is killed, others read.
//!
//! `NEARFIELD_ROUNDS=1000 cargo test --release --test store killed` is the long run.

use super::*;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATH: &str = "NEARFIELD_TEST_STORE";
const ROWS: i64 = 7;

/// This program again, as somebody else: a test of its own, which is left out otherwise.
fn start(role: &str, path: &Path) -> std::io::Result<Child> {
    let role = format!("processes::{role}");
    let mut command = Command::new(std::env::current_exe()?);
    command.args([&role, "--exact", "--ignored", "--nocapture", "--test-threads=1"]).env(PATH, path);
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()
}

/// The lines that begin with `word`, as numbers.
fn numbers(child: &mut Child, word: &'static str) -> impl Iterator<Item = i64> + use<> {
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    lines.filter_map(move |line| line.strip_prefix(word)?.trim().parse().ok())
}

fn say(word: &str, number: i64) -> Outcome {
    let mut out = std::io::stdout().lock();
    // On a line of its own: the harness has begun one.
    writeln!(out, "\n{word} {number}")?;
    Ok(out.flush()?)
}

/// Batch `n`: the same rows each time, all with the number n; and a row of its own.
fn write_batch(docs: &Collection, n: i64) -> Result<(), Error> {
    let mut these = keys(0..ROWS);
    these.push(Key::Int(1_000 + n));
    let metadata = vec![object(json!({ "batch": n })); these.len()];
    put(docs, &these, n as usize, Some(&metadata)).map(drop)
}

/// The last batch that is there in whole; fails if any is there in part.
fn last_batch(store: &Store) -> i64 {
    let Ok(docs) = store.collection("docs") else { return -1 };
    let rows = docs.scan(None, None, usize::MAX).expect("rows");
    let n = rows.len() as i64 - ROWS - 1;
    for row in rows {
        let Key::Int(key) = row.key else { panic!("{:?}", row.key) };
        let expected = if key < ROWS { n } else { key - 1_000 };
        assert_eq!(row.metadata["batch"], json!(expected), "key {key} of {n} batches");
        let all = values(ROWS as usize + 1, 8, expected as usize);
        assert_eq!(row.vector, all[key.min(ROWS) as usize * 8..][..8]);
    }
    n.max(-1)
}

#[test]
#[ignore = "a process of its own: writes until it is killed"]
fn writes() -> Outcome {
    let Some(path) = std::env::var_os(PATH) else { return Ok(()) };
    let store = writer(Path::new(&path))?;
    let docs = store.create_collection("docs", Schema::new(8, Metric::L2), true, &call())?;
    let mut n = last_batch(&store) + 1;
    loop {
        write_batch(&docs, n)?;
        say("acknowledged", n)?;
        n += 1;
        if n % 40 == 0 {
            store.checkpoint(&call())?;
        }
        if n % 170 == 0 {
            store.compact(&call())?;
        }
    }
}

#[test]
#[ignore = "a process of its own: reads until it is killed"]
fn reads() -> Outcome {
    let Some(path) = std::env::var_os(PATH) else { return Ok(()) };
    let store = loop {
        match reader(Path::new(&path)) {
            Ok(store) => break store,
            Err(Error::NotAStore { .. }) => std::thread::sleep(Duration::from_millis(1)),
            Err(error) => return Err(error.into()),
        }
    };
    let mut last = -1;
    loop {
        store.refresh(&call())?;
        let now = last_batch(&store);
        assert!(now >= last, "it went back from {last} to {now}");
        if now > last {
            say("saw", now)?;
        }
        last = now;
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
#[ignore = "a process of its own: holds the lock until it is killed"]
fn holds() -> Outcome {
    let Some(path) = std::env::var_os(PATH) else { return Ok(()) };
    let _store = writer(Path::new(&path))?;
    say("locked", i64::from(std::process::id()))?;
    std::thread::sleep(Duration::from_secs(60));
    Ok(())
}

#[test]
fn killed_at_any_time_a_writer_loses_nothing_and_readers_see_whole_batches() -> Outcome {
    let rounds: u64 = std::env::var("NEARFIELD_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(8);
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("store");
    let mut acknowledged = -1;
    drop(writer(&path)?);
    for round in 0..rounds {
        let mut readers: Vec<Child> =
            (0..if rounds > 100 { 4 } else { 2 }).map(|_| start("reads", &path)).collect::<Result<_, _>>()?;
        let mut child = start("writes", &path)?;
        let lines = numbers(&mut child, "acknowledged");
        let reading = std::thread::spawn(move || lines.last());
        std::thread::sleep(Duration::from_millis(60 + round * 37 % 240));
        child.kill()?;
        child.wait()?;
        acknowledged = reading.join().expect("no panic").unwrap_or(acknowledged).max(acknowledged);
        let store = writer(&path)?;
        let found = last_batch(&store);
        assert!((acknowledged..=acknowledged + 1).contains(&found), "{found}, but {acknowledged} was acknowledged");
        acknowledged = found;
        for reader in &mut readers {
            std::thread::sleep(Duration::from_millis(10));
            assert!(reader.try_wait()?.is_none(), "a reader has failed");
            reader.kill()?;
            let seen = numbers(reader, "saw").last().unwrap_or(-1);
            assert!(seen <= acknowledged, "a reader saw batch {seen} of {acknowledged}");
            reader.wait()?;
        }
        assert!(store.verify(&call())?.damaged.is_empty());
    }
    assert!(acknowledged > 0, "nothing was ever written");
    Ok(())
}

#[test]
fn a_second_writer_is_told_the_holder_and_a_killed_one_has_let_go() -> Outcome {
    let directory = tempfile::tempdir()?;
    let mut child = start("holds", directory.path())?;
    let pid = child.id();
    let locked = numbers(&mut child, "locked").next();
    assert_eq!(locked, Some(i64::from(pid)));
    let error = writer(directory.path()).err().expect("it is locked");
    assert!(matches!(error, Error::Locked { pid: Some(holder), .. } if holder == pid), "{error}");
    assert!(error.to_string().contains(&format!("process {pid}")), "{error}");
    assert!(reader(directory.path())?.collections()?.is_empty());
    child.kill()?;
    child.wait()?;
    let start = Instant::now();
    let store = writer(directory.path())?;
    assert!(start.elapsed() < Duration::from_secs(1));
    let error = writer(directory.path()).err().expect("we have it");
    assert!(matches!(error, Error::Locked { pid: Some(holder), .. } if holder == std::process::id()), "{error}");
    // The file that says who has the lock is for people only.
    store.close()?;
    std::fs::write(directory.path().join("LOCK"), "a long story that is no number")?;
    writer(directory.path())?;
    Ok(())
}

#[test]
fn readers_write_nothing_and_need_no_right_to() -> Outcome {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("store");
    let store = writer(&path)?;
    let docs = store.create_collection("docs", Schema::new(8, Metric::L2), false, &call())?;
    (0..3).try_for_each(|n| write_batch(&docs, n))?;
    store.checkpoint(&call())?;
    write_batch(&docs, 3)?;
    store.close()?;
    let files = || -> std::io::Result<BTreeMap<std::ffi::OsString, Vec<u8>>> {
        std::fs::read_dir(&path)?
            .map(|entry| entry.and_then(|e| Ok((e.file_name(), std::fs::read(e.path())?))))
            .collect()
    };
    let before = files()?;
    let follower = reader(&path)?;
    assert_eq!(last_batch(&follower), 3);
    assert!(!follower.refresh(&call())? && follower.verify(&call())?.damaged.is_empty());
    follower.close()?;
    assert_eq!(files()?, before);
    Ok(())
}

#[cfg(unix)]
#[test]
fn links_in_the_place_of_files_are_not_followed() -> Outcome {
    let directory = tempfile::tempdir()?;
    let (path, outside) = (directory.path().join("store"), directory.path().join("outside"));
    writer(&path)?.close()?;
    std::fs::rename(path.join("FORMAT"), &outside)?;
    std::os::unix::fs::symlink(&outside, path.join("FORMAT"))?;
    for opened in [reader(&path), writer(&path)] {
        assert!(matches!(opened.err().expect("a link"), Error::Io { .. }));
    }
    Ok(())
}
