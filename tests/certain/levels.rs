//! Whatever the instruction set, answers and files are the same.

use crate::data::{KINDS, Numbers, queries_for, rows_of};
use crate::quantized::quantized;
use crate::{METRICS, Outcome, on_threads};
use nearfield::{FlatIndex, Hits, Index, IndexOptions, Rows, Search};
use std::io::Write;
use std::process::Command;

/// FNV-1a (Fowler, Noll and Vo).
struct Digest(u64);

impl Digest {
    fn take(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn take_hits(&mut self, hits: &Hits) {
        hits.ids.iter().for_each(|id| self.take(&id.to_le_bytes()));
        hits.scores.iter().for_each(|score| self.take(&score.to_bits().to_le_bytes()));
    }

    /// Takes the file of an index, and what it answers.
    fn take_index(&mut self, index: &dyn Index, queries: &[f32]) -> Outcome {
        let queries = Rows::new(queries, index.dim())?;
        for (k, threads) in [(1, 1), (10, 2), (150, 1)] {
            self.take_hits(&index.search(&queries, &Search::top(k), &on_threads(threads))?);
        }
        self.take(&index.to_bytes()?);
        Ok(())
    }
}

/// Of many indexes with all kinds of rows.
fn digest() -> Result<u64, Box<dyn std::error::Error>> {
    let mut digest = Digest(0xcbf2_9ce4_8422_2325);
    for (turn, kind) in KINDS.into_iter().enumerate() {
        let (dim, mut numbers) = ([5, 32, 70][turn % 3], Numbers(turn as u64 + 70));
        let values = rows_of(kind, &mut numbers, 1_300, dim);
        let queries = queries_for(&mut numbers, &values, dim);
        for (metric, bits) in METRICS.into_iter().zip([1 + turn as u32 % 8, 8 - turn as u32 % 8, 2 + turn as u32 % 5]) {
            let flat = FlatIndex::new(IndexOptions::new(dim, metric))?;
            for index in
                [&flat as &dyn Index, &quantized(metric, dim, bits, false), &quantized(metric, dim, bits, true)]
            {
                index.add(&Rows::new(&values, dim)?, None, &on_threads(2))?;
                digest.take_index(index, &queries)?;
            }
        }
    }
    Ok(digest.0)
}

/// Set for the processes that this test starts: they say what their answers come to, and at which level.
const ASKED: &str = "NEARFIELD_TEST_DIGEST";

#[test]
fn every_instruction_set_gives_the_same_answers_and_files() -> Outcome {
    let here = digest()?;
    if std::env::var_os(ASKED).is_some() {
        // Not captured, unlike what is printed.
        writeln!(std::io::stdout(), "\ndigest {} {here:016x}", nearfield::simd_level())?;
        return Ok(());
    }
    let mut levels = Vec::new();
    for level in ["portable", "avx2", "avx512", "neon"] {
        let mut again = Command::new(std::env::current_exe()?);
        again.args(["--exact", "levels::every_instruction_set_gives_the_same_answers_and_files", "--nocapture"]);
        let output = again.env(ASKED, "1").env("NEARFIELD_SIMD", level).output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let line = said.lines().find_map(|line| line.strip_prefix("digest ")).ok_or("it said nothing")?;
        let (found, there) = line.split_once(' ').ok_or("half a line")?;
        assert_eq!(there, format!("{here:016x}"), "{found} and {}", nearfield::simd_level());
        levels.push(found.to_owned());
    }
    // A level that this processor lacks is answered by its best.
    assert!(levels.contains(&"portable".to_owned()), "{levels:?}");
    Ok(())
}
