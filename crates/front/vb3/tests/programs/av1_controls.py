"""Parses AV1 streams to the controls of V4L2's stateless decoders. Names are those of the AV1
specification, section 5."""
import ctypes
from ctypes import c_int8, c_int16, c_int32, c_uint8, c_uint16, c_uint32, c_uint64

KEY, INTER, INTRA_ONLY, SWITCH = range(4)
NO_PRIMARY = 7


def struct(name, *fields):
    """Makes a structure. Fields without a name of their own are given as (names, type)."""
    all_fields = [(one, kind) for names, kind in fields for one in names.split()]
    return type(name, (ctypes.Structure,), {"_fields_": all_fields})


Sequence = struct(
    "Sequence",
    ("flags", c_uint32),
    ("seq_profile order_hint_bits bit_depth reserved", c_uint8),
    ("max_frame_width_minus_1 max_frame_height_minus_1", c_uint16),
)
Entry = struct("Entry", ("tile_offset tile_size tile_row tile_col", c_uint32))
TileInfo = struct(
    "TileInfo",
    ("flags context_update_tile_id tile_cols tile_rows", c_uint8),
    ("mi_col_starts mi_row_starts", c_uint32 * 65),
    ("width_in_sbs_minus_1 height_in_sbs_minus_1", c_uint32 * 64),
    ("tile_size_bytes", c_uint8),
    ("reserved", c_uint8 * 3),
)
Quantization = struct(
    "Quantization",
    ("flags base_q_idx", c_uint8),
    ("delta_q_y_dc delta_q_u_dc delta_q_u_ac delta_q_v_dc delta_q_v_ac", c_int8),
    ("qm_y qm_u qm_v delta_q_res", c_uint8),
)
Segmentation = struct(
    "Segmentation",
    ("flags last_active_seg_id", c_uint8),
    ("feature_enabled", c_uint8 * 8),
    ("feature_data", c_int16 * 8 * 8),
)
LoopFilter = struct(
    "LoopFilter",
    ("flags", c_uint8),
    ("level", c_uint8 * 4),
    ("sharpness", c_uint8),
    ("ref_deltas", c_int8 * 8),
    ("mode_deltas", c_int8 * 2),
    ("delta_lf_res", c_uint8),
)
Cdef = struct(
    "Cdef",
    ("damping_minus_3 bits", c_uint8),
    ("y_pri_strength y_sec_strength uv_pri_strength uv_sec_strength", c_uint8 * 8),
)
LoopRestoration = struct(
    "LoopRestoration",
    ("flags lr_unit_shift lr_uv_shift reserved", c_uint8),
    ("frame_restoration_type loop_restoration_size", c_uint32 * 3),
)
GlobalMotion = struct(
    "GlobalMotion",
    ("flags", c_uint8 * 8),
    ("type", c_uint32 * 8),
    ("params", c_int32 * 6 * 8),
    ("invalid", c_uint8),
    ("reserved", c_uint8 * 3),
)
Frame = struct(
    "Frame",
    ("tile_info", TileInfo),
    ("quantization", Quantization),
    ("superres_denom", c_uint8),
    ("segmentation", Segmentation),
    ("loop_filter", LoopFilter),
    ("cdef", Cdef),
    ("skip_mode_frame", c_uint8 * 2),
    ("primary_ref_frame", c_uint8),
    ("loop_restoration", LoopRestoration),
    ("global_motion", GlobalMotion),
    ("flags frame_type order_hint upscaled_width", c_uint32),
    ("interpolation_filter tx_mode frame_width_minus_1 frame_height_minus_1", c_uint32),
    ("render_width_minus_1 render_height_minus_1", c_uint16),
    ("current_frame_id", c_uint32),
    ("buffer_removal_time", c_uint32 * 32),
    ("reserved", c_uint8 * 4),
    ("order_hints", c_uint32 * 8),
    ("reference_frame_ts", c_uint64 * 8),
    ("ref_frame_idx", c_int8 * 7),
    ("refresh_frame_flags", c_uint8),
)
FilmGrain = struct(
    "FilmGrain",
    ("flags cr_mult", c_uint8),
    ("grain_seed", c_uint16),
    ("film_grain_params_ref_idx num_y_points", c_uint8),
    ("point_y_value point_y_scaling", c_uint8 * 16),
    ("num_cb_points", c_uint8),
    ("point_cb_value point_cb_scaling", c_uint8 * 16),
    ("num_cr_points", c_uint8),
    ("point_cr_value point_cr_scaling", c_uint8 * 16),
    ("grain_scaling_minus_8 ar_coeff_lag", c_uint8),
    ("ar_coeffs_y_plus_128 ar_coeffs_cb_plus_128 ar_coeffs_cr_plus_128", c_uint8 * 25),
    ("ar_coeff_shift_minus_6 grain_scale_shift cb_mult cb_luma_mult cr_luma_mult", c_uint8),
    ("cb_offset cr_offset", c_uint16),
    ("reserved", c_uint8 * 4),
)
SEQUENCE_FLAGS = (
    "still_picture use_128 filter_intra intra_edge interintra masked warped dual order_hint jnt_comp "
    "ref_frame_mvs superres cdef restoration mono color_range sub_x sub_y film_grain separate_uv"
).split()
FRAME_FLAGS = (
    "show showable error_resilient disable_cdf_update screen_content integer_mv intrabc use_superres "
    "high_precision switchable_motion use_ref_mvs disable_end_update warped reference_select "
    "reduced_tx skip_allowed skip_present size_override removal short_signaling"
).split()


def bits_of(names, values):
    return sum(1 << at for at, name in enumerate(names) if values.get(name))


class Bits:
    def __init__(self, data):
        self.data, self.at = data, 0

    def f(self, count):
        value = 0
        for _ in range(count):
            value = value << 1 | self.data[self.at >> 3] >> (7 - (self.at & 7)) & 1
            self.at += 1
        return value

    def su(self, count):
        value = self.f(count)
        return value - (1 << count) if value >> (count - 1) else value

    def ns(self, limit):
        count = limit.bit_length()
        short = (1 << count) - limit
        value = self.f(count - 1)
        return value if value < short else (value << 1) - short + self.f(1)

    def delta_q(self):
        return self.su(7) if self.f(1) else 0

    def subexp(self, limit):
        i = mk = 0
        while True:
            b2 = 3 + i - 1 if i else 3
            if limit <= mk + 3 * (1 << b2):
                return self.ns(limit - mk) + mk
            if not self.f(1):
                return self.f(b2) + mk
            i, mk = i + 1, mk + (1 << b2)

    def near(self, low, high, r):
        def inverse(r, v):
            if v > 2 * r:
                return v
            return r - ((v + 1) >> 1) if v & 1 else r + (v >> 1)

        mx, r = high - low, r - low
        v = self.subexp(mx)
        return (inverse(r, v) if r * 2 <= mx else mx - 1 - inverse(mx - 1 - r, v)) + low

    def align(self):
        self.at = (self.at + 7) & ~7


def log2(size, target):
    k = 0
    while size << k < target:
        k += 1
    return k


def identity():
    return [[0, 0, 1 << 16, 0, 0, 1 << 16] for _ in range(8)]


class Stream:
    """The state of a decoder, as far as headers need it. Slots are dicts of a frame's state."""

    def __init__(self):
        self.slots = [None] * 8
        self.sequence = self.flags = None

    def parse_sequence(self, data):
        b, s = Bits(data), {}
        profile, s["still_picture"], reduced = b.f(3), b.f(1), b.f(1)
        assert profile == 0
        if reduced:
            b.f(5)
        else:
            assert not b.f(1), "timing information"
            delay = b.f(1)
            for _ in range(b.f(5) + 1):
                b.f(12)
                if b.f(5) > 7:
                    b.f(1)
                if delay and b.f(1):
                    b.f(4)
        wide, high = b.f(4) + 1, b.f(4) + 1
        width, height = b.f(wide), b.f(high)
        self.size_bits, self.id_bits = (wide, high), None
        if not reduced and b.f(1):
            less = b.f(4) + 2
            self.id_bits = (less, b.f(3) + less + 1)
        for name in "use_128 filter_intra intra_edge".split():
            s[name] = b.f(1)
        hint_bits, self.screen, self.integer = 0, 2, 2
        if not reduced:
            for name in "interintra masked warped dual order_hint".split():
                s[name] = b.f(1)
            if s["order_hint"]:
                s["jnt_comp"], s["ref_frame_mvs"] = b.f(1), b.f(1)
            self.screen = 2 if b.f(1) else b.f(1)
            if self.screen:
                self.integer = 2 if b.f(1) else b.f(1)
            hint_bits = b.f(3) + 1 if s["order_hint"] else 0
        for name in "superres cdef restoration".split():
            s[name] = b.f(1)
        depth, s["mono"] = 10 if b.f(1) else 8, b.f(1)
        if b.f(1):
            b.f(24)
        s["color_range"] = b.f(1)
        s["sub_x"] = s["sub_y"] = 1
        if not s["mono"]:
            b.f(2)
            s["separate_uv"] = b.f(1)
        s["film_grain"] = b.f(1)
        self.flags, self.reduced, self.hint_bits = s, reduced, hint_bits
        self.sequence = Sequence(
            bits_of(SEQUENCE_FLAGS, s), profile, hint_bits, depth, 0, width, height
        )

    def distance(self, a, b):
        if not self.flags.get("order_hint"):
            return 0
        half = 1 << (self.hint_bits - 1)
        return ((a - b) & (half - 1)) - ((a - b) & half)

    def parse_frame_header(self, b):
        """Returns the frame's control, its film grain and its state, or the number of a slot to show."""
        s, c, h = self.flags, Frame(), {}
        c.frame_type, h["show"], h["showable"], h["error_resilient"] = KEY, 1, 0, 1
        if not self.reduced:
            if b.f(1):
                return b.f(3)
            c.frame_type, h["show"] = b.f(2), b.f(1)
            h["showable"] = c.frame_type != KEY if h["show"] else b.f(1)
            forced = c.frame_type == SWITCH or (c.frame_type == KEY and h["show"])
            h["error_resilient"] = 1 if forced else b.f(1)
        intra = c.frame_type in (KEY, INTRA_ONLY)
        if c.frame_type == KEY and h["show"]:
            self.slots = [None] * 8
        h["disable_cdf_update"] = b.f(1)
        h["screen_content"] = b.f(1) if self.screen == 2 else self.screen
        if h["screen_content"]:
            h["integer_mv"] = b.f(1) if self.integer == 2 else self.integer
        if self.id_bits:
            c.current_frame_id = b.f(self.id_bits[1])
        if c.frame_type == SWITCH:
            h["size_override"] = 1
        elif not self.reduced:
            h["size_override"] = b.f(1)
        c.order_hint = b.f(self.hint_bits)
        resilient = h["error_resilient"]
        c.primary_ref_frame = NO_PRIMARY if intra or resilient else b.f(3)
        everything = c.frame_type == SWITCH or (c.frame_type == KEY and h["show"])
        c.refresh_frame_flags = 0xff if everything else b.f(8)
        if (not intra or c.refresh_frame_flags != 0xff) and resilient and s.get("order_hint"):
            for _ in range(8):
                b.f(self.hint_bits)
        self.parse_references(b, c, h, intra)
        state = {"hint": c.order_hint, "type": c.frame_type, "size": self.size}
        h["disable_end_update"] = 1 if self.reduced or h["disable_cdf_update"] else b.f(1)
        primary = None
        if c.primary_ref_frame != NO_PRIMARY:
            primary = self.slots[c.ref_frame_idx[c.primary_ref_frame]]
        self.parse_tiles(b, c.tile_info)
        self.parse_quantization(b, c.quantization)
        self.parse_segmentation(b, c, primary)
        self.parse_filters(b, c, h, primary)
        self.parse_modes(b, c, h, intra)
        self.parse_motion(b, c, h, intra, primary)
        grain = self.parse_grain(b, c, h)
        c.flags = bits_of(FRAME_FLAGS, h)
        state.update(
            show=h["show"],
            gm=[list(row) for row in c.global_motion.params],
            seg=bytes(c.segmentation),
            deltas=(list(c.loop_filter.ref_deltas), list(c.loop_filter.mode_deltas)),
            grain=bytes(grain),
        )
        return c, grain, state

    def frame_size(self, b, c, h):
        q = self.sequence
        width, height = q.max_frame_width_minus_1 + 1, q.max_frame_height_minus_1 + 1
        if h.get("size_override"):
            width, height = b.f(self.size_bits[0]) + 1, b.f(self.size_bits[1]) + 1
        self.superres(b, c, h, width, height)

    def superres(self, b, c, h, width, height):
        h["use_superres"] = b.f(1) if self.flags["superres"] else 0
        c.superres_denom = b.f(3) + 9 if h["use_superres"] else 8
        c.upscaled_width, coded = width, width
        if h["use_superres"]:
            coded = (width * 8 + c.superres_denom // 2) // c.superres_denom
        c.frame_width_minus_1, c.frame_height_minus_1 = coded - 1, height - 1
        self.size = (width, height)
        self.mi = 2 * ((coded + 7) >> 3), 2 * ((height + 7) >> 3)

    def render_size(self, b, c):
        c.render_width_minus_1, c.render_height_minus_1 = self.size[0] - 1, self.size[1] - 1
        if b.f(1):
            c.render_width_minus_1, c.render_height_minus_1 = b.f(16), b.f(16)

    def parse_references(self, b, c, h, intra):
        s = self.flags
        if intra:
            self.frame_size(b, c, h)
            self.render_size(b, c)
            if h["screen_content"] and c.upscaled_width == c.frame_width_minus_1 + 1:
                h["intrabc"] = b.f(1)
            return
        assert not (s.get("order_hint") and b.f(1)), "frame_refs_short_signaling"
        for i in range(7):
            c.ref_frame_idx[i] = b.f(3)
            if self.id_bits:
                b.f(self.id_bits[0])
            slot = self.slots[c.ref_frame_idx[i]]
            c.order_hints[i + 1] = slot["hint"]
        found = None
        if h.get("size_override") and not h["error_resilient"]:
            found = next((i for i in range(7) if b.f(1)), None)
        if found is None:
            self.frame_size(b, c, h)
            self.render_size(b, c)
        else:
            self.superres(b, c, h, *self.slots[c.ref_frame_idx[found]]["size"])
        h["high_precision"] = 0 if h.get("integer_mv") else b.f(1)
        c.interpolation_filter = 4 if b.f(1) else b.f(2)
        h["switchable_motion"] = b.f(1)
        if not h["error_resilient"] and s.get("ref_frame_mvs"):
            h["use_ref_mvs"] = b.f(1)

    def parse_tiles(self, b, t):
        shift = 5 if self.flags["use_128"] else 4
        sbs = [(mi + (1 << shift) - 1) >> shift for mi in self.mi]
        widest, largest = 4096 >> (shift + 2), 4096 * 2304 >> 2 * (shift + 2)
        least_cols = log2(widest, sbs[0])
        least = max(least_cols, log2(largest, sbs[0] * sbs[1]))
        uniform = t.flags = b.f(1)
        logs = []
        if not uniform:
            area = sbs[0] * sbs[1] >> (least + 1 if least else 0)
        lists = (t.mi_col_starts, t.width_in_sbs_minus_1), (t.mi_row_starts, t.height_in_sbs_minus_1)
        wide = 1
        for axis, (starts, sizes) in enumerate(lists):
            total, start, count = sbs[axis], 0, 0
            if uniform:
                log = max(least - logs[0], 0) if axis else least_cols
                while log < log2(1, min(total, 64)) and b.f(1):
                    log += 1
                each = (total + (1 << log) - 1) >> log
            most = max(area // wide, 1) if axis and not uniform else widest
            while start < total:
                size = min(each, total - start) if uniform else b.ns(min(total - start, most)) + 1
                starts[count], sizes[count] = start << shift, size - 1
                start, count = start + size, count + 1
                wide = max(wide, size) if axis == 0 else wide
            starts[count] = self.mi[axis]
            logs.append(log if uniform else log2(1, count))
            if axis:
                t.tile_rows = count
            else:
                t.tile_cols = count
        if sum(logs):
            t.context_update_tile_id = b.f(sum(logs))
            t.tile_size_bytes = b.f(2) + 1
        self.tile_log = sum(logs)

    def parse_quantization(self, b, q):
        s, flags = self.flags, 0
        q.base_q_idx = b.f(8)
        q.delta_q_y_dc = b.delta_q()
        separate = s.get("separate_uv")
        differ = b.f(1) if separate else 0
        q.delta_q_u_dc, q.delta_q_u_ac = b.delta_q(), b.delta_q()
        q.delta_q_v_dc, q.delta_q_v_ac = q.delta_q_u_dc, q.delta_q_u_ac
        if differ:
            q.delta_q_v_dc, q.delta_q_v_ac = b.delta_q(), b.delta_q()
        matrices = b.f(1)
        if matrices:
            q.qm_y, q.qm_u = b.f(4), b.f(4)
            q.qm_v = b.f(4) if separate else q.qm_u
        q.flags = differ | matrices << 1

    def parse_segmentation(self, b, c, primary):
        g = c.segmentation
        if not b.f(1):
            return
        update_map, temporal, update_data = 1, 0, 1
        if primary is not None:
            update_map = b.f(1)
            temporal = b.f(1) if update_map else 0
            update_data = b.f(1)
        if update_data:
            for i in range(8):
                for j, bits in enumerate((8, 6, 6, 6, 6, 3, 0, 0)):
                    if b.f(1):
                        g.feature_enabled[i] |= 1 << j
                        g.feature_data[i][j] = b.su(bits + 1) if j < 5 else b.f(bits)
                        g.last_active_seg_id = i
        else:
            ctypes.memmove(ctypes.byref(g), primary["seg"], len(primary["seg"]))
        skip = any(enabled >> 5 for enabled in g.feature_enabled)
        g.flags = 1 | update_map << 1 | temporal << 2 | update_data << 3 | skip << 4

    def is_lossless(self, c):
        q, g = c.quantization, c.segmentation
        if q.delta_q_y_dc or q.delta_q_u_dc or q.delta_q_u_ac or q.delta_q_v_dc or q.delta_q_v_ac:
            return False
        for enabled, data in zip(g.feature_enabled, g.feature_data):
            index = q.base_q_idx + (data[0] if g.flags & 1 and enabled & 1 else 0)
            if min(max(index, 0), 255):
                return False
        return True

    def parse_filters(self, b, c, h, primary):
        s, q, lf, copies = self.flags, c.quantization, c.loop_filter, h.get("intrabc")
        if q.base_q_idx and b.f(1):
            q.flags |= 4
            q.delta_q_res = b.f(2)
            if not copies and b.f(1):
                lf.flags |= 4
                lf.delta_lf_res = b.f(2)
                lf.flags |= 8 * b.f(1)
        self.lossless = self.is_lossless(c)
        deltas = primary["deltas"] if primary else ([1, 0, 0, 0, -1, 0, -1, -1], [0, 0])
        if self.lossless or copies:
            deltas = [1, 0, 0, 0, -1, 0, -1, -1], [0, 0]
        lf.ref_deltas[:], lf.mode_deltas[:] = deltas
        if not self.lossless and not copies:
            lf.level[0], lf.level[1] = b.f(6), b.f(6)
            if lf.level[0] or lf.level[1]:
                lf.level[2], lf.level[3] = b.f(6), b.f(6)
            lf.sharpness = b.f(3)
            if b.f(1):
                lf.flags |= 1
                if b.f(1):
                    lf.flags |= 2
                    for values, count in (lf.ref_deltas, 8), (lf.mode_deltas, 2):
                        for i in range(count):
                            if b.f(1):
                                values[i] = b.su(7)
            if s["cdef"]:
                d = c.cdef
                d.damping_minus_3, d.bits = b.f(2), b.f(2)
                for i in range(1 << d.bits):
                    for pri, sec in (
                        (d.y_pri_strength, d.y_sec_strength),
                        (d.uv_pri_strength, d.uv_sec_strength),
                    ):
                        pri[i], sec[i] = b.f(4), b.f(2)
                        sec[i] += sec[i] == 3
        all_lossless = self.lossless and not h["use_superres"]
        if all_lossless or copies or not s["restoration"]:
            return
        r = c.loop_restoration
        kinds = [(0, 3, 1, 2)[b.f(2)] for _ in range(3)]
        r.frame_restoration_type[:] = kinds
        if any(kinds):
            if s["use_128"]:
                shift = b.f(1) + 1
            else:
                shift = b.f(1)
                shift += b.f(1) if shift else 0
            uv = b.f(1) if any(kinds[1:]) else 0
            r.lr_unit_shift, r.lr_uv_shift = shift, uv
            r.flags = 1 | 2 * any(kinds[1:])
            r.loop_restoration_size[:] = [64 << shift, 64 << shift >> uv, 64 << shift >> uv]

    def parse_modes(self, b, c, h, intra):
        if not self.lossless:
            c.tx_mode = 2 if b.f(1) else 1
        h["reference_select"] = 0 if intra else b.f(1)
        pair = self.skip_mode_frames(c) if h["reference_select"] else None
        if pair:
            c.skip_mode_frame[:] = pair
            h["skip_allowed"], h["skip_present"] = 1, b.f(1)
        if not intra and not h["error_resilient"] and self.flags.get("warped"):
            h["warped"] = b.f(1)
        h["reduced_tx"] = b.f(1)

    def skip_mode_frames(self, c):
        if not self.flags.get("order_hint"):
            return None
        before, after = [], []
        for i in range(7):
            apart = self.distance(c.order_hints[i + 1], c.order_hint)
            if apart:
                (before if apart < 0 else after).append((apart, -i))
        if not before:
            return None
        first = max(before)
        if after:
            second = min((apart, -i) for apart, i in after)
            return sorted((1 - first[1], 1 + second[1]))
        others = [one for one in before if one[0] < first[0]]
        return sorted((1 - first[1], 1 - max(others)[1])) if others else None

    def parse_motion(self, b, c, h, intra, primary):
        g = c.global_motion
        earlier = primary["gm"] if primary else identity()
        for ref, params in enumerate(identity()):
            g.params[ref][:] = params
        if intra:
            return
        less = 0 if h["high_precision"] else 1
        for ref in range(1, 8):
            kind = 0
            if b.f(1):
                kind = 2 if b.f(1) else 1 if b.f(1) else 3
            g.type[ref] = kind
            g.flags[ref] = (0, 5, 3, 1)[kind]
            params = g.params[ref]
            for at in ((), (0, 1), (2, 3, 0, 1), (2, 3, 4, 5, 0, 1))[kind]:
                limit, precision = 12, 15
                if at < 2:
                    limit, precision = (9 - less, 3 - less) if kind == 1 else (12, 6)
                one, shift = at % 3 == 2, 16 - precision
                near = (earlier[ref][at] >> shift) - (one << precision)
                value = b.near(-(1 << limit), (1 << limit) + 1, near)
                params[at] = (value << shift) + (one << 16)
                if kind == 2 and at == 3:
                    params[4], params[5] = -params[3], params[2]

    def parse_grain(self, b, c, h):
        g = FilmGrain()
        if not self.flags["film_grain"] or not (h["show"] or h["showable"]) or not b.f(1):
            return g
        g.grain_seed = seed = b.f(16)
        if c.frame_type == INTER and not b.f(1):
            at = b.f(3)
            earlier = self.slots[at]["grain"]
            ctypes.memmove(ctypes.byref(g), earlier, len(earlier))
            g.film_grain_params_ref_idx, g.grain_seed = at, seed
            g.flags &= ~2
            return g
        g.num_y_points = self.points(b, g.point_y_value, g.point_y_scaling)
        follows = b.f(1)
        if not follows and g.num_y_points:
            g.num_cb_points = self.points(b, g.point_cb_value, g.point_cb_scaling)
            g.num_cr_points = self.points(b, g.point_cr_value, g.point_cr_scaling)
        g.grain_scaling_minus_8, g.ar_coeff_lag = b.f(2), b.f(2)
        luma = 2 * g.ar_coeff_lag * (g.ar_coeff_lag + 1)
        chroma = luma + (g.num_y_points > 0)
        for is_there, values, count in (
            (g.num_y_points, g.ar_coeffs_y_plus_128, luma),
            (follows or g.num_cb_points, g.ar_coeffs_cb_plus_128, chroma),
            (follows or g.num_cr_points, g.ar_coeffs_cr_plus_128, chroma),
        ):
            for i in range(count if is_there else 0):
                values[i] = b.f(8)
        g.ar_coeff_shift_minus_6, g.grain_scale_shift = b.f(2), b.f(2)
        if g.num_cb_points:
            g.cb_mult, g.cb_luma_mult, g.cb_offset = b.f(8), b.f(8), b.f(9)
        if g.num_cr_points:
            g.cr_mult, g.cr_luma_mult, g.cr_offset = b.f(8), b.f(8), b.f(9)
        overlap, clip = b.f(1), b.f(1)
        g.flags = 1 | 2 | follows << 2 | overlap << 3 | clip << 4
        return g

    @staticmethod
    def points(b, values, scalings):
        count = b.f(4)
        for i in range(count):
            values[i], scalings[i] = b.f(8), b.f(8)
        return count

    def parse_tile_group(self, data, at, info, entries):
        """Appends the entries of a group that begins at a byte of the data."""
        b = Bits(data[at:])
        count = info.tile_cols * info.tile_rows
        first, last = 0, count - 1
        if count > 1 and b.f(1):
            first, last = b.f(self.tile_log), b.f(self.tile_log)
        b.align()
        at += b.at >> 3
        for tile in range(first, last + 1):
            size = len(data) - at
            if tile != last:
                more = info.tile_size_bytes
                size = int.from_bytes(data[at : at + more], "little") + 1
                at += more
            entries.append(Entry(at, size, tile // info.tile_cols, tile % info.tile_cols))
            at += size

    def frames(self, unit):
        """Yields the frames of a temporal unit: control, grain, state, entries and bytes; or a slot."""
        at, header, entries, content = 0, None, [], b""
        while at < len(unit):
            kind, extended, sized = unit[at] >> 3 & 15, unit[at] >> 2 & 1, unit[at] >> 1 & 1
            at += 1 + extended
            size, shift = len(unit) - at, 0
            if sized:
                size = 0
                while True:
                    size |= (unit[at] & 0x7F) << shift
                    at, shift = at + 1, shift + 7
                    if not unit[at - 1] & 0x80:
                        break
            data = unit[at : at + size]
            at += size
            if kind == 1:
                self.parse_sequence(data)
            elif kind in (3, 6) and header is None:
                b = Bits(data)
                header = self.parse_frame_header(b)
                if isinstance(header, int):
                    yield header
                    header = None
                    continue
                b.align()
                entries, content = [], b""
                if kind == 6:
                    self.parse_tile_group(data, b.at >> 3, header[0].tile_info, entries)
                    content = data
            elif kind == 4:
                before = len(content)
                group = []
                self.parse_tile_group(data, 0, header[0].tile_info, group)
                for entry in group:
                    entry.tile_offset += before
                entries += group
                content += data
            if header and entries and len(entries) == (
                header[0].tile_info.tile_cols * header[0].tile_info.tile_rows
            ):
                yield (*header, entries, content)
                header = None
