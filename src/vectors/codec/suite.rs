//! One suite for every codec: what comes back is what the documentation says, at every level that this machine has.

use super::{Codec, CodecTask, RowCodec, Unfit};
use crate::simd::{Level, Operation, Portable, Simd, dispatch_at};

/// Encodes `values` and puts the values as kept, and the code, in their place.
struct Kept<'a> {
    codec: Codec,
    values: &'a mut [f32],
    code: &'a mut Vec<u8>,
}

impl Operation for Kept<'_> {
    type Output = Result<(), Unfit>;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Result<(), Unfit> {
        self.codec.run(simd, self)
    }
}

impl CodecTask for Kept<'_> {
    type Output = Result<(), Unfit>;

    #[inline(always)]
    fn run_as<S: Simd, C: RowCodec>(self, simd: S, codec: C) -> Result<(), Unfit> {
        // Bytes beyond the code are there when a row is padded, and no business of the codec.
        *self.code = vec![0xa5; codec.row_bytes(self.values.len()) + 7];
        codec.encode(self.values, self.code)?;
        codec.decode(simd, self.code, self.values);
        Ok(())
    }
}

/// The row as kept, and its code, the same at every level.
fn kept(codec: Codec, values: &[f32]) -> Result<(Vec<f32>, Vec<u8>), Unfit> {
    let at = |level| {
        let (mut values, mut code) = (values.to_vec(), Vec::new());
        let codes = dispatch_at(level, Kept { codec, values: &mut values, code: &mut code });
        codes.map(|()| (values, code))
    };
    let expected = at(Level::Portable);
    for level in Level::available() {
        let found = at(level);
        let bits = |kept: &Result<(Vec<f32>, Vec<u8>), Unfit>| {
            kept.clone().map(|(values, code)| (values.iter().map(|value| value.to_bits()).collect::<Vec<_>>(), code))
        };
        assert_eq!(bits(&found), bits(&expected), "{} {}: {values:?}", codec.name(), level.name());
    }
    if let Ok((_, code)) = &expected {
        let bytes = codec.row_bytes(values.len());
        assert!(code[bytes..].iter().all(|&byte| byte == 0xa5), "{} wrote beyond its code", codec.name());
    }
    expected
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Numbers(u64);

impl Numbers {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

type Case = (&'static str, fn(&mut Numbers, usize) -> f32);

/// Rows that hurt: of every magnitude, in the denormal range, zero, constant, with one value that dwarfs the others, and values
/// in the middle between two codes.
const CASES: [Case; 14] = [
    ("ordinary", |n, _| n.unit()),
    ("zero", |_, _| 0.0),
    ("minus zero", |_, _| -0.0),
    ("one", |_, _| 1.0),
    ("bits", |n, _| (n.bits() % 2) as f32),
    ("bytes", |n, _| (n.bits() % 256) as f32),
    ("large", |n, _| n.unit() * 1e18),
    ("largest half", |n, _| n.unit() * 65_504.0),
    ("tiny", |n, _| n.unit() * 1e-30),
    ("near the smallest scale", |n, _| n.unit() * 2e-36),
    ("denormal", |n, _| f32::from_bits(n.bits() as u32 & 0x807f_ffff)),
    ("mixed", |n, _| n.unit() * 10f32.powi((n.bits() % 60) as i32 - 42)),
    ("outlier", |n, i| if i % 31 == 2 { 6e4 } else { n.unit() }),
    ("middles", |n, i| if i == 0 { 127.0 } else { (n.bits() % 255) as f32 / 2.0 - 63.5 }),
];

fn for_every_row(mut check: impl FnMut(&str, &[f32])) {
    let mut numbers = Numbers(11);
    for dim in (1..=70).chain([127, 384, 1029, 1536]) {
        for (name, value) in CASES {
            let row: Vec<f32> = (0..dim).map(|i| value(&mut numbers, i)).collect();
            check(&format!("{name}, dim {dim}"), &row);
        }
    }
}

/// Holds what is kept of every row against `bound`, given the value and the largest magnitude of its row; of rows that `fits` says
/// no to, the first such value must be named.
fn check(codec: Codec, fits: fn(f32, f64) -> bool, bound: fn(f64, f64) -> f64) {
    let mut seen = (0, 0);
    for_every_row(|what, row| {
        let largest = row.iter().fold(0.0, |largest: f64, value| largest.max(f64::from(value.abs())));
        let what = format!("{}, {what}", codec.name());
        let misfit = row.iter().position(|&value| !fits(value, largest));
        match (kept(codec, row), misfit) {
            (Err(unfit), Some(column)) => {
                assert_eq!(unfit.column, column, "{what}");
                seen.0 += 1;
            }
            (Ok((values, _)), None) => {
                for (i, (&value, &given)) in values.iter().zip(row).enumerate() {
                    let (error, given) = ((f64::from(value) - f64::from(given)).abs(), f64::from(given));
                    assert!(error <= bound(given, largest), "{what}, column {i}: {given:e} became {value:e}");
                }
                seen.1 += 1;
            }
            (result, misfit) => panic!("{what}: {result:?}, but expected {misfit:?}"),
        }
    });
    assert!(seen.1 > 250, "{}: {seen:?}", codec.name());
}

#[test]
fn f32_keeps_every_bit() {
    check(Codec::F32, |_, _| true, |_, _| 0.0);
    for_every_row(|what, row| {
        let (values, code) = kept(Codec::F32, row).expect(what);
        assert!(values.iter().zip(row).all(|(a, b)| a.to_bits() == b.to_bits()), "{what}");
        assert_eq!(code[..4 * row.len()], *bytemuck::cast_slice::<f32, u8>(row), "{what}: as it lies in memory");
    });
}

#[test]
fn f16_is_within_its_bound() {
    let bound = |x: f64, _| (x.abs() / 2048.0).max(2f64.powi(-25));
    check(Codec::F16, |x, _| x.abs() <= 65_504.0, bound);
    assert_eq!(kept(Codec::F16, &[1.0, -65_504.0f32.next_up()]).expect_err("too large").column, 1);
}

#[test]
fn bf16_is_within_its_bound() {
    check(Codec::Bf16, |_, _| true, |x, _| (x.abs() / 256.0).max(2f64.powi(-134)));
    let middles = [1.0 + 2f32.powi(-8), 1.0 + 3.0 * 2f32.powi(-8), -1.0 - 2f32.powi(-8)];
    let (values, code) = kept(Codec::Bf16, &middles).expect("all fit");
    assert_eq!(values, [1.0, 1.0 + 2f32.powi(-6), -1.0], "the middle goes to the even side");
    assert_eq!(code[..6], [0x80, 0x3f, 0x82, 0x3f, 0x80, 0xbf]);
}

#[test]
fn u8_keeps_what_it_takes_and_takes_nothing_else() {
    check(Codec::U8, |x, _| x.fract() == 0.0 && (0.0..=255.0).contains(&x), |_, _| 0.0);
    for bad in [-1.0, 256.0, 0.5, 254.5, 255.5, -0.001, 1e9, -1e9, 8_388_608.0, 16_777_216.0, 1e30, 1e-45] {
        assert_eq!(kept(Codec::U8, &[0.0, 255.0, bad, bad]).expect_err("no byte").column, 2, "{bad}");
    }
    assert_eq!(kept(Codec::U8, &[-0.0, 7.0]).expect("bytes").1[..2], [0, 7]);
}

#[test]
fn b1_keeps_bits_and_takes_nothing_else() {
    check(Codec::B1, |x, _| x == 0.0 || x == 1.0, |_, _| 0.0);
    for bad in [-1.0, 2.0, 0.5, 1.0f32.next_up(), 1e-45, 1e30] {
        assert_eq!(kept(Codec::B1, &[0.0, 1.0, bad, bad]).expect_err("no bit").column, 2, "{bad}");
    }
    let row: Vec<f32> = (0..70).map(|i| f32::from(i == 1 || i == 8 || i == 65)).collect();
    assert_eq!(kept(Codec::B1, &row).expect("bits").1[..16], [2, 1, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(kept(Codec::B1, &[-0.0, 1.0]).expect("bits").1[0], 2);
}

#[test]
fn i8_is_within_its_bound() {
    let fits = |x: f32, largest: f64| {
        let scale = largest as f32 / 127.0;
        largest == 0.0 || scale >= f32::MIN_POSITIVE || f64::from(x.abs()) < largest
    };
    check(Codec::I8, fits, |_, largest| {
        let scale = f64::from(largest as f32 / 127.0);
        scale / 2.0 * (1.0 + 2f64.powi(-15))
    });
    let (values, code) = kept(Codec::I8, &[254.0, -254.0, 1.0, -1.0, 3.0, 0.0]).expect("all fit");
    assert_eq!(values, [254.0, -254.0, 0.0, 0.0, 4.0, 0.0], "the middle goes to the even side");
    assert_eq!(code[..10], [127, 129, 0, 0, 2, 0, 0, 0, 0, 64]);
}

#[test]
fn what_is_kept_is_kept_as_it_is() {
    for &codec in Codec::ALL {
        let mut kept_rows = 0;
        for_every_row(|what, row| {
            let Ok((values, code)) = kept(codec, row) else { return };
            let again = kept(codec, &values).expect(what);
            assert_eq!(again.1, code, "{}, {what}", codec.name());
            kept_rows += 1;
        });
        assert!(kept_rows > 250, "{}: {kept_rows}", codec.name());
    }
}

#[test]
fn the_scale_of_what_i8_keeps_is_what_it_was() {
    // Every fraction that a largest value can have; a power of two more or less changes no rounding, the smallest scale being a normal number.
    for fraction in 0..1 << 23 {
        let largest = f32::from_bits(0x3f80_0000 | fraction);
        let scale = largest / 127.0;
        assert_eq!(127.0 * scale / 127.0, scale, "{largest}");
        assert_eq!((largest / scale).round(), 127.0, "{largest}");
    }
}

#[test]
fn any_bytes_decode_to_something() {
    let mut numbers = Numbers(3);
    for &codec in Codec::ALL {
        for dim in [1, 2, 33] {
            let code: Vec<u8> = (0..codec.row_bytes(dim)).map(|_| numbers.bits() as u8).collect();
            struct Decoded<'a>(&'a [u8], usize);
            impl CodecTask for Decoded<'_> {
                type Output = Vec<f32>;
                fn run_as<S: Simd, C: RowCodec>(self, simd: S, codec: C) -> Vec<f32> {
                    let mut values = vec![0.0; self.1];
                    codec.decode(simd, self.0, &mut values);
                    values
                }
            }
            assert_eq!(codec.run(Portable, Decoded(&code, dim)).len(), dim);
        }
    }
}

#[test]
fn names_are_those_of_files_and_callers() {
    for &codec in Codec::ALL {
        assert_eq!(Codec::from_name(codec.name()), Some(codec));
        assert_eq!(serde_json::to_string(&codec).expect("a name"), format!("{:?}", codec.name()));
    }
    assert_eq!(Codec::from_name("f64"), None);
}
