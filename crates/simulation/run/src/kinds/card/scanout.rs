//! Scan-out: from framebuffers to the recording, by DMA address, a piece at a time.

use super::host::{CardMemory, Written};
use super::{CardDevice, Output};
use crate::memory::{DeviceBus, RunMemory};
use std::collections::BTreeSet;
use std::sync::Arc;
use vb3_devices::{Layer, Picture, Target};
use vb3_drm::{BufferId, Framebuffer, Shown};
use vb3_plane::Cookie;

/// What a CRTC shows, and the buffers that it reads for that.
pub(super) struct OnScreen {
    /// What the CRTC shows. This holds the framebuffers, so that they are not freed meanwhile.
    shown: Shown,
    buffers: BTreeSet<BufferId>,
    /// Whether the card can read all buffers. False after a failure: then nothing is read until the next commit.
    pub(super) is_readable: bool,
    /// Whether programs may draw into a buffer while it is on the screen: true if a buffer is the card's own memory.
    pub(super) is_mutable: bool,
}

impl OnScreen {
    /// Returns the number of the screen's pixels, at least one.
    pub(super) fn pixels(&self) -> u64 {
        let (width, height) = self.shown.size.unwrap_or_default();
        (u64::from(width) * u64::from(height)).max(1)
    }
}

/// A framebuffer to which a CRTC's picture is written.
pub(super) struct Writing {
    /// Holds the framebuffer, so that it is not freed during the write.
    _fb: Arc<Framebuffer>,
    /// The memory; `None` if the card cannot reach it.
    to: Option<Written>,
    /// The timeline and the sequence number of the fence that ends after the write.
    fence: Option<(usize, u64)>,
}

/// The errno of a writeback's fence if the card could not write: EIO.
const FAILED: Result<(), i32> = Err(5);

impl CardDevice {
    /// Begins to scan out what a CRTC shows from a vblank on. Buffers that it no longer shows go back to programs.
    pub(super) fn scan_out(&mut self, memory: &mut RunMemory, mut shown: Shown) {
        let crtc = shown.crtc;
        let fbs = shown.layers.iter().flat_map(|layer| &layer.fb.planes);
        let buffers: BTreeSet<BufferId> = fbs.map(|plane| plane.buffer).collect();
        if shown.is_new
            && let Some(maker) = buffers.iter().find_map(|buffer| self.memory.maker(*buffer))
            && let Some((_, frames)) = self.refused.get_mut(&maker)
        {
            *frames += 1;
        }
        // Commits wait for a picture that is being read; a CRTC that goes off does not.
        while self.read_picture(memory, crtc) {}
        self.end_scans(memory, crtc);
        let mut is_readable = true;
        for buffer in &buffers {
            is_readable &= self.memory.begin_scan(memory, *buffer);
        }
        let writeback = self.begin_writing(memory, &mut shown);
        let is_mutable = buffers
            .iter()
            .any(|buffer| self.memory.maker(*buffer).is_some());
        let Some(output) = self.outputs.get_mut(crtc).filter(|_| shown.size.is_some()) else {
            return;
        };
        output.shown = Some(OnScreen {
            shown,
            buffers,
            is_readable: true,
            is_mutable,
        });
        match is_readable {
            true => self.begin_reading(memory, crtc, (writeback, false)),
            false => self.lose_picture(crtc),
        }
        let output = self.outputs.get(crtc);
        if output.is_some_and(|output| output.scan.is_none()) {
            self.end_writing(memory, crtc, FAILED);
        }
    }

    /// Begins to read what a CRTC shows, if the card can read it.
    fn begin_reading(
        &mut self,
        memory: &RunMemory,
        crtc: usize,
        (writeback, is_repeat): (Option<Target<Cookie>>, bool),
    ) {
        let output = self.outputs.get(crtc);
        let Some(on_screen) = output.and_then(|output| output.shown.as_ref()) else {
            return;
        };
        let (shown, is_mutable) = (&on_screen.shown, on_screen.is_mutable);
        let layers = shown.layers.iter().map(|layer| self.layer(memory, layer));
        let layers: Option<Vec<_>> = layers.collect();
        let (Some(size), Some(layers), true) = (shown.size, layers, on_screen.is_readable) else {
            return self.lose_picture(crtc);
        };
        let (frame_ns, gamma) = (shown.frame_ns, shown.gamma.clone());
        let seen = self.card.vblank(crtc).unwrap_or(0);
        if let Some(output) = self.outputs.get_mut(crtc) {
            output.seen = seen;
            output.scan = output.screen.begin(Picture {
                size,
                frame_ns,
                layers,
                gamma,
                writeback,
                wants_crc: output.crcs.is_some(),
                is_mutable,
                is_repeat,
            });
        }
    }

    /// Counts what is on the screen as a picture that the card could not read, once. Frames of this picture get the
    /// checksum of the last picture that was read.
    fn lose_picture(&mut self, crtc: usize) {
        let seen = self.card.vblank(crtc).unwrap_or(0);
        let Some(output) = self.outputs.get_mut(crtc) else {
            return;
        };
        output.seen = seen;
        let shown = output.shown.as_mut();
        if shown.is_some_and(|shown| std::mem::take(&mut shown.is_readable)) {
            self.faults = self.faults.saturating_add(1);
        }
        self.readable.extend(output.add_crcs());
    }

    /// Reads again each screen whose picture may have changed since it was read, if a program or the recording wants
    /// to know that. Without `at_once`, reads a screen only if a vblank has passed since it was read.
    pub(super) fn look_again(&mut self, memory: &RunMemory, at_once: bool) {
        for crtc in 0..self.outputs.len() {
            let seen = self.card.vblank(crtc);
            let is_due = |output: &Output| {
                let look = output.next_look().filter(|_| output.has_room());
                look.is_some_and(|look| seen.is_some_and(|seen| at_once || seen >= look))
            };
            if self.outputs.get(crtc).is_some_and(is_due) {
                self.begin_reading(memory, crtc, (None, true));
            }
        }
    }

    /// If the commit has a writeback connector, begins to write the picture to memory. Returns the place of this
    /// memory.
    fn begin_writing(
        &mut self,
        memory: &mut RunMemory,
        shown: &mut Shown,
    ) -> Option<Target<Cookie>> {
        let wanted = shown.writeback.take()?;
        let plane = wanted.fb.planes.first().copied()?;
        let to = self.memory.begin_write(memory, plane.buffer);
        let cookie = to.as_ref().and_then(|to| to.cookie(memory));
        let output = self.outputs.get_mut(shown.crtc)?;
        let code = wanted.fb.format.code;
        output.writing = Some(Writing {
            _fb: wanted.fb,
            to,
            fence: wanted.fence,
        });
        cookie.map(|cookie| Target {
            code,
            place: (cookie, plane.offset, plane.pitch),
        })
    }

    /// Ends the write of a CRTC's picture, then its fence.
    fn end_writing(&mut self, memory: &mut RunMemory, crtc: usize, outcome: Result<(), i32>) {
        let output = self.outputs.get_mut(crtc);
        let Some(writing) = output.and_then(|output| output.writing.take()) else {
            return;
        };
        let outcome = writing.to.as_ref().map_or(FAILED, |_| outcome);
        if let Some(to) = writing.to {
            CardMemory::end_write(memory, to, outcome);
        }
        if let Some(fence) = writing.fence {
            self.memory.end_fence(memory, fence, outcome);
        }
    }

    /// Reads a piece of the first picture that is being read.
    pub(super) fn read_piece(&mut self, memory: &mut RunMemory) {
        let busy = self.outputs.iter().position(|output| output.scan.is_some());
        busy.map(|crtc| self.read_picture(memory, crtc));
    }

    /// Reads a piece of a CRTC's picture. Returns whether there is more.
    fn read_picture(&mut self, memory: &mut RunMemory, crtc: usize) -> bool {
        let dev = self.memory.dma();
        let Some(output) = self.outputs.get_mut(crtc) else {
            return false;
        };
        let Some(scan) = output.scan.take() else {
            return false;
        };
        let outcome = match output.screen.resume(scan, &mut DeviceBus { memory, dev }) {
            Ok(Some(rest)) => {
                output.scan = Some(rest);
                return true;
            }
            Ok(None) => Ok(()),
            Err(_) => {
                self.lose_picture(crtc);
                FAILED
            }
        };
        if outcome == Ok(())
            && let Some(output) = self.outputs.get_mut(crtc)
        {
            self.readable.extend(output.add_crcs());
        }
        self.end_writing(memory, crtc, outcome);
        false
    }

    /// Gives the buffers that a CRTC has shown back to programs.
    fn end_scans(&mut self, memory: &RunMemory, crtc: usize) {
        let output = self.outputs.get_mut(crtc);
        let old = output.and_then(|output| output.shown.take());
        for buffer in old.iter().flat_map(|old| &old.buffers) {
            self.memory.end_scan(memory, *buffer);
        }
    }

    /// Gives all buffers on the screen back to programs, after their pictures are read.
    pub(super) fn stop_scans(&mut self, memory: &mut RunMemory) {
        self.finish_reading(memory);
        for crtc in 0..self.outputs.len() {
            self.end_scans(memory, crtc);
        }
    }

    /// Reads the rest of all pictures that are being read.
    pub(super) fn finish_reading(&mut self, memory: &mut RunMemory) {
        for crtc in 0..self.outputs.len() {
            while self.read_picture(memory, crtc) {}
        }
    }

    /// Returns a layer with its planes' places on the bus; `None` if the card has lost one.
    fn layer(&self, memory: &RunMemory, layer: &vb3_drm::Layer) -> Option<Layer<Cookie>> {
        let planes = layer.fb.planes.iter();
        let planes = planes.map(|plane| {
            let cookie = self.memory.cookie(memory, plane.buffer)?;
            Some((cookie, plane.offset, plane.pitch))
        });
        let (source, target) = (layer.source, layer.target);
        Some(Layer {
            code: layer.fb.format.code,
            planes: planes.collect::<Option<_>>()?,
            from: (source.x >> 16, source.y >> 16),
            part: (source.width >> 16, source.height >> 16),
            at: (target.x, target.y),
            shown: (target.width, target.height),
            rotation: layer.rotation.0,
        })
    }
}
