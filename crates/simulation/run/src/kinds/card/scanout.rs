//! Scan-out: from framebuffers to the recording, by DMA address.

use super::CardDevice;
use crate::memory::{DeviceBus, RunMemory};
use std::collections::BTreeSet;
use vb3_devices::Layer;
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
    pub(super) fn scan_out(&mut self, memory: &mut RunMemory, shown: Shown) {
        let fbs = shown.layers.iter().flat_map(|layer| &layer.fb.planes);
        let buffers: BTreeSet<BufferId> = fbs.map(|plane| plane.buffer).collect();
        if shown.is_new
            && let Some(maker) = buffers.iter().find_map(|buffer| self.memory.maker(*buffer))
            && let Some((_, frames)) = self.refused.get_mut(&maker)
        {
            *frames += 1;
        }
        let old = self.shown.remove(&shown.crtc);
        for buffer in old.iter().flat_map(|old| &old.buffers) {
            self.memory.end_scan(memory, *buffer);
        }
        let mut is_readable = true;
        for buffer in &buffers {
            is_readable &= self.memory.begin_scan(memory, *buffer);
        }
        if let Some(size) = shown.size {
            let layers: Option<Vec<_>> = shown
                .layers
                .iter()
                .map(|layer| self.layer(memory, layer))
                .collect();
            let dev = self.memory.dma();
            let done = match layers.filter(|_| is_readable) {
                Some(layers) => self.screen.show(
                    (size, shown.frame_ns),
                    &layers,
                    &mut DeviceBus { memory, dev },
                ),
                None => false,
            };
            self.faults = self.faults.saturating_add((!done).into());
        }
        if shown.size.is_some() {
            let crtc = shown.crtc;
            self.shown.insert(
                crtc,
                OnScreen {
                    _shown: shown,
                    buffers,
                },
            );
        }
    }

    /// Gives all buffers on the screen back to programs.
    pub(super) fn stop_scans(&mut self, memory: &RunMemory) {
        for old in std::mem::take(&mut self.shown).into_values() {
            for buffer in old.buffers {
                self.memory.end_scan(memory, buffer);
            }
        }
    }

    /// Returns a layer with its planes' places on the bus; `None` if the card has lost one.
    fn layer(&self, memory: &RunMemory, layer: &vb3_drm::Layer) -> Option<Layer<Cookie>> {
        let planes = layer.fb.planes.iter();
        let planes = planes.map(|plane| {
            Some((
                self.memory.cookie(memory, plane.buffer)?,
                plane.offset,
                plane.pitch,
            ))
        });
        Some(Layer {
            code: layer.fb.format.code,
            size: (layer.fb.width, layer.fb.height),
            planes: planes.collect::<Option<_>>()?,
            from: (layer.source.x >> 16, layer.source.y >> 16),
            at: (layer.place.x, layer.place.y),
            shown: (layer.place.width, layer.place.height),
        })
    }
}
