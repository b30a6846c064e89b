//! What a power cut may leave.

use super::super::PAGE;
use super::{Dice, Inode, NameChange, SECTOR, State};
use std::sync::Arc;

/// Which of the things that were under way got done.
enum Choice {
    All,
    None,
    Prefix(usize),
    Suffix(usize),
    Only(usize),
    AllBut(usize),
    Some,
}

impl Choice {
    fn of(count: usize, dice: &mut Dice) -> Choice {
        let at = dice.below(count + 1);
        match dice.below(8) {
            0 => Choice::All,
            1 => Choice::None,
            2 => Choice::Prefix(at),
            3 => Choice::Suffix(at),
            4 => Choice::Only(at),
            5 => Choice::AllBut(at),
            _ => Choice::Some,
        }
    }

    fn takes(&self, i: usize, dice: &mut Dice) -> bool {
        match *self {
            Choice::All => true,
            Choice::None => false,
            Choice::Prefix(end) => i < end,
            Choice::Suffix(start) => i >= start,
            Choice::Only(one) => i == one,
            Choice::AllBut(one) => i != one,
            Choice::Some => dice.one_in(2),
        }
    }
}

/// One of the states in which the power may have left the disk.
pub(crate) fn crash(before: &State, dice: &mut Dice) -> State {
    let mut state = before.clone();
    for inode in state.inodes.values_mut() {
        if !inode.unsynced.is_empty() {
            inode.durable = Arc::new(torn(inode, dice));
            inode.unsynced.clear();
        }
        inode.current = Arc::clone(&inode.durable);
    }
    let mut changes: Vec<&NameChange> = before.unsynced.iter().collect();
    if dice.one_in(2) {
        for i in (1..changes.len()).rev() {
            changes.swap(i, dice.below(i + 1));
        }
    }
    let choice = Choice::of(changes.len(), dice);
    for (i, change) in changes.into_iter().enumerate() {
        if choice.takes(i, dice) {
            for (name, inode) in change {
                match inode {
                    Some(inode) => drop(state.durable.insert(name.clone(), *inode)),
                    None => drop(state.durable.remove(name)),
                }
            }
        }
    }
    state.unsynced.clear();
    state.current = state.durable.clone();
    state
}

/// The bytes of a file of which some writes had not been synced.
fn torn(inode: &Inode, dice: &mut Dice) -> Vec<u8> {
    let old = &inode.durable;
    let ends: Vec<usize> = inode.unsynced.iter().map(|(offset, bytes)| offset + bytes.len()).collect();
    let longest = ends.iter().copied().max().unwrap_or(0).max(old.len());
    // What was never written reads as zeros or as rubbish.
    let rubbish = if dice.one_in(2) { 0 } else { dice.roll() as u8 };
    let mut bytes = old.to_vec();
    bytes.resize(longest, rubbish);
    let sectors: Vec<(usize, usize)> = (0..inode.unsynced.len())
        .flat_map(|write| {
            let (offset, bytes) = &inode.unsynced[write];
            (offset / SECTOR..(offset + bytes.len()).div_ceil(SECTOR)).map(move |sector| (write, sector))
        })
        .collect();
    let choice = Choice::of(sectors.len(), dice);
    for (i, &(write, sector)) in sectors.iter().enumerate() {
        if choice.takes(i, dice) {
            let (offset, written) = &inode.unsynced[write];
            let from = (sector * SECTOR).max(*offset);
            let to = ((sector + 1) * SECTOR).min(offset + written.len());
            bytes[from..to].copy_from_slice(&written[from - offset..to - offset]);
        }
    }
    if dice.one_in(6) && !sectors.is_empty() {
        destroy_page(&mut bytes, sectors[dice.below(sectors.len())].1, dice);
    }
    // How long the file is may be known before its bytes are, or not.
    let length = match dice.below(3) {
        0 => old.len(),
        1 => ends[dice.below(ends.len())].max(old.len()),
        _ => longest,
    };
    bytes.truncate(length);
    bytes
}

/// A write that was cut off takes the page with it that it was in.
fn destroy_page(bytes: &mut [u8], sector: usize, dice: &mut Dice) {
    let page = sector * SECTOR / PAGE * PAGE;
    let end = (page + PAGE).min(bytes.len());
    for byte in bytes.get_mut(page..end).unwrap_or_default() {
        *byte = dice.roll() as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{Vfs, write_all_at};
    use super::super::{Fault, Plan, SimDisk};
    use super::*;

    /// A disk with a synced file, `old`, and a new one that is not.
    fn disk() -> SimDisk {
        let disk = SimDisk::default();
        let old = disk.create("old").expect("a disk");
        write_all_at(&*old, &[1; 8192], 0).expect("a disk");
        old.sync().expect("a disk");
        disk.sync_directory().expect("a disk");
        write_all_at(&*old, &[2; 8192], 4096).expect("a disk");
        let new = disk.create("new").expect("a disk");
        write_all_at(&*new, &[3; 2048], 0).expect("a disk");
        disk
    }

    fn after(disk: &SimDisk, seed: u64) -> SimDisk {
        SimDisk::of(crash(&disk.state(), &mut Dice(seed)))
    }

    #[test]
    fn what_was_synced_survives_and_all_else_may_not() {
        let disk = disk();
        let (mut lengths, mut names, mut mixtures) = (Vec::new(), Vec::new(), 0);
        for seed in 0..400 {
            let after = after(&disk, seed);
            let bytes = after.read("old");
            assert!(bytes.len() >= 8192 && bytes[..4096].iter().all(|&byte| byte == 1), "seed {seed}");
            mixtures += usize::from(bytes[4096..].contains(&1) && bytes[4096..].contains(&2));
            lengths.push(bytes.len());
            names.push(after.list().expect("a disk"));
        }
        for seen in [&mut lengths, &mut names.iter().map(Vec::len).collect()] {
            seen.sort_unstable();
            seen.dedup();
        }
        assert_eq!(lengths, [8192, 12288]);
        assert!(mixtures > 50, "{mixtures}");
        assert!(names.contains(&vec!["old".to_owned()]) && names.iter().any(|names| names.len() == 2));
    }

    #[test]
    fn after_a_failed_sync_a_second_one_lies() {
        let disk = disk();
        let file = disk.open("old").expect("it is there");
        disk.fail(Some(Plan { call: 0, fault: Fault::Io, sticky: false }));
        assert!(file.sync().is_err() && file.sync().is_ok());
        assert_eq!(disk.read("old")[5000], 2);
        assert!((0..50).all(|seed| after(&disk, seed).read("old") == [1; 8192]));
    }

    #[test]
    fn a_full_disk_takes_the_half_and_a_short_write_says_so() {
        for fault in [Fault::Full, Fault::Short] {
            let disk = SimDisk::default();
            let file = disk.create("file").expect("a disk");
            disk.fail(Some(Plan { call: 0, fault, sticky: false }));
            let written = file.write_at(&[7; 100], 0);
            assert_eq!(written.ok(), (fault == Fault::Short).then_some(50));
            assert_eq!(file.len().expect("a disk"), 50);
        }
    }
}
