//! Conversion of `v4l2_buffer` and `v4l2_plane` from and to the program.

use crate::bytes::{Image, field, read_user, write_user};
use crate::shown::is_mplane;
use crate::{Error, Program, arrays, sys};
use vb3_plane::MemOps;
use vb3_queue::{
    BufferInfo, BufferState, HintSkip, MAX_PLANES, Memory, PlaneLocation, PlaneRequest,
    PlaneSource, PlaneView, QueueBuffer,
};

const PLANE: usize = arrays::PLANES.element;
const M: usize = field!(v4l2_buffer.m);
const PLANE_M: usize = field!(v4l2_plane.m);

/// Flags of an OUTPUT buffer that the queue stores without interpreting them.
/// They are the frame kind, the timestamp source, and whether the device holds the CAPTURE buffer.
const FRAME_FLAGS: u32 = sys::V4L2_BUF_FLAG_KEYFRAME
    | sys::V4L2_BUF_FLAG_PFRAME
    | sys::V4L2_BUF_FLAG_BFRAME
    | sys::V4L2_BUF_FLAG_M2M_HOLD_CAPTURE_BUF
    | sys::V4L2_BUF_FLAG_TSTAMP_SRC_MASK;

/// Returns the memory model of `V4L2_MEMORY_*`. EINVAL for any other number.
pub(crate) fn memory_from(number: u32) -> Result<Memory, Error> {
    match number {
        sys::V4L2_MEMORY_MMAP => Ok(Memory::Mmap),
        sys::V4L2_MEMORY_USERPTR => Ok(Memory::UserPtr),
        sys::V4L2_MEMORY_DMABUF => Ok(Memory::DmaBuf),
        _ => Err(Error::Invalid),
    }
}

fn memory_number(memory: Memory) -> u32 {
    match memory {
        Memory::Mmap => sys::V4L2_MEMORY_MMAP,
        Memory::UserPtr => sys::V4L2_MEMORY_USERPTR,
        Memory::DmaBuf => sys::V4L2_MEMORY_DMABUF,
    }
}

/// A program's description of one plane.
#[derive(Clone, Copy, Debug, Default)]
struct UserPlane {
    bytesused: u32,
    length: u32,
    data_offset: u32,
    /// The union `m`: an offset, an address or a descriptor.
    place: u64,
}

/// The plane array of a multi-planar buffer.
#[derive(Debug)]
struct PlaneArray {
    addr: u64,
    count: usize,
    bytes: [u8; MAX_PLANES * PLANE],
}

impl PlaneArray {
    fn used(&mut self) -> &mut [u8] {
        self.bytes.get_mut(..self.count * PLANE).unwrap_or_default()
    }
}

/// A program's description of a buffer: a copy, which the program cannot change.
#[derive(Debug)]
pub(crate) struct UserBuffer {
    pub(crate) index: u32,
    pub(crate) ty: u32,
    /// Descriptor of a media request, if given.
    pub(crate) request_fd: Option<i32>,
    flags: u32,
    field: u32,
    timestamp_ns: u64,
    timecode: [u8; 16],
    memory: u32,
    planes: [UserPlane; MAX_PLANES],
    array: Option<PlaneArray>,
}

impl UserBuffer {
    /// Parses the structure and reads its planes.
    ///
    /// # Errors
    /// EINVAL for more than 8 planes, EFAULT for an unreadable array (also NULL).
    pub(crate) fn read<Mem: MemOps>(
        arg: &Image<&mut [u8]>,
        program: &dyn Program<Mem>,
    ) -> Result<Self, Error> {
        let ty = arg.u32(field!(v4l2_buffer.type_));
        let length = arg.u32(field!(v4l2_buffer.length));
        let mut planes = [UserPlane::default(); MAX_PLANES];
        let array = if is_mplane(ty) {
            let mut array = read_array(arg, program)?;
            for (to, bytes) in planes.iter_mut().zip(array.used().chunks_exact_mut(PLANE)) {
                *to = read_plane(&Image(bytes));
            }
            Some(array)
        } else {
            if let Some(first) = planes.first_mut() {
                first.bytesused = arg.u32(field!(v4l2_buffer.bytesused));
                first.length = length;
                first.place = arg.u64(M);
            }
            None
        };
        let flags = arg.u32(field!(v4l2_buffer.flags));
        let request_fd = arg.i32(field!(v4l2_buffer.__bindgen_anon_1));
        let named = flags & sys::V4L2_BUF_FLAG_REQUEST_FD != 0;
        Ok(Self {
            index: arg.u32(field!(v4l2_buffer.index)),
            ty,
            request_fd: named.then_some(request_fd),
            flags,
            field: arg.u32(field!(v4l2_buffer.field)),
            timestamp_ns: read_time(arg),
            timecode: arg.bytes(field!(v4l2_buffer.timecode)),
            memory: arg.u32(field!(v4l2_buffer.memory)),
            planes,
            array,
        })
    }

    /// Returns the length of the program's plane array.
    pub(crate) fn max_planes(&self) -> usize {
        self.array.as_ref().map_or(1, |array| array.count)
    }

    /// Converts the buffer's first `num_planes` planes to a queue request, with references to its
    /// dma-bufs.
    ///
    /// # Errors
    /// EINVAL for an unknown memory model.
    pub(crate) fn request<Mem: MemOps>(
        &self,
        mem: &mut Mem,
        num_planes: usize,
        program: &dyn Program<Mem>,
    ) -> Result<QueueBuffer<Mem>, Error> {
        let memory = memory_from(self.memory)?;
        let mut request = QueueBuffer::new(self.index, memory);
        request.timestamp_ns = self.timestamp_ns;
        request.field = self.field;
        request.with_request = self.request_fd.is_some();
        let has_timecode = self.flags & sys::V4L2_BUF_FLAG_TIMECODE != 0;
        request.timecode = has_timecode.then_some(self.timecode);
        request.frame_flags = self.flags & FRAME_FLAGS;
        for (flag, hint) in HINTS {
            request.hints.set(hint, self.flags & flag != 0);
        }
        let mut missing = Ok(());
        for (to, plane) in request.planes.iter_mut().zip(&self.planes).take(num_planes) {
            // The host fetches the memory of all planes at once.
            let mut user = || match program.user(plane.place, plane.length.into()) {
                Ok(user) => Some(user),
                Err(errno) => {
                    missing = missing.and(Err(errno));
                    None
                }
            };
            *to = Some(PlaneRequest {
                payload_bytes: plane.bytesused.into(),
                length_bytes: plane.length.into(),
                data_offset: plane.data_offset.into(),
                source: match memory {
                    Memory::Mmap => PlaneSource::Mmap,
                    Memory::UserPtr => match user() {
                        Some(user) => PlaneSource::UserPtr {
                            user,
                            addr: plane.place,
                        },
                        None => continue,
                    },
                    Memory::DmaBuf => {
                        let fd = descriptor(plane.place);
                        PlaneSource::DmaBuf {
                            buf: program.resolve_dmabuf(mem, fd).ok(),
                            fd,
                        }
                    }
                },
            });
        }
        missing?;
        Ok(request)
    }

    /// Writes the queue's buffer information, and the device's `flags`, to `arg` and the plane array.
    pub(crate) fn fill(&mut self, arg: &mut Image<&mut [u8]>, info: &BufferInfo, flags: u32) {
        arg.set_u32(field!(v4l2_buffer.index), info.index);
        arg.set_u32(field!(v4l2_buffer.type_), self.ty);
        arg.set_u32(field!(v4l2_buffer.flags), flags | state_flags(info));
        arg.set_u32(field!(v4l2_buffer.field), info.field);
        write_time(arg, info.timestamp_ns);
        arg.set_bytes(
            field!(v4l2_buffer.timecode),
            info.timecode.unwrap_or_default(),
        );
        arg.set_u32(field!(v4l2_buffer.sequence), info.sequence);
        arg.set_u32(field!(v4l2_buffer.memory), memory_number(info.memory));
        arg.set_u32(field!(v4l2_buffer.reserved2), 0);
        let request_fd = info.request_fd.unwrap_or(0);
        arg.set_i32(field!(v4l2_buffer.__bindgen_anon_1), request_fd);
        if let Some(array) = &mut self.array {
            let planes = array.used().chunks_exact_mut(PLANE);
            for (bytes, plane) in planes.zip(info.planes.iter().flatten()) {
                fill_plane(&mut Image(bytes), plane);
            }
            let count = u32::try_from(info.num_planes()).unwrap_or(0);
            arg.set_u32(field!(v4l2_buffer.length), count);
            arg.set_u32(field!(v4l2_buffer.bytesused), 0);
        } else if let Some(plane) = info.planes.first().copied().flatten() {
            arg.set_u32(field!(v4l2_buffer.length), narrow(plane.length_bytes));
            arg.set_u32(field!(v4l2_buffer.bytesused), narrow(plane.payload_bytes));
            arg.set_u64(M, 0);
            set_place(arg, M, plane.cookie);
        }
    }

    /// Copies the plane array out to the program.
    ///
    /// # Errors
    /// EFAULT.
    pub(crate) fn write_planes<Mem: MemOps>(
        &mut self,
        program: &dyn Program<Mem>,
    ) -> Result<(), Error> {
        match &mut self.array {
            Some(array) if array.count != 0 => {
                let addr = array.addr;
                write_user(program, addr, array.used())
            }
            _ => Ok(()),
        }
    }
}

const HINTS: [(u32, HintSkip); 2] = [
    (sys::V4L2_BUF_FLAG_NO_CACHE_CLEAN, HintSkip::PREPARE),
    (sys::V4L2_BUF_FLAG_NO_CACHE_INVALIDATE, HintSkip::FINISH),
];

fn read_array<Mem: MemOps>(
    arg: &Image<&mut [u8]>,
    program: &dyn Program<Mem>,
) -> Result<PlaneArray, Error> {
    let (addr, count) = arrays::PLANES.checked(arg)?;
    let mut array = PlaneArray {
        addr,
        count,
        bytes: [0; MAX_PLANES * PLANE],
    };
    if count != 0 {
        read_user(program, addr, array.used())?;
    }
    Ok(array)
}

fn read_plane(image: &Image<&mut [u8]>) -> UserPlane {
    UserPlane {
        bytesused: image.u32(field!(v4l2_plane.bytesused)),
        length: image.u32(field!(v4l2_plane.length)),
        data_offset: image.u32(field!(v4l2_plane.data_offset)),
        place: image.u64(PLANE_M),
    }
}

fn fill_plane(image: &mut Image<&mut [u8]>, plane: &PlaneView<PlaneLocation>) {
    image.clear_from(0);
    image.set_u32(field!(v4l2_plane.bytesused), narrow(plane.payload_bytes));
    image.set_u32(field!(v4l2_plane.length), narrow(plane.length_bytes));
    image.set_u32(field!(v4l2_plane.data_offset), narrow(plane.data_offset));
    set_place(image, PLANE_M, plane.cookie);
}

fn set_place(image: &mut Image<&mut [u8]>, at: usize, place: PlaneLocation) {
    match place {
        PlaneLocation::Cookie(offset) => image.set_u32(at, narrow(offset)),
        PlaneLocation::UserPtr(addr) => image.set_u64(at, addr),
        PlaneLocation::Fd(fd) => image.set_i32(at, fd),
    }
}

/// Extracts the descriptor from the union's first 32 bits.
fn descriptor(place: u64) -> i32 {
    let [a, b, c, d, ..] = place.to_ne_bytes();
    i32::from_ne_bytes([a, b, c, d])
}

fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// Returns the `V4L2_BUF_FLAG_*` that the queue decides.
fn state_flags(info: &BufferInfo) -> u32 {
    let mut flags = match info.state {
        BufferState::Queued | BufferState::Active => sys::V4L2_BUF_FLAG_QUEUED,
        BufferState::Done | BufferState::Error => sys::V4L2_BUF_FLAG_DONE,
        BufferState::InRequest => sys::V4L2_BUF_FLAG_IN_REQUEST,
        _ => 0,
    };
    for (set, flag) in [
        (info.mapped, sys::V4L2_BUF_FLAG_MAPPED),
        (info.prepared, sys::V4L2_BUF_FLAG_PREPARED),
        (info.error, sys::V4L2_BUF_FLAG_ERROR),
        (info.request_fd.is_some(), sys::V4L2_BUF_FLAG_REQUEST_FD),
        (info.last, sys::V4L2_BUF_FLAG_LAST),
        (info.timecode.is_some(), sys::V4L2_BUF_FLAG_TIMECODE),
    ] {
        if set {
            flags |= flag;
        }
    }
    for (flag, hint) in HINTS {
        if info.hints.contains(hint) {
            flags |= flag;
        }
    }
    flags
}

/// Returns the program's timestamp in nanoseconds, as a signed number. As in Linux, only the lower 32 bits of the field
/// for microseconds count: {0, -200000}, which ffmpeg passes, means 4294.767296 s.
///
/// Source: Linux 7.2 include/media/v4l2-common.h `v4l2_buffer_get_timestamp`.
fn read_time(arg: &Image<&mut [u8]>) -> u64 {
    let at = field!(v4l2_buffer.timestamp);
    let seconds = arg.i64(at + field!(timeval.tv_sec));
    let micros = arg.u32(at + field!(timeval.tv_usec));
    let ns = seconds.wrapping_mul(1_000_000_000);
    ns.cast_unsigned().wrapping_add(u64::from(micros) * 1_000)
}

/// Writes a timestamp.
///
/// Source: Linux 7.2 include/media/v4l2-common.h `v4l2_buffer_set_timestamp`.
fn write_time(arg: &mut Image<&mut [u8]>, ns: u64) {
    let at = field!(v4l2_buffer.timestamp);
    let ns = ns.cast_signed();
    let seconds = ns.div_euclid(1_000_000_000).cast_unsigned();
    let micros = (ns.rem_euclid(1_000_000_000) / 1_000).cast_unsigned();
    arg.set_u64(at + field!(timeval.tv_sec), seconds);
    arg.set_u64(at + field!(timeval.tv_usec), micros);
}
