//! Scan-out: from framebuffers to the recording, by DMA address, a piece at a time.

use super::CardDevice;
use crate::memory::{DeviceBus, RunMemory};
use std::collections::BTreeSet;
use vb3_devices::{Layer, Picture};
use vb3_drm::{BufferId, Shown};
use vb3_plane::Cookie;

/// What a CRTC shows, and the buffers that it reads for that.
pub(super) struct OnScreen {
    /// Holds the framebuffers, so that they stay.
    _shown: Shown,
    buffers: BTreeSet<BufferId>,
}

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
                });
            }
            None => self.faults = self.faults.saturating_add(1),
        }
        let _shown = shown;
        output.shown = Some(OnScreen { _shown, buffers });
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
        match output.screen.resume(scan, &mut DeviceBus { memory, dev }) {
            Ok(rest) => output.scan = rest,
            Err(_) => self.faults = self.faults.saturating_add(1),
        }
        output.scan.is_some()
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
