//! Memory of programs, and pins of it.

use super::{Fake, FakePages, PAGE, RAM, State};
use std::vec;
use std::vec::Vec;
use vb3_dma::{Constraint, Error, PhysAddr, Reason, Segment};

/// A program. The default program has RAM at every address. A program that [`Fake::add_user`] made has its
/// memory at [`FakeUser::BASE`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FakeUser(Option<usize>);

impl FakeUser {
    /// Address at which a program's memory begins.
    pub const BASE: u64 = 0x1_0000;
}

/// Memory of one program: pages that are not adjacent.
#[derive(Debug)]
pub(super) struct ProgramMemory {
    pages: Vec<u64>,
    read_only: bool,
    /// Number of times that the program replaced the memory at these addresses.
    version: u64,
}

/// Pinned memory of a program.
#[derive(Debug)]
pub struct FakePinned {
    pub(super) pages: FakePages,
    user: FakeUser,
    addr: u64,
    version: u64,
}

impl Fake {
    /// Adds a program with `pages` zeroed pages of memory that are not adjacent.
    pub fn add_user(&self, pages: u64, read_only: bool) -> FakeUser {
        let mut state = self.state();
        let pages: Vec<u64> = (0..pages).map(|_| state.take_new(PAGE, PAGE)).collect();
        for &page in &pages {
            state.memory.set(page, &[0; PAGE as usize]);
        }
        let version = 0;
        state.users.push(ProgramMemory {
            pages,
            read_only,
            version,
        });
        FakeUser(Some(state.users.len() - 1))
    }

    /// Simulates a program that maps other memory at its addresses.
    pub fn remap_user(&self, user: FakeUser) {
        let mut state = self.state();
        if let Some(memory) = user.0.and_then(|n| state.users.get_mut(n)) {
            memory.version += 1;
        }
    }

    /// Returns a program's memory; empty for the default program.
    #[must_use]
    pub fn user_memory(&self, user: FakeUser) -> Vec<Segment> {
        let state = self.state();
        let pages = user.0.and_then(|n| Some(&state.users.get(n)?.pages));
        let segment = |&page: &u64| Segment::pages(PhysAddr::new(page), PAGE);
        pages.into_iter().flatten().map(segment).collect()
    }

    /// Makes every pin fail with this errno; `None` lets pins succeed again.
    pub fn fail_pins(&self, errno: Option<i32>) {
        self.state().pin_errno = errno;
    }
}

impl State {
    /// Returns the runs behind a program's addresses. `None` if any is missing, or if `writes` is set and the
    /// memory is read-only.
    fn runs(&self, user: FakeUser, addr: u64, len: u64, writes: bool) -> Option<Vec<(u64, u64)>> {
        let Some(number) = user.0 else {
            return Some(vec![(RAM + (addr & 0xfff_ffff), len)]);
        };
        let memory = self.users.get(number)?;
        let (first, bytes) = (
            addr.checked_sub(FakeUser::BASE)?,
            memory.pages.len() as u64 * PAGE,
        );
        if len > bytes.checked_sub(first)? || (writes && memory.read_only) {
            return None;
        }
        let (mut runs, mut done) = (Vec::new(), 0);
        while done < len {
            let at = first + done;
            let here = (PAGE - at % PAGE).min(len - done);
            runs.push((memory.pages[(at / PAGE) as usize] + at % PAGE, here));
            done += here;
        }
        Some(runs)
    }

    fn version(&self, user: FakeUser) -> u64 {
        let memory = user.0.and_then(|n| self.users.get(n));
        memory.map_or(0, |memory| memory.version)
    }
}

impl Fake {
    pub(super) fn pin(
        &self,
        user: &FakeUser,
        addr: u64,
        len: u64,
        device_writes: bool,
    ) -> Result<FakePinned, Error> {
        let mut state = self.state();
        state.may_fail()?;
        if let Some(errno) = state.pin_errno {
            return Err(Error::Pin { errno });
        }
        let missing = Error::BadUserMemory(Reason::new(Constraint::UserPages, len, 0));
        let runs = state.runs(*user, addr, len, device_writes).ok_or(missing)?;
        state.pins += 1;
        Ok(FakePinned {
            pages: FakePages {
                runs,
                granule: PAGE,
            },
            user: *user,
            addr,
            version: state.version(*user),
        })
    }

    pub(super) fn is_current(&self, pinned: &FakePinned, user: &FakeUser, addr: u64) -> bool {
        let version = self.state().version(*user);
        (pinned.user, pinned.addr, pinned.version) == (*user, addr, version)
    }
}
