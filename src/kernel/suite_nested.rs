//! The kernels on bytes in two halves, at every level that this machine has: integers, so that every answer must be exact.

use super::suite::Numbers;
use super::{NESTED_LINE, Nested, Whole, high_dot, pack_nested, side_dot, unpack_nested};
use crate::simd::{Level, Operation, Simd, dispatch_at};

/// One line, two, and so many that sums of pairs are emptied on the way; and the longest row.
const LINES: [usize; 6] = [1, 2, 3, 8, 31, 512];

type Case = fn(&mut Numbers, usize) -> i8;

/// What rows look like: drawn, nothing, and as large as they can be, of one sign or of both.
const CASES: [Case; 5] = [
    |numbers, _| ((numbers.bits() % 255) as i16 - 127) as i8,
    |_, _| 0,
    |_, _| 127,
    |_, _| -127,
    |_, i| if i % 2 == 0 { 127 } else { -127 },
];

struct Products<'a> {
    query: &'a [i8],
    high: &'a [u8],
    low: &'a [u8],
}

impl Operation for Products<'_> {
    /// With the row as it is, the row with itself, and with its high digits.
    type Output = [i64; 3];

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> [i64; 3] {
        let Products { query, high, low } = self;
        let (lines, row) = (query.len() / NESTED_LINE, Nested { high: high.as_ptr(), low: low.as_ptr() });
        // SAFETY: all are as long as the query.
        unsafe {
            [
                side_dot(simd, Whole(query.as_ptr()), row, lines),
                side_dot(simd, row, row, lines),
                high_dot(simd, query.as_ptr(), high.as_ptr(), lines).into(),
            ]
        }
    }
}

#[test]
fn products_of_nested_bytes_are_exact_and_halves_make_the_whole() {
    let mut numbers = Numbers(31);
    for lines in LINES {
        for (of_query, of_row) in CASES.into_iter().flat_map(|query| CASES.map(|row| (query, row))) {
            let dims = lines * NESTED_LINE;
            let query: Vec<i8> = (0..dims).map(|i| of_query(&mut numbers, i)).collect();
            let row: Vec<i8> = (0..dims).map(|i| of_row(&mut numbers, i)).collect();
            let (mut high, mut low, mut back) = (vec![0; dims / 2], vec![0; dims / 2], vec![0; dims]);
            pack_nested(&row, &mut high, &mut low);
            unpack_nested(&high, &low, &mut back);
            assert_eq!(back, row);
            let sum = |digit: &dyn Fn(i8) -> i64| -> i64 {
                query.iter().zip(&row).map(|(&q, &x)| i64::from(q) * digit(x)).sum()
            };
            let expected = [
                sum(&|x| x.into()),
                row.iter().map(|&x| i64::from(x).pow(2)).sum(),
                sum(&|x| (i64::from(x) + 128) / 16),
            ];
            for level in Level::available() {
                let found = dispatch_at(level, Products { query: &query, high: &high, low: &low });
                assert_eq!(found, expected, "{lines} lines, {}", level.name());
            }
        }
    }
}
