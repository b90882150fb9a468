//! Lent memory that a codec library decodes into, and later reads as a reference picture.

use super::Stop;
use super::loans::{Loan, Loans, Plane};
use crate::job::{Chroma, Planes};
use crate::loan;
use crate::shm::Shared;
use crate::slots::Layout;
use crate::window::Window;
use std::rc::Rc;

/// Maximum number of pictures in lent memory that a library may hold at once.
const MAX_HELD: usize = 40;
/// Once the library has held all loans at the same time, it decodes this many pictures into its own memory.
const PAUSE: u32 = 64;
/// Alignment of planes in bytes, as for the widest vectors of current processors.
const ALIGN: usize = 64;

/// The layout of a library's pictures: planes Y, U and V.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameShape {
    /// Visible columns and lines. They begin at the planes' first samples.
    pub visible: (u32, u32),
    /// Bytes from one row to the next.
    pub strides: [usize; 3],
    /// How many bytes of each plane, counted from its first sample, the library may access.
    pub rooms: [usize; 3],
}

/// Memory for one plane, valid until [`Out::release_frame`](super::Out::release_frame).
#[derive(Clone, Copy, Debug)]
pub struct FramePlane {
    /// Address of the first sample.
    pub start: *mut u8,
    /// Number of bytes from `start` on that may be read and written.
    pub room: usize,
}

/// Memory for one picture.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// Identifies the memory; never 0.
    pub id: u64,
    /// Y, U and V. For a plane that is `None`, the library uses its own memory.
    pub planes: [Option<FramePlane>; 3],
}

/// The planes of one of the host's buffers, mapped for a library.
#[derive(Debug)]
pub(super) struct Windows {
    /// For each plane, the number of its memory, and the plane's offset in that memory in bytes.
    key: Vec<(u64, usize)>,
    rooms: Vec<usize>,
    planes: Vec<Window>,
}

impl Windows {
    fn new(loan: &Loan, shape: &FrameShape) -> Option<Self> {
        let layout = Layout::new(shape.visible.0, shape.visible.1)?;
        let map = |(plane, (columns, lines), room): (&Plane, (usize, usize), usize)| {
            let before = plane.stride.checked_mul(lines.checked_sub(1)?)?;
            let extent = before.checked_add(columns)?;
            Window::new(&plane.memory, plane.offset, extent, room).ok()
        };
        let wanted = wanted(loan);
        let shapes = loan::shapes(&layout, Chroma::Planar);
        let planes = loan.planes.iter().zip(shapes).zip(shape.rooms);
        let planes = planes.map(|((plane, shape), room)| (plane, shape, room));
        Some(Self {
            key: key(loan),
            rooms: shape.rooms[..wanted].to_vec(),
            planes: planes.take(wanted).map(map).collect::<Option<_>>()?,
        })
    }
}

/// Returns how many planes a library can decode into: only Y if the loan has interleaved chroma.
fn wanted(loan: &Loan) -> usize {
    match loan.chroma {
        Chroma::Planar => 3,
        Chroma::Pairs => 1,
    }
}

fn key(loan: &Loan) -> Vec<(u64, usize)> {
    let planes = loan.planes.iter().take(wanted(loan));
    planes.map(|plane| (plane.number, plane.offset)).collect()
}

/// Memory that the library holds for one picture.
#[derive(Debug)]
pub(super) struct HeldFrame {
    id: u64,
    windows: Rc<Windows>,
    /// For each plane, the number of its memory.
    memory: Vec<u64>,
    /// The claimed loan, until its picture is finished or another picture gets the loan.
    loan: Option<Loan>,
    /// Whether the windows still map the lent memory, rather than a copy.
    is_shared: bool,
}

/// All picture memory that the library holds.
#[derive(Debug, Default)]
pub(super) struct Frames {
    held: Vec<HeldFrame>,
    /// Mappings of the host's buffers, for reuse.
    mapped: Vec<Rc<Windows>>,
    last: u64,
    /// How many of the next pictures get no loan ([`PAUSE`]).
    pause: u32,
}

impl Frames {
    /// Returns whether the library holds a loan's memory, to decode into it or for a reference picture.
    pub(super) fn has(&self, loan: &Loan) -> bool {
        let is_one = |number: &u64| loan.planes.iter().any(|plane| plane.number == *number);
        let mut shared = self.held.iter().filter(|held| held.is_shared);
        shared.any(|held| held.memory.iter().any(is_one))
    }

    /// Returns whether frame `id` still has its loan, so that the library may decode into it.
    pub(super) fn is_lent(&self, id: u64) -> bool {
        let held = self.held.iter().find(|held| held.id == id);
        held.is_some_and(|held| held.loan.is_some())
    }

    /// Claims a loan for the library; `None` if none is suitable.
    pub(super) fn take(
        &mut self,
        loans: &mut Loans,
        shape: &FrameShape,
        input: &Shared,
    ) -> Option<Frame> {
        if self.pause > 0 || self.held.len() >= MAX_HELD {
            self.pause = self.pause.saturating_sub(1);
            return None;
        }
        let at = loans.waiting.iter().position(|loan| !self.has(loan))?;
        let loan = loans.waiting.get(at).filter(|loan| suits(loan, shape))?;
        let windows = self.windows(loan, shape)?;
        loan::set_holding(input, true);
        let claimed = loan::claim(input, loan.number);
        let loan = loans.waiting.remove(at).filter(|_| claimed);
        let Some(loan) = loan else {
            self.note_holding(input);
            return None;
        };
        self.last += 1;
        let mut planes = [None; 3];
        for (plane, window) in planes.iter_mut().zip(&windows.planes) {
            *plane = Some(FramePlane {
                start: window.start(),
                room: window.room(),
            });
        }
        self.held.push(HeldFrame {
            id: self.last,
            windows,
            memory: loan.planes.iter().map(|plane| plane.number).collect(),
            loan: Some(loan),
            is_shared: true,
        });
        Some(Frame {
            id: self.last,
            planes,
        })
    }

    fn windows(&mut self, loan: &Loan, shape: &FrameShape) -> Option<Rc<Windows>> {
        let (key, rooms) = (key(loan), &shape.rooms[..wanted(loan)]);
        let mut mapped = self.mapped.iter();
        if let Some(found) = mapped.find(|known| known.key == key && known.rooms == rooms) {
            return Some(Rc::clone(found));
        }
        self.mapped.retain(|known| known.key != key);
        let made = Rc::new(Windows::new(loan, shape)?);
        self.mapped.push(Rc::clone(&made));
        Some(made)
    }

    /// Releases memory that the library no longer needs.
    /// If the memory's loan was not used for a finished picture, returns the loan for reuse.
    pub(super) fn release(&mut self, id: u64, input: &Shared) -> Option<Loan> {
        let at = self.held.iter().position(|held| held.id == id)?;
        let held = self.held.swap_remove(at);
        self.note_holding(input);
        let loan = held.loan?;
        loan::unclaim(input, loan.number).then_some(loan)
    }

    fn note_holding(&self, input: &Shared) {
        let is_holding = self.held.iter().any(|held| held.is_shared);
        loan::set_holding(input, is_holding);
    }

    /// Finishes a picture in its loan. Returns the loan and the number of bytes copied for this.
    /// `None` if the frame has no loan, the loan is for another picture size, or the copy failed.
    pub(super) fn finish(
        &mut self,
        id: u64,
        layout: &Layout,
        picture: &Planes<'_>,
    ) -> Option<(Loan, usize)> {
        let held = self.held.iter_mut().find(|held| held.id == id)?;
        let loan = held.loan.take_if(|loan| loan.is_for(layout))?;
        let windows = held.windows.planes.iter().zip(&loan.planes);
        let copied = windows.map(|(window, plane)| window.copy_last_page(&plane.memory));
        let copied = copied.sum::<Option<usize>>();
        let pairs = match loan.chroma {
            Chroma::Planar => Some(0),
            Chroma::Pairs => loan.write_pairs(layout, picture),
        };
        match copied.zip(pairs) {
            Some((copied, pairs)) => Some((loan, copied + pairs)),
            None => {
                held.loan = Some(loan);
                None
            }
        }
    }

    /// Takes one loan for another picture from the library, which holds all loans.
    /// The library continues with a copy of the loan's memory.
    pub(super) fn copy_one(
        &mut self,
        loans: &mut Loans,
        input: &Shared,
    ) -> Result<Option<Loan>, Stop> {
        while let Some(loan) = loans.waiting.pop_front() {
            if !loan::claim(input, loan.number) {
                continue;
            }
            let is_one = |number: &u64| loan.planes.iter().any(|plane| plane.number == *number);
            for held in &mut self.held {
                if held.memory.iter().any(is_one) {
                    held.detach(&mut self.mapped)?;
                }
            }
            self.note_holding(input);
            self.pause = PAUSE;
            return Ok(Some(loan));
        }
        let last = self.held.iter_mut().rfind(|held| held.loan.is_some());
        let Some(held) = last else {
            return Ok(None);
        };
        held.detach(&mut self.mapped)?;
        let loan = held.loan.take();
        self.note_holding(input);
        self.pause = PAUSE;
        Ok(loan)
    }

    /// Replaces all lent memory that the library holds by copies.
    pub(super) fn copy_all(&mut self, input: &Shared) -> Result<(), Stop> {
        for held in &mut self.held {
            held.detach(&mut self.mapped)?;
            held.loan = None;
        }
        self.mapped.clear();
        self.note_holding(input);
        Ok(())
    }

    /// Unmaps the host's buffers, except those whose memory the library still holds.
    pub(super) fn unmap(&mut self) {
        self.mapped.clear();
    }
}

impl HeldFrame {
    fn detach(&mut self, mapped: &mut Vec<Rc<Windows>>) -> Result<(), Stop> {
        if !std::mem::take(&mut self.is_shared) {
            return Ok(());
        }
        mapped.retain(|known| !Rc::ptr_eq(known, &self.windows));
        for window in &self.windows.planes {
            window.detach().map_err(|_| Stop::Gone)?;
        }
        Ok(())
    }
}

/// Returns whether a library can decode into a loan's memory.
fn suits(loan: &Loan, shape: &FrameShape) -> bool {
    let mut planes = loan.planes.iter().zip(shape.strides).take(wanted(loan));
    let is_good = |(plane, stride): (&Plane, usize)| {
        plane.stride == stride && plane.offset.is_multiple_of(ALIGN)
    };
    !loan.planes.is_empty() && loan.size == shape.visible && planes.all(is_good)
}
