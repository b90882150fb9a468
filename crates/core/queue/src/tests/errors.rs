//! Tests that every error has a valid errno and a sentence.

use super::std::string::ToString;
use crate::{Busy, Constraint, DriverError, Error, Invalid, Memory, PlaneError, Reason};

#[test]
fn every_error_has_its_errno() {
    let reason = Reason {
        constraint: Constraint::Ram,
        wanted: 2,
        found: 1,
    };
    let table = [
        (Error::Busy(Busy::FileIo), 16),
        (Error::Invalid(Invalid::PlaneSizes), 22),
        (Error::Invalid(Invalid::NoMemoryModel), 22),
        (Error::WouldBlock, 11),
        (Error::QueueError, 5),
        (Error::LastBuffer, 32),
        (Error::RequestUnsupported, 53),
        (Error::RequestRequired, 53),
        (Error::RequestEmpty, 2),
        (Error::Busy(Busy::UsesQbuf), 16),
        (Error::Busy(Busy::UsesRequests), 16),
        (Error::Invalid(Invalid::NoRequest { fd: -1 }), 22),
        (Error::QueueFull { max: 32 }, 105),
        (
            Error::NoMemory {
                wanted: 2,
                found: 1,
                cause: None,
            },
            12,
        ),
        (
            Error::TooManyForFileIo {
                wanted: 40,
                max: 32,
            },
            28,
        ),
        (Error::Fault, 14),
        (Error::Plane(PlaneError::Io(Some(reason))), 5),
        (Error::Driver(DriverError::ENXIO), 6),
        (Error::Driver(DriverError::Other(1)), 1),
        (Error::Driver(DriverError::Other(4095)), 4095),
        (Error::Driver(DriverError::Other(0)), 5),
        (Error::Driver(DriverError::Other(-22)), 5),
        (Error::Driver(DriverError::Other(4096)), 5),
    ];
    for (error, errno) in table {
        assert_eq!(error.errno(), errno, "{error:?}");
        assert!((1..=4095).contains(&error.errno()));
        assert!(!error.to_string().is_empty());
    }
    assert_eq!(
        Error::Plane(PlaneError::Io(Some(reason))).reason(),
        Some(reason)
    );
    assert_eq!(Error::WouldBlock.reason(), None);
    let (plane, wanted, found) = (1, 4096, 100);
    let short = Error::from(Invalid::LengthBelowSetup {
        plane,
        wanted,
        found,
    });
    assert_eq!(
        short.reason(),
        Some(Reason::new(Constraint::BufferSize, wanted, found))
    );
}

#[test]
fn sentences_name_the_numbers() {
    let sentences = [
        (
            Error::from(Invalid::LengthBelowSetup {
                plane: 1,
                wanted: 4096,
                found: 100,
            }),
            "plane 1 needs 4096 bytes, has 100",
        ),
        (
            Error::from(Invalid::ModelMismatch {
                wanted: Memory::UserPtr,
                found: Some(Memory::Mmap),
            }),
            "the buffers have Mmap memory, wanted UserPtr",
        ),
        (
            Error::from(Invalid::Index {
                index: 9,
                buffers: 4,
            }),
            "no buffer 9: the queue has 4",
        ),
        (
            Error::from(Busy::ModelFixed {
                wanted: Memory::DmaBuf,
                found: Memory::Mmap,
            }),
            "the streaming queue keeps Mmap memory, wanted DmaBuf",
        ),
        (
            Error::from(Busy::BufferOwned { index: 3 }),
            "buffer 3 is queued or in a media request",
        ),
        (
            Error::QueueFull { max: 32 },
            "the queue has all its 32 buffers",
        ),
    ];
    for (error, sentence) in sentences {
        assert_eq!(error.to_string(), sentence);
    }
    assert_eq!(
        Invalid::Stale.to_string(),
        "the device no longer owns the buffer"
    );
}

#[test]
fn numbers_become_the_errno_with_that_number() {
    for errno in 1..=4095 {
        assert_eq!(DriverError::from(errno).errno(), errno);
    }
    assert_eq!(DriverError::from(22), DriverError::EINVAL);
    assert_eq!(DriverError::from(71), DriverError::Other(71));
    for invalid in [0, -22, 4096, i32::MIN, i32::MAX] {
        assert_eq!(DriverError::from(invalid), DriverError::EIO, "{invalid}");
    }
    assert_eq!(
        DriverError::EPIPE.to_string(),
        "the driver failed the call with errno 32"
    );
}
