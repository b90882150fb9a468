//! Programs' own memory at devices (USERPTR): staged copies.
//!
//! The bytes come in when a buffer is queued, and go out when it is dequeued. In between the buffer is the
//! device's by contract, so no device waits for a program's pages, and a program that unmaps them delays no other.
//! The machine still decides where the pages lie: only the bytes move.
//!
//! STREAMOFF and close drop what a device has written and no DQBUF has fetched. On Linux, the bytes are in the
//! program's memory nevertheless. They are not copied there at these calls, because a program that ends may already
//! have other data at the address.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use vb3_frontend::{Bytes, Client, FdIdentity, FileId, Label, Owner, UserRange};
use vb3_machine::{User, UserFault, UserMemory};

/// Maximum number of ranges that are remembered after their devices let go of them.
const MAX_ENDED: usize = 64;

/// An owner, and a range of its memory: address and length in bytes.
type Place = (Owner, u64, u64);

/// The memory that programs have queued.
#[derive(Debug, Default)]
pub(super) struct Staging {
    /// For each place, its memory, and the open files that have queued it.
    known: HashMap<Place, (Weak<Staged>, Vec<FileId>)>,
    labels: HashMap<Owner, Label>,
    /// Bytes that were copied in and out.
    copied: [u64; 2],
}

impl Staging {
    /// Returns the memory that a program gives to a device, with the bytes that it has now. While a device has the
    /// memory, and the program has mapped no other memory there, further calls update the value that the first
    /// call made, and return it.
    pub(super) fn take_in(
        &mut self,
        (client, file): (Client, FileId),
        (addr, len): (u64, u64),
        range: &UserRange,
    ) -> User {
        let owner = client.owner;
        let [copied, _] = &mut self.copied;
        *copied = copied.saturating_add(range.bytes.len() as u64);
        if let Some((known, by)) = self.known.get_mut(&(owner, addr, len))
            && let Some(staged) = known.upgrade()
        {
            if staged.is_at(range) {
                if !by.contains(&file) {
                    by.push(file);
                }
                staged.refresh(&range.bytes);
                return staged;
            }
            // The program has mapped something else there, so that the device must pin anew.
            staged.is_replaced.store(true, Ordering::Relaxed);
        }
        if self.known.len() >= MAX_ENDED {
            self.known
                .retain(|_, (staged, _)| staged.strong_count() > 0);
            let owners: HashSet<Owner> = self.known.keys().map(|(owner, ..)| *owner).collect();
            self.labels.retain(|owner, _| owners.contains(owner));
        }
        let staged = Arc::new(Staged {
            owner,
            addr,
            readable: range.readable,
            writable: range.writable,
            file: range.file,
            is_replaced: AtomicBool::new(false),
            contents: Mutex::new(Contents {
                bytes: Arc::clone(&range.bytes),
                written: None,
            }),
        });
        let weak = Arc::downgrade(&staged);
        self.known.insert((owner, addr, len), (weak, vec![file]));
        self.labels.insert(owner, client.label);
        staged
    }

    /// Returns what devices have written to memory since the program gave it to them, and its address.
    pub(super) fn take_out(&mut self, (owner, addr, len): Place) -> Option<(u64, Bytes)> {
        let staged = self.live((owner, addr, len))?;
        let mut contents = staged.contents();
        let written = contents.written.take()?;
        let [_, copied] = &mut self.copied;
        *copied = copied.saturating_add(written.len() as u64);
        let at = addr.checked_add(written.start as u64)?;
        Some((at, Bytes::Shared(Arc::clone(&contents.bytes), written)))
    }

    /// Drops what devices have written to memory since the program gave it to them, so that the memory's next QBUF
    /// passes all of the program's bytes.
    pub(super) fn discard(&self, place: Place) {
        if let Some(staged) = self.live(place) {
            staged.contents().written = None;
        }
    }

    /// Returns the memory at a place, if a device has it.
    fn live(&self, place: Place) -> Option<Arc<Staged>> {
        let (staged, _) = self.known.get(&place)?;
        staged.upgrade()
    }

    /// Notes that `file` is closed. Looks at all memory that was queued through this file: if no other open file has
    /// queued the same memory, drops what devices have written to it. Without this, a device whose unmap failed would
    /// keep the memory, and at a later QBUF of the same memory, its old bytes would replace those of the program.
    pub(super) fn close(&mut self, file: FileId) {
        for (staged, by) in self.known.values_mut() {
            by.retain(|other| *other != file);
            if by.is_empty()
                && let Some(staged) = staged.upgrade()
            {
                staged.contents().written = None;
            }
        }
    }

    /// Returns the owner of memory, by the owner's number.
    pub(super) fn client(&self, number: u64) -> Client {
        let owner = Owner::of_number(number);
        let label = self.labels.get(&owner).copied().unwrap_or_default();
        Client { owner, label }
    }

    /// Returns how many bytes were copied in and out.
    pub(super) const fn copied(&self) -> [u64; 2] {
        self.copied
    }
}

/// A range of a program's memory, as a device sees it.
#[derive(Debug)]
struct Staged {
    owner: Owner,
    addr: u64,
    readable: u64,
    writable: u64,
    file: Option<FdIdentity>,
    is_replaced: AtomicBool,
    contents: Mutex<Contents>,
}

#[derive(Debug)]
struct Contents {
    bytes: Arc<Vec<u8>>,
    /// The smallest range that contains everything that devices have written.
    written: Option<Range<usize>>,
}

impl Staged {
    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the program has mapped the same memory as before, as far as devices can tell.
    fn is_at(&self, range: &UserRange) -> bool {
        (self.readable, self.writable, self.file) == (range.readable, range.writable, range.file)
    }

    /// Takes new bytes from the program. What a device has written and the program does not have yet stays: a
    /// refused QBUF must not lose a picture.
    fn refresh(&self, bytes: &Arc<Vec<u8>>) {
        let contents = &mut *self.contents();
        let before = std::mem::replace(&mut contents.bytes, Arc::clone(bytes));
        let kept = contents.written.clone();
        if let Some(part) = kept.clone().and_then(|part| before.get(part))
            && let Some(to) = kept.and_then(|at| Arc::make_mut(&mut contents.bytes).get_mut(at))
        {
            to.copy_from_slice(part);
        }
    }

    /// Returns where the `len` bytes at `addr` are in the copy.
    fn place(&self, addr: u64, len: usize) -> Result<Range<usize>, UserFault> {
        let start = addr.checked_sub(self.addr).map(usize::try_from);
        let start = start.and_then(Result::ok).ok_or(UserFault { addr })?;
        let end = start.checked_add(len).ok_or(UserFault { addr })?;
        Ok(start..end)
    }
}

impl UserMemory for Staged {
    fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), UserFault> {
        let at = self.place(addr, out.len())?;
        let contents = self.contents();
        let bytes = contents.bytes.get(at).ok_or(UserFault { addr })?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn write(&self, addr: u64, data: &[u8]) -> Result<(), UserFault> {
        let at = self.place(addr, data.len())?;
        let contents = &mut *self.contents();
        let bytes = Arc::make_mut(&mut contents.bytes);
        let to = bytes.get_mut(at.clone()).ok_or(UserFault { addr })?;
        to.copy_from_slice(data);
        contents.written = Some(match contents.written.take() {
            Some(before) => before.start.min(at.start)..before.end.max(at.end),
            None => at,
        });
        Ok(())
    }

    fn probe(&self, addr: u64, len: u64, write: bool) -> u64 {
        let there = if write { self.writable } else { self.readable };
        let before = addr.checked_sub(self.addr);
        before.map_or(0, |before| there.saturating_sub(before).min(len))
    }

    fn is_where_it_was(&self) -> bool {
        !self.is_replaced.load(Ordering::Relaxed)
    }

    fn file_at(&self, addr: u64, len: u64) -> Option<(u64, u64)> {
        self.place(addr, usize::try_from(len).ok()?).ok()?;
        self.file.map(|file| (file.dev, file.ino))
    }

    fn id(&self) -> u64 {
        self.owner.number()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vb3_frontend::Origin;

    const AT: Place = (Owner::Process(7), 0x1000, 8);

    /// Takes in the memory at `AT` of a process.
    fn take_in(staging: &mut Staging, pid: u32, range: &UserRange) -> User {
        let client = Origin::process(pid, pid).client;
        staging.take_in((client, FileId(1)), (AT.1, AT.2), range)
    }

    fn range(bytes: &[u8]) -> UserRange {
        UserRange {
            readable: 8,
            writable: 8,
            file: None,
            bytes: Arc::new(bytes.to_vec()),
        }
    }

    fn out(staging: &mut Staging) -> Option<(u64, Vec<u8>)> {
        let (at, bytes) = staging.take_out(AT)?;
        Some((at, bytes.to_vec()))
    }

    #[test]
    fn only_what_devices_wrote_goes_out_once() {
        let mut staging = Staging::default();
        let user = take_in(&mut staging, 7, &range(&[1; 8]));
        assert_eq!(out(&mut staging), None, "nothing was written");
        user.write(0x1002, &[2]).expect("inside");
        user.write(0x1004, &[3, 4]).expect("inside");
        assert_eq!(out(&mut staging), Some((0x1002, vec![2, 1, 3, 4])));
        assert_eq!(out(&mut staging), None, "it is out already");
        assert_eq!(staging.copied(), [8, 4]);
        assert_eq!(user.write(0x1007, &[0; 2]), Err(UserFault { addr: 0x1007 }));
        assert_eq!(user.read(0xfff, &mut [0]), Err(UserFault { addr: 0xfff }));
    }

    #[test]
    fn memory_stays_the_same_while_a_device_has_it() {
        let mut staging = Staging::default();
        let first = take_in(&mut staging, 7, &range(&[1; 8]));
        first.write(0x1001, &[9]).expect("inside");
        let second = take_in(&mut staging, 7, &range(&[2; 8]));
        assert!(Arc::ptr_eq(&first, &second));
        let mut bytes = [0; 3];
        first.read(0x1000, &mut bytes).expect("inside");
        assert_eq!(bytes, [2, 9, 2], "the picture is not lost");
        assert!(first.is_where_it_was());
        let gone = take_in(&mut staging, 7, &UserRange::default());
        assert!(!first.is_where_it_was() && gone.probe(0x1000, 8, false) == 0);
        drop((first, second, gone));
        let third = take_in(&mut staging, 7, &range(&[3; 8]));
        third.read(0x1000, &mut bytes).expect("inside");
        assert_eq!(bytes, [3, 3, 3]);
    }

    /// Here, a device keeps the memory although both files that queued it are closed.
    #[test]
    fn pictures_of_closed_files_do_not_come_back() {
        let mut staging = Staging::default();
        let client = Origin::process(7, 7).client;
        let queue = |staging: &mut Staging, file, value| {
            staging.take_in((client, FileId(file)), (AT.1, AT.2), &range(&[value; 8]))
        };
        let kept = queue(&mut staging, 1, 1);
        queue(&mut staging, 2, 2);
        kept.write(0x1000, &[9]).expect("inside");
        let seen = |value: u8| {
            let mut bytes = [0; 2];
            kept.read(0x1000, &mut bytes).expect("inside");
            assert_eq!(bytes, [value, 3]);
        };
        staging.close(FileId(2));
        let again = queue(&mut staging, 1, 3);
        assert!(Arc::ptr_eq(&kept, &again), "the device has no other");
        seen(9);
        staging.close(FileId(1));
        queue(&mut staging, 3, 3);
        seen(3);
        kept.write(0x1000, &[9]).expect("inside");
        staging.discard(AT);
        assert_eq!(out(&mut staging), None);
        assert_eq!(staging.copied(), [32, 0], "nothing came out");
    }

    #[test]
    fn ranges_end_where_the_program_has_no_memory() {
        let mut staging = Staging::default();
        let short = UserRange {
            readable: 6,
            writable: 4,
            ..range(&[1; 6])
        };
        let user = take_in(&mut staging, 7, &short);
        assert_eq!(user.probe(0x1000, 8, false), 6);
        assert_eq!(user.probe(0x1000, 8, true), 4);
        assert_eq!(user.probe(0x1002, 8, true), 2);
        assert_eq!(user.probe(0x100, 8, true), 0);
        let other = take_in(&mut staging, 8, &short);
        assert!(user.id() == 7 && other.id() == 8 && user.file_at(0x1000, 8).is_none());
    }
}
