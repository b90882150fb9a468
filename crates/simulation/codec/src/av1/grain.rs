//! Film grain (AV1, 5.9.30).

use super::{FilmGrain, GrainPoints};
use crate::parameter_sets::bits::BitWriter;

/// Writes a frame's film grain with all parameters, even those that are equal to a reference frame's.
pub(super) fn put(bits: &mut BitWriter, grain: Option<&FilmGrain>, may_refer: bool) {
    let Some(grain) = grain.filter(|grain| grain.flags & 1 != 0) else {
        bits.flag(false);
        return;
    };
    bits.flag(true);
    bits.put(grain.grain_seed.into(), 16);
    if may_refer {
        bits.flag(true);
    }
    put_points(bits, &grain.y);
    let follows_luma = grain.flags & 4 != 0;
    bits.flag(follows_luma);
    let has_points = !follows_luma && grain.y.count > 0;
    if has_points {
        put_points(bits, &grain.cb);
        put_points(bits, &grain.cr);
    }
    let count = |points: &GrainPoints| if has_points { points.count } else { 0 };
    bits.put(grain.grain_scaling_minus_8.into(), 2);
    bits.put(grain.ar_coeff_lag.into(), 2);
    let lag = usize::from(grain.ar_coeff_lag.min(3));
    let luma = 2 * lag * (lag + 1);
    let chroma = luma + usize::from(grain.y.count > 0);
    let put_all = |bits: &mut BitWriter, values: &[u8]| {
        values.iter().for_each(|value| bits.put((*value).into(), 8));
    };
    if grain.y.count > 0 {
        put_all(bits, &grain.ar_coeffs_y_plus_128[..luma]);
    }
    if follows_luma || count(&grain.cb) > 0 {
        put_all(bits, &grain.ar_coeffs_cb_plus_128[..chroma]);
    }
    if follows_luma || count(&grain.cr) > 0 {
        put_all(bits, &grain.ar_coeffs_cr_plus_128[..chroma]);
    }
    bits.put(grain.ar_coeff_shift_minus_6.into(), 2);
    bits.put(grain.grain_scale_shift.into(), 2);
    for (points, (mult, luma_mult, offset)) in
        [(&grain.cb, grain.cb_mult), (&grain.cr, grain.cr_mult)]
    {
        if count(points) > 0 {
            put_all(bits, &[mult, luma_mult]);
            bits.put(offset.into(), 9);
        }
    }
    bits.flag(grain.flags & 8 != 0);
    bits.flag(grain.flags & 16 != 0);
}

fn put_points(bits: &mut BitWriter, points: &GrainPoints) {
    bits.put(points.count.into(), 4);
    let pairs = points.values.iter().zip(&points.scalings);
    for (value, scaling) in pairs.take(points.count.into()) {
        bits.put((*value).into(), 8);
        bits.put((*scaling).into(), 8);
    }
}
