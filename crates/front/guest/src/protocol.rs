//! The layouts of virtio-media: commands, responses, events and the configuration.
//!
//! Source: the virtio specification 1.4, "Media Device" (device id 48). All numbers are little-endian.

use uuid::Uuid;
use vb3_frontend::Errno;

/// Length in bytes of the configuration space.
pub(crate) const CONFIG_BYTES: usize = 40;
/// Length in bytes of the name in the configuration space.
const CARD_BYTES: usize = 32;
/// Length in bytes of `struct v4l2_buffer`, `struct v4l2_plane` and `struct v4l2_event`.
pub(crate) const BUFFER_BYTES: usize = 88;
pub(crate) const PLANE_BYTES: usize = 64;
pub(crate) const EVENT_BYTES: usize = 136;
/// Number of planes in an event of a dequeued buffer.
pub(crate) const EVENT_PLANES: usize = 8;
/// Length in bytes of an entry of a list of guest memory.
pub(crate) const ENTRY_BYTES: usize = 16;

/// A command of the guest's driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Opens the device.
    Open,
    /// Closes a session. There is no response.
    Close {
        /// The session.
        session: u32,
    },
    /// Makes an ioctl; the payload follows.
    Ioctl {
        /// The session.
        session: u32,
        /// The ioctl's number, without type, size and direction.
        code: u32,
    },
    /// Maps a buffer into the shared memory region.
    Mmap {
        /// The session.
        session: u32,
        /// Whether the guest wants to write.
        is_writable: bool,
        /// The buffer's offset, as QUERYBUF returns it.
        offset: u32,
    },
    /// Unmaps a buffer.
    Munmap {
        /// Offset of the mapping in the shared memory region.
        addr: u64,
    },
}

/// Reads numbers from the beginning of bytes.
fn number<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*first)
}

pub(crate) fn u32_of(bytes: &mut &[u8]) -> Option<u32> {
    number(bytes).map(u32::from_le_bytes)
}

pub(crate) fn u64_of(bytes: &mut &[u8]) -> Option<u64> {
    number(bytes).map(u64::from_le_bytes)
}

/// Reads a UUID, by which virtio names an object that devices share. The objects here are dma-bufs.
pub(crate) fn uuid_of(bytes: &mut &[u8]) -> Option<Uuid> {
    number(bytes).map(Uuid::from_bytes)
}

impl Command {
    /// Reads a command. Returns it and the payload that follows.
    ///
    /// # Errors
    /// EINVAL if the command is too short or unknown.
    pub(crate) fn parse(mut bytes: &[u8]) -> Result<(Self, &[u8]), Errno> {
        Self::read(&mut bytes)
            .map(|command| (command, bytes))
            .ok_or(Errno::EINVAL)
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        let (code, _reserved) = (u32_of(bytes)?, u32_of(bytes)?);
        Some(match code {
            1 => Self::Open,
            2 => {
                let (session, _reserved) = (u32_of(bytes)?, u32_of(bytes)?);
                Self::Close { session }
            }
            3 => Self::Ioctl {
                session: u32_of(bytes)?,
                code: u32_of(bytes)?,
            },
            4 => Self::Mmap {
                session: u32_of(bytes)?,
                is_writable: u32_of(bytes)? & 1 != 0,
                offset: u32_of(bytes)?,
            },
            5 => Self::Munmap {
                addr: u64_of(bytes)?,
            },
            _ => return None,
        })
    }
}

/// Returns a response's header: 0, or the errno.
pub(crate) fn response(status: Result<(), Errno>) -> Vec<u8> {
    let status = status.map_or_else(|errno| errno.0.unsigned_abs(), |()| 0);
    [status.to_le_bytes(), [0; 4]].concat()
}

/// Returns an event's header.
fn event(kind: u32, session: u32) -> Vec<u8> {
    [kind.to_le_bytes(), session.to_le_bytes()].concat()
}

/// Returns the event of a dequeued buffer, with up to [`EVENT_PLANES`] planes.
pub(crate) fn buffer_event(session: u32, buffer: &[u8; BUFFER_BYTES], planes: &[u8]) -> Vec<u8> {
    let mut bytes = event(1, session);
    bytes.extend_from_slice(buffer);
    bytes.extend_from_slice(planes);
    bytes.resize(8 + BUFFER_BYTES + EVENT_PLANES * PLANE_BYTES, 0);
    bytes
}

/// Returns the event of a V4L2 event.
pub(crate) fn v4l2_event(session: u32, told: &[u8; EVENT_BYTES]) -> Vec<u8> {
    let mut bytes = event(2, session);
    bytes.extend_from_slice(told);
    bytes
}

/// Returns the configuration space of a video device: its capabilities, and its name.
pub(crate) fn config(device_caps: u32, card: &[u8]) -> [u8; CONFIG_BYTES] {
    let mut bytes = [0; CONFIG_BYTES];
    let (caps, rest) = bytes.split_at_mut(4);
    caps.copy_from_slice(&device_caps.to_le_bytes());
    // The device type in the next four bytes is 0, video. The name has at least one zero at its end.
    let len = card.len().min(CARD_BYTES - 1);
    rest[4..4 + len].copy_from_slice(&card[..len]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(numbers: &[u32]) -> Vec<u8> {
        numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
    }

    #[test]
    fn commands_are_read_with_their_payload() {
        let ioctl = bytes(&[3, 0, 7, 15, 99]);
        let (command, payload) = Command::parse(&ioctl).unwrap();
        assert_eq!(
            command,
            Command::Ioctl {
                session: 7,
                code: 15
            }
        );
        assert_eq!(payload, 99_u32.to_le_bytes());
        assert_eq!(Command::parse(&bytes(&[1, 0])).unwrap().0, Command::Open);
        let unmap = Command::parse(&bytes(&[5, 0, 0x1000, 1])).unwrap().0;
        assert_eq!(
            unmap,
            Command::Munmap {
                addr: 0x1_0000_1000
            }
        );
    }

    #[test]
    fn short_and_unknown_commands_are_invalid() {
        for wrong in [
            &[][..],
            &[3, 0, 7],
            &[2, 0, 7],
            &[4, 0, 1, 1],
            &[5, 0, 1],
            &[6, 0, 0, 0],
            &[0, 0],
        ] {
            assert_eq!(Command::parse(&bytes(wrong)), Err(Errno::EINVAL));
        }
    }

    #[test]
    fn a_buffer_event_always_has_608_bytes() {
        assert_eq!(buffer_event(1, &[0; BUFFER_BYTES], &[]).len(), 608);
        assert_eq!(buffer_event(1, &[0; BUFFER_BYTES], &[1; 64]).len(), 608);
    }

    #[test]
    fn a_long_name_still_ends_with_zero() {
        let config = config(0x0420_0001, &[b'x'; 40]);
        assert_eq!(config[..4], 0x0420_0001_u32.to_le_bytes());
        assert_eq!((config[8], config[38], config[39]), (b'x', b'x', 0));
    }
}
