//! What one thread of this machine gives at most: bytes read a second, and multiply-adds a second. Searches are held against it.
//!
//! ```text
//! cargo bench --bench limits        # one line of JSON, which benchmarks/run.py reads
//! ```
//!
//! Reading: 64-bit words are combined by exclusive or, which costs next to nothing, from one to eight places at once; over 1 GiB,
//! which no cache holds, and over 8 MiB, which a last cache often does. Multiply-adds: chains of them in registers, more than are
//! in flight at a time. Everything is tried with each width of vectors that the processor has, several times, and the best
//! counts: a limit is what could be reached.

use memmap2::MmapMut;
use std::hint::black_box;
use std::io::{Result, Write, stdout};
use std::time::Instant;

const MEMORY: usize = 1 << 30;
const CACHE: usize = 8 << 20;
const REPETITIONS: usize = 5;
/// Words that are combined side by side: four vectors of 512 bits.
const WORDS: usize = 32;
const CHAINS: usize = 12;
const STEPS: usize = 4_000_000;

/// The vectors that code is compiled for. On most processors the baseline is the only one.
#[derive(Clone, Copy)]
enum Width {
    Baseline,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

fn main() -> Result<()> {
    let mut memory = MmapMut::map_anon(MEMORY)?;
    #[cfg(target_os = "linux")]
    drop(memory.advise(memmap2::Advice::HugePage)); // a system that has none is measured as it is
    memory.fill(1);
    let words: &[u64] = bytemuck::cast_slice(&memory);
    let limits = [
        ("memory_gb_s", gigabytes_a_second(words)),
        ("cache_gb_s", gigabytes_a_second(&words[..CACHE / size_of::<u64>()])),
        ("gflop_s", gigaflops()),
    ];
    let fields = limits.map(|(name, figure)| format!("\"{name}\": {figure:.2}"));
    writeln!(stdout(), "{{{}}}", fields.join(", "))
}

/// As much is read whatever the size: a small buffer several times.
fn gigabytes_a_second(words: &[u64]) -> f64 {
    let passes = MEMORY / size_of_val(words);
    let read = |width, streams| {
        fastest(|| {
            for _ in 0..passes {
                black_box(read_with(width, black_box(words), streams));
            }
        })
    };
    let trials = widths().into_iter().flat_map(|width| [1, 2, 4, 8].map(|streams| read(width, streams)));
    MEMORY as f64 / trials.fold(f64::INFINITY, f64::min) / 1e9
}

/// Each multiply-add counts as two operations.
fn gigaflops() -> f64 {
    let trials = widths().into_iter().map(|width| {
        let mut operations = 0;
        let seconds = fastest(|| operations = 2 * multiply_add_with(width));
        operations as f64 / seconds / 1e9
    });
    trials.fold(0.0, f64::max)
}

fn fastest(mut run: impl FnMut()) -> f64 {
    let seconds = (0..REPETITIONS).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    });
    seconds.fold(f64::INFINITY, f64::min)
}

/// Those that this processor has.
fn widths() -> Vec<Width> {
    #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut, reason = "the baseline is all there is"))]
    let mut found = vec![Width::Baseline];
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            found.push(Width::Avx2);
        }
        if is_x86_feature_detected!("avx512f") {
            found.push(Width::Avx512);
        }
    }
    found
}

fn read_with(width: Width, words: &[u64], streams: usize) -> u64 {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn avx2(words: &[u64], streams: usize) -> u64 {
        combined(words, streams)
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    fn avx512(words: &[u64], streams: usize) -> u64 {
        combined(words, streams)
    }
    match width {
        Width::Baseline => combined(words, streams),
        // SAFETY: `widths` gives this one only where the processor has it.
        #[cfg(target_arch = "x86_64")]
        Width::Avx2 => unsafe { avx2(words, streams) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Width::Avx512 => unsafe { avx512(words, streams) },
    }
}

/// Inlined into each caller, so that it is compiled for the vectors of that one.
#[inline(always)]
fn combined(words: &[u64], streams: usize) -> u64 {
    let mut sums = [0; WORDS];
    let part = words.len() / streams;
    for at in (0..part).step_by(WORDS) {
        for stream in 0..streams {
            let from = stream * part + at;
            for (sum, word) in sums.iter_mut().zip(&words[from..from + WORDS]) {
                *sum ^= word;
            }
        }
    }
    sums.into_iter().fold(0, |all, sum| all ^ sum)
}

/// Returns how many multiply-adds it has done.
fn multiply_add_with(width: Width) -> usize {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn avx2() -> usize {
        multiplied::<8, true>()
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    fn avx512() -> usize {
        multiplied::<16, true>()
    }
    match width {
        // Not fused on x86-64, where that would be a call into the C library.
        Width::Baseline => multiplied::<4, { cfg!(target_arch = "aarch64") }>(),
        // SAFETY: `widths` gives this one only where the processor has it.
        #[cfg(target_arch = "x86_64")]
        Width::Avx2 => unsafe { avx2() },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Width::Avx512 => unsafe { avx512() },
    }
}

/// Inlined into each caller, as `combined` is.
#[inline(always)]
fn multiplied<const LANES: usize, const FUSED: bool>() -> usize {
    let (factor, summand) = (black_box(0.999_f32), black_box(0.001_f32));
    let mut chains = [[1.0_f32; LANES]; CHAINS];
    for _ in 0..STEPS {
        for lane in chains.as_flattened_mut() {
            *lane = if FUSED { lane.mul_add(factor, summand) } else { *lane * factor + summand };
        }
    }
    black_box(chains);
    STEPS * CHAINS * LANES
}
