//! A simulated disk, as unreliable as a disk may be.
//!
//! What is written can be read at once, and is durable only once it has been synced. The disk remembers its state after each call
//! that changes something ([`Moment`]); [`crash`] makes of such a state one of the many that a power cut could leave: any choice of
//! the sectors that were not synced, any of the names, zeros or old bytes or rubbish in between, and whole pages destroyed where a
//! write was cut off. Calls can be made to fail, once or from then on.

mod crash;

pub(crate) use crash::crash;

use super::{Bytes, Lock, Vfs, VfsFile};
use crate::error::{Error, Result};
use memmap2::MmapMut;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// What is torn, and what is not.
pub(crate) const SECTOR: usize = 512;

/// SplitMix64 (Steele, Lea and Flood, 2014).
#[derive(Clone)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.roll() % end.max(1) as u64) as usize
    }

    pub(crate) fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }
}

/// The bytes of one file: as they can be read, as they are on the medium, and the writes between the two.
#[derive(Clone, Default)]
struct Inode {
    current: Arc<Vec<u8>>,
    durable: Arc<Vec<u8>>,
    unsynced: Vec<(usize, Arc<Vec<u8>>)>,
}

/// A change to the names: for each what it stands for from now on.
type NameChange = Vec<(String, Option<usize>)>;

/// Everything that the medium and the system know.
#[derive(Clone, Default)]
pub(crate) struct State {
    inodes: BTreeMap<usize, Inode>,
    current: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    unsynced: Vec<NameChange>,
    next_inode: usize,
}

/// The disk after one of its calls, and what the test had noted by then.
#[derive(Clone)]
pub(crate) struct Moment {
    pub(crate) state: State,
    pub(crate) note: usize,
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The medium fails: a write is done in part; a sync is not done and never will be, but what was written can be read.
    Io,
    /// As [`Fault::Io`], but what could not be synced is gone from memory too.
    Forgetful,
    /// The disk is full: a write is done in part.
    Full,
    /// A write does less than it was asked for, and says so.
    Short,
}

impl Fault {
    pub(crate) const ALL: [Fault; 4] = [Fault::Io, Fault::Forgetful, Fault::Full, Fault::Short];

    fn error(self) -> io::Error {
        match self {
            Fault::Full => io::ErrorKind::StorageFull.into(),
            _ => io::Error::other("the medium failed"),
        }
    }
}

/// Which call is to fail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) call: usize,
    pub(crate) fault: Fault,
    /// All calls from that one on.
    pub(crate) sticky: bool,
}

#[derive(Default)]
struct Inner {
    state: State,
    history: Vec<Moment>,
    recording: bool,
    note: usize,
    plan: Option<Plan>,
    calls: usize,
    locked: bool,
    time: i64,
    random: u64,
}

impl Inner {
    /// Counts a call that may fail.
    fn due(&mut self) -> Option<Fault> {
        let call = self.calls;
        self.calls += 1;
        let plan = self.plan?;
        (plan.call == call || plan.sticky && plan.call < call).then_some(plan.fault)
    }

    fn record(&mut self) {
        if self.recording {
            let moment = Moment { state: self.state.clone(), note: self.note };
            self.history.push(moment);
        }
    }

    fn rename(&mut self, change: NameChange) -> io::Result<()> {
        if let Some(fault) = self.due().filter(|fault| *fault != Fault::Short) {
            return Err(fault.error());
        }
        for (name, inode) in &change {
            match inode {
                Some(inode) => drop(self.state.current.insert(name.clone(), *inode)),
                None => drop(self.state.current.remove(name)),
            }
        }
        self.state.unsynced.push(change);
        self.record();
        Ok(())
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        self.state.current.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn inode(&mut self, inode: usize) -> &mut Inode {
        self.state.inodes.entry(inode).or_default()
    }

    fn write(&mut self, inode: usize, bytes: &[u8], offset: usize) -> io::Result<usize> {
        let fault = self.due();
        let half = if fault == Some(Fault::Short) { bytes.len().div_ceil(2) } else { bytes.len() / 2 };
        let done = if fault.is_some() { &bytes[..half] } else { bytes };
        let file = self.inode(inode);
        let current = Arc::make_mut(&mut file.current);
        current.resize(current.len().max(offset + done.len()), 0);
        current[offset..][..done.len()].copy_from_slice(done);
        file.unsynced.push((offset, Arc::new(done.to_vec())));
        self.record();
        match fault {
            Some(fault) if fault != Fault::Short => Err(fault.error()),
            _ => Ok(done.len()),
        }
    }

    fn sync(&mut self, inode: usize) -> io::Result<()> {
        let fault = self.due();
        let file = self.inode(inode);
        match fault {
            Some(fault @ (Fault::Io | Fault::Full)) => {
                // The pages count as clean from here on: no later sync will write them.
                file.unsynced.clear();
                Err(fault.error())
            }
            Some(fault @ Fault::Forgetful) => {
                file.unsynced.clear();
                file.current = Arc::clone(&file.durable);
                Err(fault.error())
            }
            _ => {
                // Only what is still to be written reaches the medium.
                let unsynced = std::mem::take(&mut file.unsynced);
                let durable = Arc::make_mut(&mut file.durable);
                for (offset, bytes) in unsynced {
                    durable.resize(durable.len().max(offset + bytes.len()), 0);
                    durable[offset..][..bytes.len()].copy_from_slice(&bytes);
                }
                self.record();
                Ok(())
            }
        }
    }
}

/// The simulated disk. Clones are the same disk.
#[derive(Clone, Default)]
pub(crate) struct SimDisk(Arc<Mutex<Inner>>);

impl SimDisk {
    /// A disk in this state, after the power has come back.
    pub(crate) fn of(state: State) -> SimDisk {
        let inner = Inner { state, ..Inner::default() };
        SimDisk(Arc::new(Mutex::new(inner)))
    }

    /// Starts to remember.
    pub(crate) fn record(&self) {
        let mut inner = self.0.lock();
        inner.recording = true;
        inner.record();
    }

    /// What was remembered.
    pub(crate) fn history(&self) -> Vec<Moment> {
        std::mem::take(&mut self.0.lock().history)
    }

    /// Notes `note` beside every moment from now on.
    pub(crate) fn note(&self, note: usize) {
        let mut inner = self.0.lock();
        inner.note = note;
        inner.record();
    }

    /// The disk as it is.
    pub(crate) fn state(&self) -> State {
        self.0.lock().state.clone()
    }

    /// Has calls fail, counted from now.
    pub(crate) fn fail(&self, plan: Option<Plan>) {
        let mut inner = self.0.lock();
        inner.plan = plan;
        inner.calls = 0;
    }

    /// Calls that could have failed since then.
    pub(crate) fn calls(&self) -> usize {
        self.0.lock().calls
    }

    /// Lets time pass.
    pub(crate) fn set_time(&self, time: i64) {
        self.0.lock().time = time;
    }

    /// The bytes of a file.
    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        let mut inner = self.0.lock();
        let inode = inner.find(name).expect("a file that is there");
        inner.inode(inode).current.to_vec()
    }

    /// Replaces the bytes of a file, on the medium too.
    pub(crate) fn overwrite(&self, name: &str, bytes: Vec<u8>) {
        let mut inner = self.0.lock();
        let inode = match inner.find(name) {
            Ok(inode) => inode,
            Err(_) => {
                inner.state.next_inode += 1;
                let inode = inner.state.next_inode;
                inner.state.current.insert(name.to_owned(), inode);
                inner.state.durable.insert(name.to_owned(), inode);
                inode
            }
        };
        let bytes = Arc::new(bytes);
        *inner.inode(inode) = Inode { current: Arc::clone(&bytes), durable: bytes, unsynced: Vec::new() };
    }
}

struct SimFile {
    disk: SimDisk,
    inode: usize,
}

impl Vfs for SimDisk {
    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().state.current.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn VfsFile>> {
        let inode = self.0.lock().find(name)?;
        Ok(Box::new(SimFile { disk: self.clone(), inode }))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn VfsFile>> {
        let mut inner = self.0.lock();
        if inner.find(name).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        inner.state.next_inode += 1;
        let inode = inner.state.next_inode;
        inner.rename(vec![(name.to_owned(), Some(inode))])?;
        Ok(Box::new(SimFile { disk: self.clone(), inode }))
    }

    fn map(&self, name: &str) -> io::Result<Bytes> {
        let mut inner = self.0.lock();
        let inode = inner.find(name)?;
        let bytes: Arc<Vec<u8>> = Arc::clone(&inner.inode(inode).current);
        Ok(bytes)
    }

    fn map_private(&self, name: &str) -> io::Result<MmapMut> {
        let bytes = self.map(name)?;
        let bytes = (*bytes).as_ref();
        let mut map = MmapMut::map_anon(bytes.len().max(1))?;
        map[..bytes.len()].copy_from_slice(bytes);
        Ok(map)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut inner = self.0.lock();
        let inode = inner.find(from)?;
        inner.rename(vec![(from.to_owned(), None), (to.to_owned(), Some(inode))])
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut inner = self.0.lock();
        inner.find(name)?;
        inner.rename(vec![(name.to_owned(), None)])
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut inner = self.0.lock();
        if let Some(fault) = inner.due().filter(|fault| *fault != Fault::Short) {
            return Err(fault.error());
        }
        inner.state.durable = inner.state.current.clone();
        inner.state.unsynced.clear();
        inner.record();
        Ok(())
    }

    fn lock(&self, name: &str) -> Result<Lock> {
        let mut inner = self.0.lock();
        if std::mem::replace(&mut inner.locked, true) {
            return Err(Error::Locked { path: PathBuf::from(name), pid: Some(std::process::id()) });
        }
        Ok(Box::new(SimLock(self.clone())))
    }

    fn random(&self) -> u128 {
        let mut inner = self.0.lock();
        inner.random += 1;
        // Another power cycle, other numbers: names tell one from the next.
        let names = inner.state.current.keys().flat_map(|name| name.bytes());
        let seed = names.fold(inner.random, |hash, byte| hash.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte));
        let mut dice = Dice(seed);
        u128::from(dice.roll()) << 64 | u128::from(dice.roll())
    }

    fn now(&self) -> i64 {
        self.0.lock().time
    }
}

struct SimLock(SimDisk);

impl Drop for SimLock {
    fn drop(&mut self) {
        self.0.0.lock().locked = false;
    }
}

impl VfsFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.0.lock().inode(self.inode).current.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut inner = self.disk.0.lock();
        let bytes = &inner.inode(self.inode).current;
        let from = &bytes[bytes.len().min(offset as usize)..];
        let count = from.len().min(buffer.len());
        buffer[..count].copy_from_slice(&from[..count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.disk.0.lock().write(self.inode, bytes, offset as usize)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.0.lock().sync(self.inode)
    }
}
