//! Settings of a queue.

use super::fake::FakeMem;
use crate::{Config, Error, Invalid, IoModes, Memory, Queue, QueueType};

fn make(change: impl FnOnce(&mut Config<u32>)) -> Result<Queue<FakeMem>, Invalid> {
    let mut config = Config::new(0, QueueType::Capture);
    change(&mut config);
    Queue::new(config).map_err(|e| match e {
        Error::Invalid(c) => {
            assert_eq!(e.errno(), 22);
            c
        }
        other => panic!("{other:?}"),
    })
}

#[test]
fn defaults_are_filled_in() {
    let queue = make(|c| c.max_num_buffers = 0).unwrap();
    assert_eq!(queue.config().max_num_buffers, 32);
    let queue = make(|c| c.min_queued_buffers = 3).unwrap();
    assert_eq!(queue.config().min_reqbufs_allocation, 4);
    let queue = make(|c| (c.min_queued_buffers, c.min_reqbufs_allocation) = (3, 8)).unwrap();
    assert_eq!(queue.config().min_reqbufs_allocation, 8);
    assert!(!queue.is_busy() && !queue.is_streaming() && !queue.has_buffers());
    assert_eq!(queue.memory(), None);
}

#[test]
fn limits_are_checked() {
    let too = |max| Invalid::MaxBuffers {
        max,
        least: 32,
        most: 32_768,
    };
    assert_eq!(make(|c| c.max_num_buffers = 31).err(), Some(too(31)));
    assert_eq!(
        make(|c| c.max_num_buffers = 32_769).err(),
        Some(too(32_769))
    );
    assert!(make(|c| c.max_num_buffers = 32_768).is_ok());
    assert_eq!(
        make(|c| (c.max_num_buffers, c.page_shift) = (4096, 16)).err(),
        Some(Invalid::MaxBuffers {
            max: 4096,
            least: 32,
            most: 2048
        })
    );
    assert_eq!(
        make(|c| c.min_queued_buffers = 33).err(),
        Some(Invalid::MinBuffers { min: 34, max: 32 })
    );
    assert_eq!(
        make(|c| c.min_queued_buffers = u32::MAX).err(),
        Some(Invalid::MinBuffers {
            min: u32::MAX,
            max: 32
        })
    );
    assert_eq!(
        make(|c| c.min_reqbufs_allocation = 40).err(),
        Some(Invalid::MinBuffers { min: 40, max: 32 })
    );
    assert_eq!(
        make(|c| c.page_shift = 11).err(),
        Some(Invalid::PageShift { shift: 11 })
    );
    assert_eq!(
        make(|c| c.io_modes = IoModes::READ).err(),
        Some(Invalid::NoMemoryModel)
    );
}

#[test]
fn each_model_has_its_mode() {
    let modes = [Memory::Mmap, Memory::UserPtr, Memory::DmaBuf].map(Memory::io_mode);
    assert_eq!(modes, [IoModes::MMAP, IoModes::USERPTR, IoModes::DMABUF]);
}
