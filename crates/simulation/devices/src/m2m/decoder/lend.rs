//! CAPTURE buffers that the codec process writes directly.
//!
//! If the codec process can map a buffer's memory (`Bus::host_spans`), it copies the picture from its library's
//! memory to the buffer, and a run's report counts this in `bytes_copied_by_codec`. All buffers are lent, oldest
//! first. The buffers are returned in the display order of their pictures. A buffer that the process cannot map is
//! lent by number only, and the device copies the picture through the bus.
//!
//! STREAMOFF takes lent buffers back. If the process is copying a picture, STREAMOFF waits for the rest of this copy,
//! as a call that waits for a frame does; calls on other files continue. After five
//! seconds, STREAMOFF waits at most half a second more, during which all calls wait, and then ends the process. After
//! STREAMOFF has returned, the process writes nothing. close() does not wait: it ends the process. In virtual time, and
//! for a guest, all calls wait for the copy from the start, at most half a second.

use super::{Decoder, Drain, Pending};
use crate::m2m::device::Stopping;
use crate::m2m::loan;
use std::collections::VecDeque;
use vb3_codec::{MAX_LOANS, Refused};
use vb3_queue::Active;
use vb3_v4l2::Bus;

impl<C> Decoder<C> {
    pub(super) fn can_lend(&self) -> bool {
        self.own.is_lending
            && self.capture.is_ready()
            && self.own.lent.len() < MAX_LOANS
            && matches!(self.own.pending, Pending::None)
            && self.drain != Drain::Ready
            && self.stopping == Stopping::No
    }

    pub(super) fn lend(&mut self, bus: &mut dyn Bus<C>) {
        while self.can_lend() {
            let Some(token) = self.capture.take() else {
                return;
            };
            match self.lend_one(&token, bus) {
                Ok(number) => self.own.lent.push_back((number, token)),
                Err(_) => return self.capture.tokens.push_front(token),
            }
        }
    }

    fn lend_one(&mut self, token: &Active<C>, bus: &mut dyn Bus<C>) -> Result<u64, Refused> {
        let visible = (self.own.visible.width, self.own.visible.height);
        let worker = self.worker.running().ok_or(Refused::Dead)?;
        loan::lend(worker, (&self.own.streamed, visible), token, bus)
    }

    /// Ends a loan that has been used, and returns its buffer.
    pub(super) fn end_loan(&mut self, loan: u64) -> Option<Active<C>> {
        let mut lent = self.own.lent.iter();
        let at = lent.position(|(number, _)| *number == loan)?;
        self.own.lent.remove(at).map(|(_, token)| token)
    }

    /// Takes lent buffers back, except those to which the process is writing now. Returns whether the process has no
    /// buffer left.
    pub(super) fn take_back_unwritten(&mut self) -> bool {
        let (own, capture) = (&mut self.own, &mut self.capture);
        self.worker.try_take_back(|is_out| {
            let (out, back) = std::mem::take(&mut own.lent)
                .into_iter()
                .partition(|(loan, _)| is_out(*loan));
            own.lent = out;
            let back: VecDeque<_> = back;
            back.into_iter()
                .rev()
                .for_each(|(_, token)| capture.put_back(token));
        })
    }

    /// Takes all lent buffers back. The process does not write to them any more.
    pub(super) fn take_back(&mut self) {
        if self.own.lent.is_empty() {
            return;
        }
        self.worker.take_back();
        self.requeue_lent();
    }

    /// Returns lent buffers to the queue. The process no longer writes to them.
    pub(super) fn requeue_lent(&mut self) {
        while let Some((_, token)) = self.own.lent.pop_back() {
            self.capture.put_back(token);
        }
    }

    /// Drops decoded pictures, and returns their buffers to the queue.
    pub(super) fn forget_decoded(&mut self) {
        while let Some(decoded) = self.own.decoded.pop_back() {
            if let Some(token) = decoded.token {
                self.capture.tokens.push_front(token);
            }
        }
    }
}
