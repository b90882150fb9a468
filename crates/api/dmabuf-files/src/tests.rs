use crate::sys;
use crate::udmabuf::{MAX_BYTES, checked_len};
use crate::{Allocate, DmaBufRequest, Item, Merge, SyncFileRequest, TimelineRequest};
use vb3_dmabuf::fence::Usage;
use vb3_frontend::{
    Call, CallId, Errno, FileAccess, FileId, Gathered, Ioctl, NumberAt, On, Op, Origin, Step,
};

const AT: u64 = 0x1000;

/// Reads a request whose structure is the last that the program can read.
fn read<T>(
    request: u32,
    structure: &[u8],
    read: impl FnOnce(Ioctl<'_>) -> Result<T, Errno>,
) -> Result<T, Errno> {
    let mut have = Gathered::default();
    have.add_bytes(AT, structure.to_vec(), true);
    let call = Call {
        id: CallId(1),
        origin: Origin::process(1, 1),
        on: On::File(FileId(1)),
        op: Op::Ioctl { request, arg: AT },
        nonblocking: false,
        have: &have,
    };
    let step = Step::new(&call);
    read(Ioctl::new(request, AT, &step))
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// `struct dma_heap_allocation_data`.
fn data(len: u64, fd: u32, fd_flags: u32, heap_flags: u64) -> Vec<u8> {
    let parts = [
        &len.to_ne_bytes()[..],
        &words(&[fd, fd_flags]),
        &heap_flags.to_ne_bytes(),
    ];
    parts.concat()
}

fn allocate(structure: &[u8], page_bytes: u64) -> Result<Allocate, Errno> {
    read(Allocate::NUMBER, structure, |call| {
        Allocate::read(call, page_bytes)
    })
}

#[test]
fn a_heap_refuses_what_linux_refuses() {
    for bad in [
        data(0, 0, 0, 0),
        data(u64::MAX, 0, 0, 0),
        data(4096, 1, 0, 0),
        data(4096, 0, 0o4000, 0),
        data(4096, 0, 0, 1),
    ] {
        assert_eq!(allocate(&bad, 4096), Err(Errno::EINVAL), "{bad:?}");
    }
    assert_eq!(allocate(&[0; 23], 4096), Err(Errno::EFAULT));
    let other = read(Allocate::NUMBER + 1, &data(1, 0, 0, 0), |call| {
        Allocate::read(call, 4096)
    });
    assert_eq!(other, Err(Errno::EINVAL), "only _IOC_NR counts");
}

#[test]
fn a_heap_rounds_lengths_to_pages() {
    let large = allocate(&data(4097, 0, 2, 0), 16 << 10).unwrap();
    assert_eq!(large.len_bytes, 16 << 10);
    let good = allocate(&data(1, 0, 0o2_000_002, 0), 4096);
    let wanted = Allocate {
        len_bytes: 4096,
        access: FileAccess::ReadWrite,
        cloexec: true,
        number: NumberAt::Address(AT + 8),
    };
    assert_eq!(good, Ok(wanted));
    // An older structure is shorter, and the rest counts as zero.
    let short = Allocate::NUMBER & !(0x3fff << 16) | 8 << 16;
    let found = read(short, &4096u64.to_ne_bytes(), |call| {
        Allocate::read(call, 4096)
    })
    .unwrap();
    assert_eq!(found.access, FileAccess::ReadOnly);
}

#[test]
fn udmabuf_lengths_are_whole_pages() {
    let len = |parts: &[(u64, u64)]| {
        let item = |&(offset, size)| Item {
            memfd: 3,
            offset,
            size,
        };
        let items: Vec<Item> = parts.iter().map(item).collect();
        checked_len(&items, 4096)
    };
    assert_eq!(len(&[(0, 4096), (8192, 4096)]), Ok(8192));
    assert_eq!(len(&[(0, MAX_BYTES)]), Ok(MAX_BYTES));
    for bad in [
        &[][..],
        &[(0, 0)],
        &[(1, 4096)],
        &[(0, 4097)],
        &[(0, MAX_BYTES + 4096)],
        &[(0, u64::MAX - 4095), (0, 8192)],
    ] {
        assert_eq!(len(bad), Err(Errno::EINVAL), "{bad:?}");
    }
}

#[test]
fn dma_buf_requests_check_their_flags() {
    let usage = |flags| {
        let bytes = words(&[flags, 9]);
        read(
            sys::DMA_BUF_IOCTL_IMPORT_SYNC_FILE,
            &bytes,
            DmaBufRequest::read,
        )
    };
    let import = |usage| Ok(DmaBufRequest::ImportSyncFile { usage, fd: 9 });
    assert_eq!(usage(1), import(Usage::Read));
    assert_eq!(
        [usage(2), usage(3)],
        [import(Usage::Write), import(Usage::Write)]
    );
    assert_eq!(
        [usage(0), usage(4)],
        [Err(Errno::EINVAL), Err(Errno::EINVAL)]
    );
    let named = |name: &[u8]| read(sys::DMA_BUF_SET_NAME_B, name, DmaBufRequest::read);
    assert_eq!(named(b"camera\0"), Ok(DmaBufRequest::SetName));
    assert_eq!(named(&[b'x'; 33]), Err(Errno::EINVAL));
    assert_eq!(named(b"camera"), Err(Errno::EFAULT));
    let other = read(Allocate::NUMBER, &[0; 24], DmaBufRequest::read);
    assert_eq!(other, Err(Errno::ENOTTY));
}

#[test]
fn sync_file_requests_check_their_padding() {
    let merge = |words: [u32; 4]| {
        let bytes = [&[b'n'; 32][..], &self::words(&words)].concat();
        read(sys::SYNC_IOC_MERGE, &bytes, SyncFileRequest::read)
    };
    let Ok(SyncFileRequest::Merge(Merge { name, fd, number })) = merge([8, 0, 0, 0]) else {
        panic!("a merge");
    };
    assert_eq!((name[30], name[31], fd), (b'n', 0, 8));
    assert_eq!(number, NumberAt::Address(AT + 36));
    for bad in [merge([8, 0, 1, 0]), merge([8, 0, 0, 1])] {
        assert_eq!(bad.err(), Some(Errno::EINVAL));
    }
    let deadline = words(&[1, 0, 1, 0]);
    let bad = read(sys::SYNC_IOC_SET_DEADLINE, &deadline, SyncFileRequest::read);
    assert_eq!(bad.err(), Some(Errno::EINVAL));
}

#[test]
fn sw_sync_numbers_are_the_kernels() {
    let numbers = [
        (sys::SW_SYNC_IOC_CREATE_FENCE, 0xc028_5700),
        (sys::SW_SYNC_IOC_INC, 0x4004_5701),
        (sys::SW_SYNC_GET_DEADLINE, 0xc010_5702),
    ];
    for (ours, linux) in numbers {
        assert_eq!(ours, linux);
    }
    let made = read(
        sys::SW_SYNC_IOC_CREATE_FENCE,
        &[5; 40],
        TimelineRequest::read,
    );
    let wanted = TimelineRequest::CreateFence {
        value: 0x0505_0505,
        number: NumberAt::Address(AT + 36),
    };
    assert_eq!(made, Ok(wanted));
}

#[test]
fn traces_show_names_and_fields() {
    assert_eq!(
        crate::name(sys::DMA_BUF_IOCTL_SYNC),
        Some("DMA_BUF_IOCTL_SYNC")
    );
    assert_eq!(crate::name(0), None);
    let shown = |fields: Vec<(&str, crate::Shown)>| {
        let all = fields.iter().map(|(name, value)| format!("{name}={value}"));
        all.collect::<Vec<_>>().join(" ")
    };
    let bytes = data(4096, 7, 2, 0);
    assert_eq!(
        shown(crate::arguments(Allocate::NUMBER, &bytes)),
        "len=4096 fd_flags=0x2"
    );
    assert_eq!(shown(crate::results(Allocate::NUMBER, &bytes)), "fd=7");
    let flags = |flags: u64| {
        shown(crate::arguments(
            sys::DMA_BUF_IOCTL_SYNC,
            &flags.to_ne_bytes(),
        ))
    };
    assert_eq!(
        [flags(0), flags(7), flags(9)],
        ["flags=0", "flags=READ|WRITE|END", "flags=READ|0x8"]
    );
}
