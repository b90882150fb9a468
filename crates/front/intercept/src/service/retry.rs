//! Retries waiting calls, and ends them.

use crate::kernel::nr;
use crate::process::{
    ERESTART_RESTARTBLOCK, ERESTARTNOHAND, ERESTARTSYS, LOOK, Notif, Reply, Verdict as Interrupt,
    nudge,
};
use crate::service::dispatch::reply;
use crate::service::polls::write_remaining;
use crate::service::serve::How;
use crate::service::{Call, Host, Served, Server, Verdict};
use crate::waiting::{EARLY, Kind, MAX_WAITING, On, Pending, Waiting};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Instant;
use vb3_frontend::CallId;

impl Server<'_> {
    /// Retries the calls that wait for files or buffers that may have changed.
    pub(crate) fn retry_changed(&mut self) {
        // A round that completes no call is the last one, so there are at most as many rounds as calls. What
        // it marks, such as the files of a device that was just unplugged, is tried with the next call or event.
        for _ in 0..=MAX_WAITING {
            if self.pending.changed.is_empty() {
                return;
            }
            let changed = core::mem::take(&mut self.pending.changed);
            let slots = self.pending.slots_on(&changed);
            let before = self.pending.slots.len();
            slots.into_iter().for_each(|slot| self.retry(slot));
            if self.pending.slots.len() == before {
                return;
            }
        }
    }

    /// Retries all calls that wait for a file, for buffers or for locks, in their order of arrival.
    pub(crate) fn retry_on(&mut self, on: On) {
        for slot in self.pending.slots_on(&[on]) {
            self.retry(slot);
        }
    }

    pub(crate) fn retry(&mut self, slot: u32) {
        let Some(waiting) = self.pending.slots.get(&slot) else {
            return;
        };
        // A thread already gathers data for the call, or copies its last piece, and will then retry the call.
        if waiting.is_paused || waiting.is_under_way() {
            return;
        }
        let n = waiting.notif.clone();
        if let Some(how) = self.try_once(slot) {
            if let How::Again(slot) = how {
                self.pending.pause(slot);
            }
            self.answer(&n, how);
        }
    }

    /// Retries a call after its missing memory was gathered, or its files were polled.
    pub(crate) fn retry_gathered(&mut self, slot: u32) {
        self.pending.resume(slot);
        self.retry(slot);
    }

    /// Retries a call and answers it if it is complete. Returns the next work for a call that lacks memory or has
    /// moved a piece.
    pub(crate) fn try_once(&mut self, slot: u32) -> Option<How> {
        let mut waiting = self.pending.slots.remove(&slot)?;
        // A poll takes no frame or lock, so it may run even if its thread has ended and the result is lost.
        let takes = !matches!(waiting.kind, Kind::Poll(_));
        if takes && !self.host.listener.is_valid(waiting.notif.id) {
            self.pending.slots.insert(slot, waiting);
            self.give_up(slot);
            return None;
        }
        let n = waiting.notif.clone();
        n.gathered.begin();
        let host = Arc::clone(&self.host);
        let call = Call::new(&host, &n);
        let done = match &mut waiting.kind {
            Kind::Ioctl(on, request, arg) => self.ioctl_again(&call, (*on, *request, *arg)),
            Kind::Transfer(transfer) => reply(self.move_some(&call, transfer)),
            Kind::Poll(polling) => self.poll_again(&call, polling, waiting.deadline),
            Kind::Receive(socket) => self.receive_again(&call, socket, waiting.deadline),
            Kind::Lock(lock) => self.lock_again(lock),
        };
        let is_under_way = waiting.is_under_way();
        self.pending.slots.insert(slot, waiting);
        if n.gathered.lacks() {
            if !takes && !self.host.listener.is_valid(n.id) {
                self.give_up(slot);
                return None;
            }
            return Some(How::Again(slot));
        }
        if is_under_way {
            return Some(How::Part(slot));
        }
        if let Some(reply) = done {
            // The call must leave the epoll set and the table before its thread can make a new call.
            if let Some(waiting) = self.pending.remove(slot) {
                unregister(&self.host, &waiting);
            }
            self.answer(&n, How::Reply(reply));
        }
        None
    }

    /// Ends waits whose timeout has expired, and waits of threads that have a signal to handle.
    pub(crate) fn pending_due(&mut self) {
        if self.pending.slots.is_empty() {
            return;
        }
        let now = Instant::now();
        for slot in Pending::due(&self.pending.deadlines, now) {
            self.retry(slot);
        }
        for slot in Pending::due(&self.pending.looks, now + EARLY) {
            self.look_for_signals(slot);
        }
    }

    fn look_for_signals(&mut self, slot: u32) {
        let Some(waiting) = self.pending.slots.get(&slot) else {
            return;
        };
        // If the end of the call's thread is reported, no query is needed. The kernel searches all waiting
        // calls for each query.
        let told = !self.pending.unfollowed.contains(&slot);
        if !told && !self.host.listener.is_valid(waiting.notif.id) {
            self.give_up(slot);
            return;
        }
        // A transfer that has moved a piece is not interrupted by signals. It is over soon.
        if waiting.is_under_way() || waiting.is_stopping {
            return self.pending.plan_look(slot, LOOK);
        }
        if waiting.needs_look() {
            self.retry(slot);
        }
        let Some(waiting) = self.pending.slots.get_mut(&slot) else {
            return;
        };
        let found = waiting.signals.look(&mut self.pending.leader);
        let (tid, tracer) = (waiting.notif.tid, waiting.signals.tracer);
        let pause = waiting.look_interval();
        self.pending.plan_look(slot, pause);
        // A new tracer waits for the thread's stop, which no signal announces.
        let is_traced = found == Interrupt::None && self.pending.note_tracer(tid, tracer);
        match found {
            Interrupt::None if !is_traced || !nudge(self.host.pid_of(tid), tid) => {}
            Interrupt::None | Interrupt::Certain => {
                if let Some((n, code)) = self.give_up_for_signal(slot) {
                    self.answer(&n, How::Reply(Reply::Fail(code)));
                }
            }
            Interrupt::Shared | Interrupt::Masked => {
                self.interrupt(slot, found == Interrupt::Masked);
            }
        }
    }

    /// Drops a call whose thread may have a signal to handle. Returns the call and the code that it returns
    /// to the kernel, which restarts the call or makes it fail with EINTR.
    pub(crate) fn give_up_for_signal(&mut self, slot: u32) -> Option<(Notif, i32)> {
        let waiting = self.pending.slots.get(&slot)?;
        let (n, deadline) = (waiting.notif.clone(), waiting.deadline);
        let code = match &waiting.kind {
            Kind::Poll(_) => {
                // The kernel may restart the call, which then uses the remaining time.
                n.gathered.begin();
                write_remaining(&n, deadline);
                self.restart_of_poll(&n, deadline)
            }
            // Source: Linux 7.2 include/net/sock.h `sock_intr_errno`.
            Kind::Receive(_) if deadline.is_some() => libc::EINTR,
            _ => ERESTARTSYS,
        };
        self.pending.note_interrupted(n.tid);
        self.give_up(slot);
        Some((n, code))
    }

    /// Returns the code with which the kernel continues a poll if no handler runs. The timeout of `poll` is
    /// in a register, so the remaining time cannot be written back. So the kernel continues a `poll` with the
    /// call restart_syscall, which the filter reports.
    ///
    /// Source: Linux 7.2 fs/select.c `do_restart_poll`.
    fn restart_of_poll(&mut self, n: &Notif, deadline: Option<Instant>) -> i32 {
        if n.nr != nr::POLL {
            return ERESTARTNOHAND;
        }
        let poll = (n.nr, n.args, deadline);
        if self.pending.suspended.len() >= MAX_WAITING {
            // The kernel starts the poll over, with its whole time.
            return ERESTARTNOHAND;
        }
        self.pending.suspended.insert(n.tid, poll);
        ERESTART_RESTARTBLOCK
    }

    /// Serves restart_syscall: continues an interrupted poll until its original deadline.
    pub(crate) fn restart(&mut self, n: &Call<'_>) -> Served {
        // A handler may have ended the poll. The thread's registers are then those of another call.
        let poll = self.pending.suspended.get(&n.tid);
        let Some(&(nr, _, deadline)) = poll.filter(|(_, args, _)| *args == n.args) else {
            return Ok(Verdict::native());
        };
        let mut again = n.notif.clone();
        again.nr = nr;
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let done = self.poll(&Call::new(n.host, &again), Some(left));
        // If memory must be gathered first, the supervisor serves the call again and needs this entry.
        if !n.gathered.lacks() {
            self.pending.suspended.remove(&n.tid);
        }
        done
    }

    /// Queues the end of a wait whose thread must be stopped first, see [`How::Interrupt`].
    fn interrupt(&mut self, slot: u32, by_mask: bool) {
        let Some(waiting) = self.pending.slots.get_mut(&slot) else {
            return;
        };
        waiting.is_stopping = true;
        let n = waiting.notif.clone();
        let count = by_mask.then_some(usize::from(n.nr != libc::SYS_pselect6));
        self.answer(&n, How::Interrupt(slot, count));
    }

    /// Pauses a call before its thread is stopped. So nothing else answers the call, and the thread is not
    /// stopped inside a later call. Returns false if the call must not be stopped now.
    pub(crate) fn begin_stop(&mut self, slot: u32) -> bool {
        let Some(waiting) = self.pending.slots.get_mut(&slot) else {
            return false;
        };
        // A thread gathers data for the call. The next check for signals tries again.
        if waiting.is_paused {
            waiting.is_stopping = false;
            return false;
        }
        if !self.host.listener.is_valid(waiting.notif.id) {
            self.give_up(slot);
            return false;
        }
        self.pending.pause(slot);
        true
    }

    /// Continues a wait whose thread could not be stopped.
    pub(crate) fn retry_unstopped(&mut self, slot: u32) {
        if let Some(waiting) = self.pending.slots.get_mut(&slot) {
            waiting.is_stopping = false;
            self.retry_gathered(slot);
        }
    }

    /// Drops a waiting call without an answer. Returns whether the slot had a call.
    pub(crate) fn give_up(&mut self, slot: u32) -> bool {
        let Some(waiting) = self.pending.remove(slot) else {
            return false;
        };
        self.abandon(&waiting);
        true
    }

    /// Ends the work for a call that does not wait or no longer waits: the supervisor stops polling its
    /// descriptors, and the backend learns that the call or its transfer does not continue.
    pub(crate) fn abandon(&mut self, waiting: &Waiting) {
        unregister(&self.host, waiting);
        if let Some(file) = waiting.file() {
            self.backend.abandon(file, CallId(waiting.notif.id));
            // Other calls that wait for the file are retried, so that they tell the backend again that they wait.
            self.pending.mark(On::File(file));
        }
    }

    /// Drops the waiting call of a thread that makes a new call.
    pub(crate) fn give_up_thread(&mut self, tid: u32) {
        if let Some(slot) = self.pending.by_tid.get(&tid).copied() {
            self.give_up(slot);
        }
    }

    /// Drops the waiting call and all other state of a thread that has ended.
    pub(crate) fn give_up_ended_thread(&mut self, tid: u32) {
        self.task_ended(tid);
        self.give_up_thread(tid);
        self.pending.forget(tid);
        self.host.guard.remove(tid);
    }

    /// Drops those of these calls whose threads no longer wait.
    pub(crate) fn give_up_invalid(&mut self, slots: Vec<u32>) {
        for slot in slots {
            let waiting = self.pending.slots.get(&slot);
            if waiting.is_some_and(|w| !self.host.listener.is_valid(w.notif.id)) {
                self.give_up(slot);
            }
        }
    }
}

/// Removes a waiting call's descriptors (of a poll or a receive) from the supervisor's epoll set.
fn unregister(host: &Host, waiting: &Waiting) {
    match &waiting.kind {
        Kind::Poll(polling) => polling
            .borrowed()
            .for_each(|fd| host.events.remove(fd.as_raw_fd())),
        Kind::Receive(socket) => host.events.remove(socket.as_raw_fd()),
        _ => {}
    }
}
