//! The ioctls: numbers, names, and the fields that a trace shows.

use crate::sys;
use std::fmt;

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A dma-heap, `/dev/dma_heap/NAME`.
    Heap,
    /// `/dev/udmabuf`.
    Udmabuf,
    /// A sync file.
    SyncFile,
    /// A timeline, `/sys/kernel/debug/sync/sw_sync`.
    Timeline,
    /// A dma-buf.
    DmaBuf,
}

/// How a field is shown.
#[derive(Clone, Copy, Debug)]
enum Form {
    Plain,
    /// A descriptor.
    Fd,
    Hex,
    /// `DMA_BUF_SYNC_*`.
    Access,
}

/// A field of a structure that a trace shows.
#[derive(Debug)]
pub(crate) struct Field {
    name: &'static str,
    at: usize,
    bytes: usize,
    form: Form,
}

/// Properties of an ioctl.
#[derive(Debug)]
pub(crate) struct CallSpec {
    pub(crate) call: Call,
    pub(crate) number: u32,
    name: &'static str,
    of: FileKind,
    asks: bool,
    arguments: &'static [Field],
    results: &'static [Field],
}

/// Returns the size of a field.
const fn width<S, T>(_: fn(&S) -> &T) -> usize {
    size_of::<T>()
}

macro_rules! fields {
    ($ty:ident: $($name:ident $form:ident)*) => {
        &[$(Field {
            name: stringify!($name),
            at: core::mem::offset_of!(sys::$ty, $name),
            bytes: width(|all: &sys::$ty| &all.$name),
            form: Form::$form,
        }),*]
    };
}

/// Whether a call only asks, so that its failure is no refusal.
macro_rules! asks {
    (asks) => {
        true
    };
    (acts) => {
        false
    };
}

/// Defines [`Call`] and [`REQUESTS`] by one row for each ioctl: the file's kind, the number, whether it only asks,
/// its structure, and the fields that a trace shows before and after it.
macro_rules! requests {
    ($($call:ident = $kind:ident $number:ident $asks:ident $ty:ident
        [$($asked:ident $asked_form:ident)*] => [$($told:ident $told_form:ident)*];)*) => {
        /// The operation of an ioctl.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Call { $($call),* }

        /// Every ioctl of every kind.
        pub(crate) static REQUESTS: &[CallSpec] = &[$(CallSpec {
            call: Call::$call,
            number: sys::$number,
            name: stringify!($number),
            of: FileKind::$kind,
            asks: asks!($asks),
            arguments: fields!($ty: $($asked $asked_form)*),
            results: fields!($ty: $($told $told_form)*),
        }),*];
    };
}

requests! {
    Allocate = Heap DMA_HEAP_IOCTL_ALLOC acts dma_heap_allocation_data
        [len Plain fd_flags Hex] => [fd Fd];
    Create = Udmabuf UDMABUF_CREATE acts udmabuf_create
        [memfd Fd offset Plain size Plain] => [];
    CreateList = Udmabuf UDMABUF_CREATE_LIST acts udmabuf_create_list [count Plain] => [];
    Merge = SyncFile SYNC_IOC_MERGE acts sync_merge_data [fd2 Fd] => [fence Fd];
    Info = SyncFile SYNC_IOC_FILE_INFO asks sync_file_info
        [num_fences Plain] => [status Fd num_fences Plain];
    SetDeadline = SyncFile SYNC_IOC_SET_DEADLINE asks sync_set_deadline [deadline_ns Plain] => [];
    CreateFence = Timeline SW_SYNC_IOC_CREATE_FENCE acts sw_sync_create_fence_data
        [value Plain] => [fence Fd];
    Increment = Timeline SW_SYNC_IOC_INC acts sw_sync_increment [value Plain] => [];
    Deadline = Timeline SW_SYNC_GET_DEADLINE asks sw_sync_get_deadline [fence_fd Fd] => [];
    Sync = DmaBuf DMA_BUF_IOCTL_SYNC acts dma_buf_sync [flags Access] => [];
    ExportSyncFile = DmaBuf DMA_BUF_IOCTL_EXPORT_SYNC_FILE acts dma_buf_export_sync_file
        [flags Access] => [fd Fd];
    ImportSyncFile = DmaBuf DMA_BUF_IOCTL_IMPORT_SYNC_FILE acts dma_buf_import_sync_file
        [flags Access fd Fd] => [];
    SetNameA = DmaBuf DMA_BUF_SET_NAME_A acts none [] => [];
    SetNameB = DmaBuf DMA_BUF_SET_NAME_B acts none [] => [];
}

impl FileKind {
    /// Finds an ioctl by its number. A heap only looks at `_IOC_NR`, as in Linux.
    ///
    /// Source: Linux 6.12 drivers/dma-buf/dma-heap.c `dma_heap_ioctl`.
    pub(crate) fn find(self, request: u32) -> Option<Call> {
        let is_it = |known: u32| match self {
            Self::Heap => known & 0xff == request & 0xff,
            _ => known == request,
        };
        let mut own = REQUESTS.iter().filter(|spec| spec.of == self);
        own.find(|spec| is_it(spec.number)).map(|spec| spec.call)
    }
}

fn lookup(request: u32) -> Option<&'static CallSpec> {
    REQUESTS.iter().find(|spec| spec.number == request)
}

/// Returns the name of an ioctl, such as `DMA_HEAP_IOCTL_ALLOC`.
#[must_use]
pub fn name(request: u32) -> Option<&'static str> {
    lookup(request).map(|spec| spec.name)
}

/// Returns whether an ioctl only asks, so that its failure is an ordinary answer and no refusal.
#[must_use]
pub fn asks(request: u32) -> bool {
    lookup(request).is_some_and(|spec| spec.asks)
}

/// The value of a field, for traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// A number.
    Number(i64),
    /// An unsigned number.
    Unsigned(u64),
    /// Flags.
    Word(String),
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Unsigned(number) => number.fmt(f),
            Self::Word(word) => word.fmt(f),
        }
    }
}

/// Returns the fields of an ioctl's structure that mean something before the call. Missing bytes count as zero.
#[must_use]
pub fn arguments(request: u32, bytes: &[u8]) -> Vec<(&'static str, Shown)> {
    lookup(request).map_or_else(Vec::new, |spec| shown(spec.arguments, bytes))
}

/// Returns the fields of an ioctl's structure that mean something after a successful call.
#[must_use]
pub fn results(request: u32, bytes: &[u8]) -> Vec<(&'static str, Shown)> {
    lookup(request).map_or_else(Vec::new, |spec| shown(spec.results, bytes))
}

fn shown(fields: &[Field], bytes: &[u8]) -> Vec<(&'static str, Shown)> {
    let value = |field: &Field| {
        let mut word = [0; 8];
        let own = bytes.get(field.at..).unwrap_or_default();
        for (to, from) in word.iter_mut().zip(own.iter().take(field.bytes)) {
            *to = *from;
        }
        let number = u64::from_le_bytes(word);
        match field.form {
            Form::Plain => Shown::Unsigned(number),
            // CAST: the field has 32 bits.
            Form::Fd => Shown::Number((number as i32).into()),
            Form::Hex => Shown::Word(format!("{number:#x}")),
            Form::Access => Shown::Word(access(number)),
        }
    };
    fields
        .iter()
        .map(|field| (field.name, value(field)))
        .collect()
}

/// Formats `DMA_BUF_SYNC_*` flags by name, and other bits as a number.
fn access(flags: u64) -> String {
    const NAMES: [(u32, &str); 3] = [
        (sys::DMA_BUF_SYNC_READ, "READ"),
        (sys::DMA_BUF_SYNC_WRITE, "WRITE"),
        (sys::DMA_BUF_SYNC_END, "END"),
    ];
    let mut rest = flags;
    let mut words = Vec::new();
    for (bit, name) in NAMES {
        if flags & u64::from(bit) != 0 {
            rest &= !u64::from(bit);
            words.push(name.to_owned());
        }
    }
    match (rest, words.is_empty()) {
        (0, true) => words.push("0".to_owned()),
        (0, false) => {}
        (rest, _) => words.push(format!("{rest:#x}")),
    }
    words.join("|")
}
