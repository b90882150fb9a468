//! What the C side calls. Unless it says otherwise: with the queue's lock, from no callback.
// UNSAFETY: pointers come from the C side, which promises what each function says.

use crate::memory::{DmaBuf, KernelMemory};
use crate::state::State;
use crate::sys::{self, Core, Facts, GivenConfig, GivenPlane};
use core::ffi::{c_int, c_void};
use vb3_queue::{
    BufferState, Coherency, DoneState, Error, ExportAccess, Fault, Interest, MAX_PLANES, Memory,
    PlaneRequest, PlaneSource, QueueBuffer, Readiness, Sink, Source,
};

/// Makes the state of a queue; NULL without memory, or with a configuration that cannot be.
///
/// # Safety
/// `core` outlives the state.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3core_new(core: *mut Core, given: *const GivenConfig) -> *mut State {
    // SAFETY: the C side's own structure.
    State::new(core, unsafe { &*given }).unwrap_or(core::ptr::null_mut())
}

/// Releases the queue and ends its state.
///
/// # Safety
/// `state` is of [`vb3core_new`] and not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3core_free(state: *mut State) {
    // SAFETY: the C side's promise.
    unsafe { State::free(state) };
}

/// `enum vb2_memory` as ours.
fn memory(number: u32) -> Option<Memory> {
    match number {
        1 => Some(Memory::Mmap),
        2 => Some(Memory::UserPtr),
        4 => Some(Memory::DmaBuf),
        _ => None,
    }
}

fn number(memory: Option<Memory>) -> u32 {
    match memory {
        None => 0,
        Some(Memory::Mmap) => 1,
        Some(Memory::UserPtr) => 2,
        Some(Memory::DmaBuf) => 4,
    }
}

fn coherency(non_coherent: bool) -> Coherency {
    if non_coherent {
        Coherency::NonCoherent
    } else {
        Coherency::Coherent
    }
}

const EINVAL: c_int = -22;

/// REQBUFS: makes `count` buffers, or frees all.
///
/// # Safety
/// `state` is there; `count` is the C side's own.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3core_reqbufs(
    state: *mut State,
    kind: u32,
    non_coherent: bool,
    count: *mut u32,
) -> c_int {
    let Some(kind) = memory(kind) else {
        return EINVAL;
    };
    // SAFETY: the C side's promise.
    let ret = unsafe {
        State::call(state, |session| {
            let made = session.reqbufs(kind, *count, coherency(non_coherent))?;
            *count = made.count;
            Ok(())
        })
    };
    // SAFETY: as above.
    unsafe { State::flush(state) };
    ret
}

/// CREATE_BUFS with planes of `sizes` bytes.
///
/// # Safety
/// `state` is there; `sizes` are `planes` many, and the rest is the C side's own.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3core_create_bufs(
    state: *mut State,
    kind: u32,
    non_coherent: bool,
    sizes: *const u32,
    planes: u32,
    count: *mut u32,
    first: *mut u32,
) -> c_int {
    let (Some(kind), Ok(planes)) = (memory(kind), usize::try_from(planes)) else {
        return EINVAL;
    };
    let mut bytes = [0_u64; MAX_PLANES];
    // SAFETY: as many as the C side says.
    let sizes = unsafe { core::slice::from_raw_parts(sizes, planes) };
    for (to, from) in bytes.iter_mut().zip(sizes) {
        *to = u64::from(*from);
    }
    // SAFETY: the C side's promise.
    unsafe {
        State::call(state, |session| {
            let bytes = bytes.get(..planes).unwrap_or(&[]);
            let made = session.create_bufs(kind, *count, coherency(non_coherent), bytes)?;
            *count = made.count;
            *first = made.first_index;
            Ok(())
        })
    }
}

/// REMOVE_BUFS.
///
/// # Safety
/// `state` is there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3core_remove_bufs(state: *mut State, first: u32, count: u32) -> c_int {
    // SAFETY: the C side's promise.
    let ret = unsafe { State::call(state, |session| session.remove_bufs(first, count)) };
    // SAFETY: as above.
    unsafe { State::flush(state) };
    ret
}

/// What a program says of a plane, as the queue takes it.
fn plane(kind: Memory, given: &GivenPlane) -> PlaneRequest<KernelMemory> {
    let source = match kind {
        Memory::Mmap => PlaneSource::Mmap,
        Memory::UserPtr => PlaneSource::UserPtr {
            user: (),
            addr: given.userptr,
        },
        Memory::DmaBuf => PlaneSource::DmaBuf {
            buf: (!given.dmabuf.is_null()).then_some(DmaBuf(given.dmabuf)),
            fd: given.fd,
        },
    };
    PlaneRequest {
        // The front end has checked these, and keeps them where drivers look.
        payload_bytes: 0,
        data_offset: 0,
        length_bytes: given.length,
        source,
    }
}

/// QBUF, or PREPARE_BUF. References to dma-bufs pass to the queue.
///
/// # Safety
/// `state` is there, `planes` are `count` many.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3core_qbuf(
    state: *mut State,
    index: u32,
    kind: u32,
    planes: *const GivenPlane,
    count: u32,
    prepare: bool,
) -> c_int {
    let (Some(kind), Ok(count)) = (memory(kind), usize::try_from(count)) else {
        return EINVAL;
    };
    let mut wanted = QueueBuffer::new(index, kind);
    // SAFETY: as many as the C side says.
    let given = unsafe { core::slice::from_raw_parts(planes, count) };
    for (to, from) in wanted.planes.iter_mut().zip(given) {
        *to = Some(plane(kind, from));
    }
    // SAFETY: the C side's promise.
    unsafe {
        State::call(state, |session| {
            if prepare {
                session.prepare_buf(wanted)?;
            } else {
                session.qbuf(wanted)?;
            }
            Ok(())
        })
    }
}

/// DQBUF: the next buffer that is done; EAGAIN where there is none yet.
///
/// # Safety
/// `state` is there; `index` is the C side's own.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3core_dqbuf(state: *mut State, index: *mut u32) -> c_int {
    // SAFETY: the C side's promise.
    unsafe {
        State::call(state, |session| {
            *index = session.dqbuf(MAX_PLANES)?.index;
            Ok(())
        })
    }
}

/// STREAMON and STREAMOFF.
///
/// # Safety
/// `state` is there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3core_stream(state: *mut State, on: bool) -> c_int {
    // SAFETY: the C side's promise.
    unsafe {
        State::call(state, |session| {
            if on {
                session.streamon()
            } else {
                session.streamoff()
            }
        })
    }
}

/// EXPBUF.
///
/// # Safety
/// `state` is there; `dmabuf` is the C side's own.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3core_expbuf(
    state: *mut State,
    index: u32,
    plane: u32,
    access: u32,
    dmabuf: *mut *mut c_void,
) -> c_int {
    let access = match access {
        0 => ExportAccess::ReadOnly,
        1 => ExportAccess::WriteOnly,
        _ => ExportAccess::ReadWrite,
    };
    // SAFETY: the C side's promise.
    unsafe {
        State::call(state, |session| {
            *dmabuf = session.expbuf(index, plane, access)?.0;
            Ok(())
        })
    }
}

/// poll: 0 for nothing yet, 1 for ready, 2 for an error.
///
/// # Safety
/// `state` is there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3core_poll(state: *mut State, readable: bool, writable: bool) -> c_int {
    let mut answer = Readiness::Nothing;
    // SAFETY: the C side's promise.
    unsafe {
        State::call(state, |session| {
            answer = session.poll(Interest { readable, writable });
            Ok(())
        });
    }
    match answer {
        Readiness::Nothing => 0,
        Readiness::Ready => 1,
        Readiness::Error => 2,
    }
}

/// A program's memory, for read() and write().
struct User(*mut c_void);

impl User {
    fn copy(&self, offset: u64, bytes: *mut u8, len: usize, out: bool) -> Result<(), Fault> {
        // SAFETY: `bytes` has `len` bytes; the program's memory may be bad.
        let ret = unsafe { sys::vb3core_c_copy_user(self.0, offset, bytes, len as u64, out) };
        if ret < 0 { Err(Fault) } else { Ok(()) }
    }
}

impl Sink for User {
    fn put(&mut self, offset: u64, data: &[u8]) -> Result<(), Fault> {
        self.copy(offset, data.as_ptr().cast_mut(), data.len(), true)
    }
}

impl Source for User {
    fn get(&mut self, offset: u64, out: &mut [u8]) -> Result<(), Fault> {
        self.copy(offset, out.as_mut_ptr(), out.len(), false)
    }
}

/// read() and write(): bytes moved, or an errno.
///
/// # Safety
/// `state` is there; `user` is an address in the calling program.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3core_fileio(
    state: *mut State,
    user: *mut c_void,
    len: u64,
    write: bool,
    now_ns: u64,
) -> i64 {
    let mut moved = 0;
    let mut user = User(user);
    // SAFETY: the C side's promise.
    let ret = unsafe {
        State::call(state, |session| {
            moved = if write {
                session.write(&mut user, len, now_ns)?
            } else {
                session.read(&mut user, len)?
            };
            Ok::<(), Error>(())
        })
    };
    if ret < 0 {
        i64::from(ret)
    } else {
        i64::try_from(moved).unwrap_or(i64::MAX)
    }
}

/// The device has failed.
///
/// # Safety
/// `state` is there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3core_set_error(state: *mut State) {
    // SAFETY: the C side's promise.
    unsafe { State::queue_mut(state) }.set_error();
}

/// A caller begins to sleep in DQBUF; EBUSY where another does.
///
/// # Safety
/// `state` is there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3core_begin_wait(state: *mut State) -> c_int {
    // SAFETY: the C side's promise.
    unsafe { State::begin_wait(state) }
}

/// It sleeps no longer.
///
/// # Safety
/// `state` is there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3core_end_wait(state: *mut State) {
    // SAFETY: the C side's promise.
    unsafe { State::end_wait(state) };
}

/// What of the queue is shown in the structures that drivers look at.
///
/// # Safety
/// `state` is there; `facts` is the C side's own.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3core_facts(state: *const State, facts: *mut Facts) {
    // SAFETY: the C side's promise.
    let queue = unsafe { State::queue(state) };
    let known = Facts {
        num_buffers: queue.num_buffers(),
        queued_count: queue.queued_count(),
        memory: number(queue.memory()),
        streaming: queue.is_streaming(),
        started: queue.is_started(),
        busy: queue.is_busy(),
        fileio: queue.fileio_active(),
    };
    // SAFETY: the C side's promise.
    unsafe { facts.write(known) };
}

/// Who has a buffer, in the numbers of `enum vb2_buffer_state`, with bit 8 where it is prepared; -1
/// where there is none.
///
/// # Safety
/// `state` is there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3core_buffer(state: *mut State, index: u32) -> c_int {
    let mut answer = -1;
    // SAFETY: the C side's promise.
    unsafe {
        State::call(state, |session| {
            if let Ok(info) = session.querybuf(index) {
                let who = match info.state {
                    BufferState::InRequest => 1,
                    BufferState::Preparing => 2,
                    BufferState::Queued => 3,
                    BufferState::Active => 4,
                    BufferState::Done => 5,
                    BufferState::Error => 6,
                    _ => 0,
                };
                answer = who | (c_int::from(info.prepared) << 8);
            }
            Ok(())
        });
    }
    answer
}

/// The driver has finished with a buffer (in any context, with `done_lock`): whether it had it.
///
/// # Safety
/// `state` is there, `done_lock` held, `payloads` as many as there can be planes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3core_done(
    state: *const State,
    index: u32,
    error: bool,
    payloads: *const [u64; MAX_PLANES],
) -> bool {
    let outcome = if error {
        DoneState::Error
    } else {
        DoneState::Done
    };
    // SAFETY: the C side's promise.
    unsafe { State::shared(state).finish(index, outcome, *payloads) }
}

/// The epoch in which the driver got a buffer (in any context, with `done_lock`); 0 if it has not got it.
///
/// # Safety
/// `state` is there, `done_lock` held.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3core_turn(state: *const State, index: u32) -> u64 {
    // SAFETY: the C side's promise.
    unsafe { State::shared(state).epoch(index) }
}

/// The driver gives back a buffer that it could not start with (in any context, with `done_lock`).
///
/// # Safety
/// `state` is there, `done_lock` held.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vb3core_give_back(state: *const State, index: u32) {
    // SAFETY: the C side's promise.
    unsafe { State::shared(state).give_back(index) };
}
