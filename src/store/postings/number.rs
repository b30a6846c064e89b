//! Numbers as terms: nine bytes that say exactly which number it is, one way for each number.

use super::super::filter::value::Exact;

/// Bytes of a number.
pub(super) const BYTES: usize = 9;

/// A number as it is written: what kind, and its eight bytes. Equal numbers are written alike: 1.0 as 1, -0.0 as 0.
pub(super) fn encode(number: Exact) -> [u8; BYTES] {
    let whole = match number {
        Exact::Whole(whole) => Some(whole),
        // Every float with 65 bits or fewer before the point and none behind it.
        Exact::Float(float) if float.trunc() == float && float.abs() < 18_446_744_073_709_551_616.0 => {
            Some(float as i128)
        }
        Exact::Float(_) => None,
    };
    let small = whole.and_then(|whole| i64::try_from(whole).ok());
    let large = whole.and_then(|whole| u64::try_from(whole).ok());
    let (kind, bytes) = match (small, large, number) {
        (Some(small), ..) => (0, small.to_le_bytes()),
        (None, Some(large), _) => (1, large.to_le_bytes()),
        (None, None, Exact::Float(float)) => (2, float.to_le_bytes()),
        // No number of JSON is one: whole numbers there have 64 bits.
        (None, None, Exact::Whole(whole)) => (2, (whole as f64).to_le_bytes()),
    };
    let mut out = [kind; BYTES];
    out[1..].copy_from_slice(&bytes);
    out
}

/// The number that these bytes are; `None` for bytes that no number is written as.
pub(super) fn decode(bytes: &[u8; BYTES]) -> Option<Exact> {
    let [kind, rest @ ..] = *bytes;
    match kind {
        0 => Some(Exact::Whole(i64::from_le_bytes(rest).into())),
        1 => Some(Exact::Whole(u64::from_le_bytes(rest).into())),
        2 => Some(f64::from_le_bytes(rest)).filter(|float| float.is_finite()).map(Exact::Float),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn equal_numbers_are_written_alike_and_come_back() {
        let numbers = json!([
            0,
            -0.0,
            1,
            1.0,
            0.5,
            -3,
            -3.0,
            u64::MAX,
            i64::MIN,
            -9_223_372_036_854_775_808.0,
            18_446_744_073_709_551_616.0,
            1e300,
            -1e300,
            5e-324,
            9_007_199_254_740_993_u64,
            9_007_199_254_740_992.0,
            -9_223_372_036_854_777_856.0
        ]);
        let numbers = numbers.as_array().expect("a list").iter().filter_map(|number| number.as_number());
        let numbers: Vec<Exact> = numbers.map(Exact::of).collect();
        for &a in &numbers {
            assert!(decode(&encode(a)).expect("a number").compare(a).is_eq(), "{a:?}");
            for &b in &numbers {
                assert_eq!(encode(a) == encode(b), a.compare(b).is_eq(), "{a:?} {b:?}");
            }
        }
        assert!(decode(&[3; BYTES]).is_none() && decode(&[2, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f]).is_none());
    }
}
