//! Rows, wherever they lie.

use super::*;

#[test]
fn rows_come_back_as_they_were_pushed_across_blocks() {
    for width in [1usize, 3, 16, 1000] {
        let rows = (9usize << 20) >> width.ilog2();
        let mut matrix = Matrix::<u32>::new(width);
        for i in 0..rows {
            matrix.try_reserve(1).expect("memory");
            matrix.push(&[i as u32]);
        }
        assert_eq!(matrix.len(), rows);
        for i in (0..rows).step_by(97).chain([rows - 1]) {
            assert_eq!(matrix.row(i)[0], i as u32);
            assert!(matrix.row(i)[1..].iter().all(|&rest| rest == 0));
        }
    }
}

#[test]
fn written_and_read_again_owned_or_borrowed() {
    let mut matrix = Matrix::<i64>::new(3);
    matrix.try_reserve(200_000).expect("memory");
    for i in 0..200_000 {
        matrix.push(&[i, -i, 7]);
    }
    let mut bytes = Vec::new();
    matrix.write_to(&mut bytes).expect("writing to memory");
    let mut read = Matrix::<i64>::zeros(3, 200_000).expect("memory");
    read.fill_from(&mut bytes.as_slice()).expect("enough bytes");
    let mut aligned = vec![Line::ZERO; bytes.len() / 64];
    bytemuck::cast_slice_mut::<Line, u8>(&mut aligned).copy_from_slice(&bytes);
    struct Lines(Vec<Line>);
    impl AsRef<[u8]> for Lines {
        fn as_ref(&self) -> &[u8] {
            bytemuck::cast_slice(&self.0)
        }
    }
    let borrowed = Matrix::<i64>::borrowed(3, Arc::new(Lines(aligned)));
    let copied = borrowed.try_clone().expect("memory");
    assert!(borrowed.is_borrowed() && !copied.is_borrowed());
    for other in [&read, &borrowed, &copied] {
        assert_eq!(other.len(), matrix.len());
        assert!((0..matrix.len()).all(|i| other.row(i) == matrix.row(i)));
    }
    let mut longer = Matrix::<i64>::zeros(3, 200_001).expect("memory");
    assert!(longer.fill_from(&mut bytes.as_slice()).is_err());
}

#[test]
fn adopted_rows_are_followed_by_others_and_the_file_stays_as_it_is() {
    // A matrix that ends within its first block, one that ends with its second, and one of none.
    for rows in [1000, 2 * (BLOCK_BYTES / 1024), 0] {
        let mut map = MmapMut::map_anon((rows * 1024).max(1)).expect("memory");
        for (i, row) in map.chunks_exact_mut(1024).enumerate() {
            row[..8].copy_from_slice(&(i as u64).to_le_bytes());
        }
        let mut matrix = Matrix::<u64>::adopted(128, Pages::new(map, rows * 1024));
        for i in rows..rows + 3 {
            matrix.try_reserve(1).expect("memory");
            matrix.push(&[i as u64]);
        }
        matrix.row_mut(0)[1] = 5;
        assert_eq!(matrix.len(), rows + 3);
        assert!((0..rows + 3).all(|i| matrix.row(i)[0] == i as u64));
        matrix.truncate(rows + 1);
        matrix.push(&[7]);
        assert_eq!((matrix.row(0)[1], matrix.row(rows + 1)[0]), (5, 7));
        assert_eq!(matrix.try_clone().expect("memory").row(rows), matrix.row(rows));
    }
}

#[test]
fn lent_rows_begin_at_round_numbers_and_are_followed_by_others() {
    // Of lenders whose rows fill their blocks, do not, or are none.
    let lengths = [LENT_ROWS, 2 * LENT_ROWS + 5, 0, 7];
    let lender = |(at, &length): (usize, &usize)| -> Lender {
        let words: Vec<u64> = (0..length * 8).map(|word| (at * 100_000 + word / 8) as u64).collect();
        Arc::new(bytemuck::cast_slice::<u64, u8>(&words).to_vec())
    };
    let mut matrix = Matrix::<u8>::lent(64, lengths.iter().enumerate().map(lender).collect()).expect("memory");
    let firsts = [0, LENT_ROWS, 4 * LENT_ROWS, 4 * LENT_ROWS];
    let expected = |row: usize| {
        let at = (0..4).rfind(|&at| firsts[at] <= row && row < firsts[at] + lengths[at]);
        at.map_or(0, |at| (at * 100_000 + row - firsts[at]) as u64)
    };
    let len = firsts[3] + lengths[3];
    assert_eq!(matrix.len(), len);
    for row in 0..3 * LENT_ROWS {
        matrix.try_reserve(1).expect("memory");
        matrix.push(&(row as u64).to_le_bytes());
    }
    let number = |matrix: &Matrix<u8>, row: usize| u64::from_le_bytes(*matrix.row(row).first_chunk().expect("8 bytes"));
    assert!((0..len).all(|row| number(&matrix, row) == expected(row)));
    assert!((0..3 * LENT_ROWS).all(|row| number(&matrix, len + row) == row as u64));
    // What was not lent can be written to, and only that.
    matrix.truncate(len + 1);
    matrix.row_mut(len)[0] = 9;
    assert_eq!(number(&matrix.try_clone().expect("memory"), len), 9);
    let lent = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| matrix.row_mut(5)[0] = 1));
    assert!(lent.is_err());
}

#[test]
fn truncated_rows_are_overwritten_by_the_next() {
    let mut matrix = Matrix::<u32>::new(2);
    matrix.try_reserve(3).expect("memory");
    matrix.push(&[1, 1]);
    matrix.push(&[2, 2]);
    matrix.truncate(1);
    matrix.push(&[3]);
    assert_eq!(matrix.row(1), [3, 0]);
}
