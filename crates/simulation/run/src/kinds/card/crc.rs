//! `/sys/kernel/debug/dri/N/crtc-M/crc`: checksums of what CRTCs show, for tests of drivers.
//!
//! Source: Linux 6.12 drivers/gpu/drm/drm_debugfs_crc.c. As with vkms, the only source is `auto`, with one value a
//! frame.

use super::{Cards, Output};
use crate::Run;
use crate::kinds::{Answer, FileCall, Kind};
use crate::refusals::Refused;
use std::collections::{BTreeMap, VecDeque};
use vb3_frontend::{Errno, FileId, Node, NodeId, NodeKind, Op, Origin};
use vb3_v4l2::{POLL_IN, POLL_OUT};

/// Maximum number of frames whose value a CRTC keeps until a program reads it.
const MAX_FRAMES: usize = 127;
/// Bytes of a frame's line, with the zero byte that Linux gives with it.
const LINE: u64 = 23;
/// Maximum number of bytes of a source's name.
const MAX_NAME: u64 = 4095;
/// Number of the first of these files, which makes their inodes differ from those of other generated files.
const FIRST: u32 = 0x40;

const EBUSY: Errno = Errno(16);
const E2BIG: Errno = Errno(7);

/// The frames that a program has not read yet.
#[derive(Debug)]
pub(super) struct Crcs {
    file: FileId,
    frames: VecDeque<(u64, u32)>,
    /// The first frame that has no value yet; `None` before the first picture.
    next: Option<u64>,
}

impl Output {
    /// Gives the last picture's checksum to all frames that have shown it. Returns the file that can be read then.
    pub(super) fn add_crcs(&mut self) -> Option<FileId> {
        let (crcs, crc) = (self.crcs.as_mut()?, self.screen.crc()?);
        let first = crcs.next.unwrap_or(self.seen);
        crcs.next = Some(self.seen + 1);
        let room = MAX_FRAMES - crcs.frames.len();
        let frames = (first..=self.seen).map(|frame| (frame, crc));
        crcs.frames.extend(frames.take(room));
        Some(crcs.file)
    }
}

/// One of these files: the card, the CRTC, and whether it is `data` rather than `control`.
type Place = (usize, usize, bool);

/// The kind of these files. Has the place of each open file, and whether the file is a `control` that was read
/// already.
#[derive(Default)]
pub(in super::super) struct CrcFiles(BTreeMap<FileId, (Place, bool)>);

fn places(cards: &Cards) -> impl Iterator<Item = Place> {
    let cards = cards.all.iter().enumerate();
    let crtcs = cards.flat_map(|(at, card)| (0..card.outputs.len()).map(move |crtc| (at, crtc)));
    crtcs.flat_map(|(at, crtc)| [(at, crtc, false), (at, crtc, true)])
}

fn output(run: &mut Run, (card, crtc, _): Place) -> Result<&mut Output, Errno> {
    let card = run.cards.all.get_mut(card).ok_or(Errno::ENODEV)?;
    card.outputs.get_mut(crtc).ok_or(Errno::ENODEV)
}

impl Kind for CrcFiles {
    fn name(&self) -> &'static str {
        "crc"
    }

    fn nodes(&self, run: &Run) -> Vec<Node> {
        let nodes = (FIRST..).zip(places(&run.cards));
        let nodes = nodes.map(|(minor, (card, crtc, is_data))| {
            let name = if is_data { "data" } else { "control" };
            let path = format!("/sys/kernel/debug/dri/{card}/crtc-{crtc}/crc/{name}");
            Node {
                kind: NodeKind::File,
                ..Node::video(NodeId(0), path, minor)
            }
        });
        nodes.collect()
    }

    fn open(&mut self, run: &mut Run, node: usize, file: FileId, _: Origin) -> Result<(), Refused> {
        let place = places(&run.cards).nth(node).ok_or(Errno::ENODEV)?;
        if let (card, crtc, true) = place {
            let is_on = run.cards.all[card].card.vblank(crtc).is_some();
            let output = output(run, place)?;
            match &output.crcs {
                _ if !is_on => return Err(Errno::EIO.into()),
                Some(_) => return Err(EBUSY.into()),
                None => {}
            }
            output.crcs = Some(Crcs {
                file,
                frames: VecDeque::new(),
                next: None,
            });
        }
        self.0.insert(file, (place, false));
        Ok(())
    }

    fn call(&mut self, run: &mut Run, call: FileCall<'_>) -> Result<Answer, Refused> {
        let (place, is_read) = self.0.get_mut(&call.file).ok_or(Errno::ENODEV)?;
        let output = output(run, *place)?;
        match (call.op, &mut output.crcs) {
            (Op::Read { addr, len }, Some(crcs)) if place.2 => {
                let Some(&(frame, crc)) = crcs.frames.front() else {
                    return match call.nonblocking {
                        true => Err(Errno::EAGAIN.into()),
                        false => Ok(Answer::Wait),
                    };
                };
                if len < LINE {
                    return Err(Errno::EINVAL.into());
                }
                crcs.frames.pop_front();
                // CAST: frames wrap around, as Linux's do.
                let line = format!("{:#010x} {crc:#010x}\n\0", frame as u32);
                call.caller.write(addr, line.as_bytes());
                Ok(Answer::Done(line.len() as i64))
            }
            (Op::Read { addr, len }, _) if !place.2 => {
                let text = if std::mem::replace(is_read, true) {
                    ""
                } else {
                    "auto*\n"
                };
                let len = text.len().min(usize::try_from(len).unwrap_or(usize::MAX));
                call.caller.write(addr, &text.as_bytes()[..len]);
                Ok(Answer::Done(len as i64))
            }
            (Op::Write { len, .. }, _) if !place.2 && len > MAX_NAME => Err(E2BIG.into()),
            (Op::Write { addr, len }, crcs) if !place.2 => {
                call.caller.prepare_read(addr, len)?;
                // CAST: a page at most.
                let mut name = vec![0; len as usize];
                call.caller.read(addr, &mut name)?;
                match (name.strip_suffix(b"\n").unwrap_or(&name), crcs) {
                    (b"" | b"auto", None) => Ok(Answer::Done(len as i64)),
                    (b"" | b"auto", Some(_)) => Err(EBUSY.into()),
                    _ => Err(Errno::EINVAL.into()),
                }
            }
            (Op::Ioctl { .. }, _) => Err(Errno::ENOTTY.into()),
            _ => Err(Errno::EINVAL.into()),
        }
    }

    fn poll(&mut self, run: &mut Run, file: FileId, events: i16, _: bool) -> i16 {
        let Some((place, _)) = self.0.get(&file).filter(|(place, _)| place.2) else {
            return (POLL_IN | POLL_OUT) & events;
        };
        let crcs = output(run, *place)
            .ok()
            .and_then(|output| output.crcs.as_ref());
        let is_ready = crcs.is_some_and(|crcs| !crcs.frames.is_empty());
        if is_ready { POLL_IN & events } else { 0 }
    }

    fn release(&mut self, run: &mut Run, file: FileId) {
        if let Some((place @ (_, _, true), _)) = self.0.remove(&file)
            && let Ok(output) = output(run, place)
        {
            output.crcs = None;
        }
    }
}
