//! A log that was cut off while it was written, at every byte.

use super::*;
use crate::storage::log::log_name;
use crate::storage::vfs::PAGE;

/// A disk after each of three batches, and the name of its log.
fn three_batches() -> (Vec<(Vec<u8>, model::Content)>, SimDisk, String) {
    let (disk, mut model) = (SimDisk::default(), Model::new());
    let store = writer(&disk).expect("an empty disk");
    let name = log_name(1);
    model.apply(&store, &disk, &Change::Create("docs"));
    let mut steps = vec![(disk.read(&name), model.now().clone())];
    for seed in 0..3 {
        let keys = (0..2 + seed).map(|i| Key::Int(i as i64)).collect();
        model.apply(&store, &disk, &Change::Put("docs", keys, seed, OnConflict::Replace));
        steps.push((disk.read(&name), model.now().clone()));
    }
    drop(store);
    (steps, disk, name)
}

#[test]
fn a_batch_of_which_any_byte_is_missing_was_never_there() {
    let (steps, disk, name) = three_batches();
    let mut looked_at = 0;
    for pair in steps.windows(2) {
        let ((old, before), (new, after)) = (&pair[0], &pair[1]);
        let written = &new[old.len()..];
        assert_eq!(written.len() % PAGE, 0);
        for at in 0..=written.len() {
            let mut images = [old.clone(), new.clone(), new.clone(), new.clone()];
            // In order; in reverse order, behind what reads as zeros; that byte alone; all but that byte.
            images[0].extend_from_slice(&written[..at]);
            images[1][old.len()..old.len() + at].fill(0);
            images[2][old.len()..].fill(0);
            if at < written.len() {
                images[2][old.len() + at] = written[at];
                images[3][old.len() + at] ^= 0x55;
            }
            for image in images {
                let whole = image == *new;
                disk.overwrite(&name, image);
                let found = content(&reader(&disk).expect("a torn end is no damage"));
                assert_eq!(&found, if whole { after } else { before }, "byte {at}");
                looked_at += 1;
            }
        }
    }
    assert!(looked_at > 3 * 4 * PAGE);
}

#[test]
fn damage_before_the_last_batch_is_an_error_and_not_a_shorter_history() {
    let (steps, disk, name) = three_batches();
    let whole = &steps[3].0;
    for at in (PAGE..steps[2].0.len()).step_by(37) {
        let mut image = whole.clone();
        image[at] ^= 1;
        disk.overwrite(&name, image);
        for opened in [reader(&disk), writer(&disk)] {
            let error = opened.err().expect("acknowledged batches are damaged");
            assert!(matches!(error, Error::Corruption { .. }), "byte {at}: {error}");
        }
    }
    disk.overwrite(&name, whole.clone());
    assert_eq!(content(&writer(&disk).expect("nothing was changed")), steps[3].1);
}
