//! Random headers that AV1 allows.

use rand_core::Rng as _;
use rand_pcg::Pcg32;
use vb3_codec::av1::{
    Cdef, FilmGrain, FrameHeader, GrainPoints, LoopFilter, Motion, Quantization, Restoration,
    Segmentation, Sequence, Tiles, frame_flag, frame_type, sequence_flag,
};

/// Makes random headers.
pub(super) struct Draw {
    pub(super) random: Pcg32,
    /// Order hints of the frames in the reference slots.
    pub(super) hints: [u32; 8],
}

impl Draw {
    pub(super) fn below(&mut self, limit: u32) -> u32 {
        self.random.next_u32() % limit
    }

    pub(super) fn byte(&mut self, limit: u32) -> u8 {
        self.below(limit).try_into().unwrap()
    }

    fn signed(&mut self, most: i8) -> i8 {
        let most = i32::from(most);
        let value = i32::try_from(self.below(2 * most.cast_unsigned() + 1)).unwrap();
        (value - most).try_into().unwrap()
    }

    fn has(&mut self) -> bool {
        self.below(2) == 1
    }

    fn bytes<const N: usize>(&mut self, limit: u32) -> [u8; N] {
        std::array::from_fn(|_| self.byte(limit))
    }

    pub(super) fn sequence(&mut self) -> Sequence {
        let side = |draw: &mut Self| match draw.below(4) {
            0 => draw.below(9000),
            _ => draw.below(700),
        };
        Sequence {
            flags: self.random.next_u32() & !sequence_flag::MONO_CHROME,
            order_hint_bits: 1 + self.byte(8),
            max_frame_width_minus_1: side(self).try_into().unwrap(),
            max_frame_height_minus_1: side(self).try_into().unwrap(),
        }
    }

    pub(super) fn header(&mut self, sequence: &Sequence, frame_type: u32) -> FrameHeader {
        let (mut width, mut height) = (
            u32::from(sequence.max_frame_width_minus_1) + 1,
            u32::from(sequence.max_frame_height_minus_1) + 1,
        );
        if self.below(4) == 0 {
            (width, height) = (1 + self.below(width), 1 + self.below(height));
        }
        let mut flags = self.random.next_u32();
        if sequence.flags & sequence_flag::ENABLE_SUPERRES == 0 || self.has() {
            flags &= !frame_flag::USE_SUPERRES;
        }
        let superres_denom = 9 + self.byte(8);
        let coded_width = match flags & frame_flag::USE_SUPERRES {
            0 => width,
            _ => (width * 8 + u32::from(superres_denom) / 2) / u32::from(superres_denom),
        };
        let is_large = sequence.flags & sequence_flag::USE_128X128_SUPERBLOCK != 0;
        let luma = [64, 128, 256][usize::from(self.byte(3)).max(is_large.into())];
        let chroma = luma >> self.below(2);
        // A frame of this type may not refresh all slots.
        let is_intra_only = frame_type == frame_type::INTRA_ONLY;
        FrameHeader {
            flags,
            frame_type,
            order_hint: self.below(1 << sequence.order_hint_bits),
            primary_ref_frame: self.byte(8),
            refresh_frame_flags: self.byte(if is_intra_only { 255 } else { 256 }),
            ref_frame_idx: self.bytes(8),
            upscaled_width: width,
            frame_height: height,
            superres_denom,
            interpolation_filter: self.below(5),
            tx_mode: 1 + self.below(2),
            tiles: self.tiles((coded_width, height), is_large),
            quantization: self.quantization(),
            segmentation: self.segmentation(),
            loop_filter: LoopFilter {
                flags: self.byte(16),
                level: [
                    self.byte(2) * 9,
                    self.byte(2) * 8,
                    self.byte(64),
                    self.byte(64),
                ],
                sharpness: self.byte(8),
                ref_deltas: std::array::from_fn(|_| self.signed(63)),
                mode_deltas: std::array::from_fn(|_| self.signed(63)),
                delta_lf_res: self.byte(4),
            },
            cdef: Cdef {
                damping_minus_3: self.byte(4),
                bits: self.byte(4),
                y_pri_strength: self.bytes(16),
                y_sec_strength: self.bytes(4).map(|strength| strength + strength / 3),
                uv_pri_strength: self.bytes(16),
                uv_sec_strength: self.bytes(4).map(|strength| strength + strength / 3),
            },
            restoration: Restoration {
                types: std::array::from_fn(|_| self.below(4) * self.below(2)),
                sizes: [luma, chroma, chroma],
            },
            motion: Motion {
                types: std::array::from_fn(|_| self.below(4)),
                ..Motion::default()
            },
            film_grain: self.has().then(|| self.grain()),
        }
    }

    /// Puts a frame into the slots that it refreshes.
    pub(super) fn keep(&mut self, header: &FrameHeader) {
        let replaces_all = match header.frame_type {
            frame_type::KEY => header.flags & frame_flag::SHOW_FRAME != 0,
            kind => kind == frame_type::SWITCH,
        };
        for (slot, hint) in self.hints.iter_mut().enumerate() {
            if replaces_all || header.refresh_frame_flags >> slot & 1 != 0 {
                *hint = header.order_hint;
            }
        }
    }

    fn quantization(&mut self) -> Quantization {
        let may_be_lossless = self.below(3) == 0;
        let mut delta = || i8::from(self.has()) * self.signed(63);
        let [delta_q_v_dc, delta_q_v_ac] = [delta(), delta()];
        let mut delta = || i8::from(!may_be_lossless) * delta();
        Quantization {
            delta_q_y_dc: delta(),
            delta_q_u_dc: delta(),
            delta_q_u_ac: delta(),
            delta_q_v_dc,
            delta_q_v_ac,
            base_q_idx: u8::from(!may_be_lossless) * self.byte(256),
            flags: self.byte(8),
            qm: self.bytes(16),
            delta_q_res: self.byte(4),
        }
    }

    fn segmentation(&mut self) -> Segmentation {
        let mut segmentation = Segmentation {
            flags: self.byte(8),
            feature_enabled: self.bytes(256),
            ..Segmentation::default()
        };
        for data in &mut segmentation.feature_data {
            for (value, limit) in data.iter_mut().zip([256, 64, 64, 64, 64]) {
                let positive = i16::try_from(self.below(limit)).unwrap();
                *value = if self.has() { -positive } else { positive };
            }
            data[5] = self.byte(8).into();
        }
        segmentation
    }

    fn grain(&mut self) -> FilmGrain {
        let mut points = |most: u32| {
            let step = self.byte(10);
            GrainPoints {
                count: self.byte(most + 1) * self.byte(2),
                values: std::array::from_fn(|at| u8::try_from(at).unwrap() * (step + 1)),
                scalings: self.bytes(256),
            }
        };
        let [y, mut cb, mut cr] = [points(14), points(10), points(10)];
        if y.count == 0 || cb.count == 0 || cr.count == 0 {
            // With 4:2:0, both colours have points or none has.
            (cb.count, cr.count) = (0, 0);
        }
        let mut mults = || {
            (
                self.byte(256),
                self.byte(256),
                self.below(512).try_into().unwrap(),
            )
        };
        let (cb_mult, cr_mult) = (mults(), mults());
        FilmGrain {
            flags: self.byte(32),
            grain_seed: self.below(0x1_0000).try_into().unwrap(),
            y,
            cb,
            cr,
            grain_scaling_minus_8: self.byte(4),
            ar_coeff_lag: self.byte(4),
            ar_coeffs_y_plus_128: self.bytes(256),
            ar_coeffs_cb_plus_128: self.bytes(256),
            ar_coeffs_cr_plus_128: self.bytes(256),
            ar_coeff_shift_minus_6: self.byte(4),
            grain_scale_shift: self.byte(4),
            cb_mult,
            cr_mult,
        }
    }

    /// Draws sizes that AV1 allows (5.9.15).
    fn tiles(&mut self, (width, height): (u32, u32), is_large: bool) -> Tiles {
        let shift = 6 + u32::from(is_large);
        let blocks = |side: u32| side.next_multiple_of(8).div_ceil(1 << shift);
        let (across, down) = (blocks(width), blocks(height));
        let log2 = |size: u32, target: u32| (0..).find(|k| size << k >= target).unwrap();
        let least_columns = log2(4096 >> shift, across);
        let least = least_columns.max(log2((4096 * 2304) >> (2 * shift), across * down));
        let context_update_tile_id = 0;
        if self.has() {
            let mut among = |low: u32, total: u32| {
                let high = log2(1, total.min(64));
                low + self.below(high + 1 - low)
            };
            let columns = among(least_columns, across);
            let rows = among(least.saturating_sub(columns), down);
            return Tiles {
                is_uniform: true,
                context_update_tile_id,
                columns: uniform(across, columns),
                rows: uniform(down, rows),
            };
        }
        let mut split = |mut rest: u32, most: u32| {
            let mut sizes = Vec::new();
            while rest > 0 {
                let least = rest.min(most).min(1 + rest / 20);
                let size = least + self.below(rest.min(most) + 1 - least);
                sizes.push(size);
                rest -= size;
            }
            sizes
        };
        let columns = split(across, 4096 >> shift);
        let area = (across * down) >> if least > 0 { least + 1 } else { 0 };
        let widest = columns.iter().max().unwrap();
        let rows = split(down, (area / widest).max(1));
        Tiles {
            is_uniform: false,
            context_update_tile_id,
            columns,
            rows,
        }
    }
}

/// Returns the sizes of uniform tiles.
pub(super) fn uniform(total: u32, log2: u32) -> Vec<u32> {
    let each = (total + (1 << log2) - 1) >> log2;
    let starts = (0..total).step_by(each as usize);
    starts.map(|start| each.min(total - start)).collect()
}
