//! Scan-out: from framebuffers to the recording, by DMA address, a piece at a time.

use super::CardDevice;
use super::host::{CardMemory, Written};
use crate::memory::{DeviceBus, RunMemory};
use std::collections::BTreeSet;
use std::sync::Arc;
use vb3_devices::{Layer, Picture, Target};
use vb3_dmabuf::fence::FenceOutcome;
use vb3_drm::{BufferId, Framebuffer, Shown};
use vb3_plane::Cookie;

/// What a CRTC shows, and the buffers that it reads for that.
pub(super) struct OnScreen {
    /// Holds the framebuffers, so that they stay.
    _shown: Shown,
    buffers: BTreeSet<BufferId>,
}

/// A framebuffer to which a CRTC's picture is written.
pub(super) struct Writing {
    /// Holds the framebuffer, so that it stays.
    _fb: Arc<Framebuffer>,
    /// The memory; `None` if the card cannot reach it.
    to: Option<Written>,
    /// The timeline and the sequence number of the fence that ends after the write.
    fence: Option<(usize, u64)>,
}

/// The errno of a writeback's fence if the card could not write: EIO.
const FAILED: FenceOutcome = FenceOutcome::Failed(5);

impl CardDevice {
    /// Shows what a CRTC shows from a vblank on. Buffers that it no longer shows go back to programs.
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
        let layers = shown.layers.iter().map(|layer| self.layer(memory, layer));
        let layers: Option<Vec<_>> = layers.collect();
        let writeback = self.begin_writing(memory, &mut shown);
        let (Some(size), Some(output)) = (shown.size, self.outputs.get_mut(crtc)) else {
            return;
        };
        match layers.filter(|_| is_readable) {
            Some(layers) => {
                output.scan = output.screen.begin(Picture {
                    size,
                    frame_ns: shown.frame_ns,
                    layers,
                    gamma: shown.gamma.take(),
                    writeback,
                });
            }
            None => self.faults = self.faults.saturating_add(1),
        }
        let is_failed = output.scan.is_none();
        let _shown = shown;
        output.shown = Some(OnScreen { _shown, buffers });
        if is_failed {
            self.end_writing(memory, crtc, FAILED);
        }
    }

    /// Begins to write a picture, if it is to be written. Returns where to.
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
    fn end_writing(&mut self, memory: &mut RunMemory, crtc: usize, outcome: FenceOutcome) {
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
            Ok(None) => FenceOutcome::Done,
            Err(_) => {
                self.faults = self.faults.saturating_add(1);
                FAILED
            }
        };
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
        for crtc in 0..self.outputs.len() {
            while self.read_picture(memory, crtc) {}
            self.end_scans(memory, crtc);
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
