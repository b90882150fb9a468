//! A card's properties, from its SPEC.

use anyhow::{Context as _, Result};
use std::io::Read as _;
use vb3_devices::CARD_FORMATS;
use vb3_devices::spec::{CardSpec, DeviceKind, DeviceSpec, Pace};
use vb3_drm::{Config, Edid, Mode};

/// Sizes of the modes that a card has besides that of `size=`, unless the SPEC has `sizes=` or the
/// card takes the modes of an EDID. Without `size=`, the first of these sizes is the preferred
/// mode.
const SIZES: [(u32, u32); 5] = [
    (1280, 720),
    (1920, 1080),
    (1024, 768),
    (800, 600),
    (640, 480),
];

/// The driver's name unless the SPEC has one: kmssink tries only the names of some boards' drivers.
const DRIVER: &str = "rockchip";

/// Largest file of `edid=` that is read, in bytes.
const MAX_EDID: u64 = 4096;

/// Reads the monitors' EDID from a file.
fn read_edid(path: &std::path::Path) -> Result<Edid> {
    let (mut bytes, said) = (Vec::new(), || format!("edid={}", path.display()));
    let file = std::fs::File::open(path).with_context(said)?;
    file.take(MAX_EDID)
        .read_to_end(&mut bytes)
        .with_context(said)?;
    Edid::new(&bytes).with_context(said)
}

/// Returns the properties of a SPEC's card.
///
/// # Errors
/// Fails with a message for an EDID that cannot be used.
pub(super) fn of(spec: &DeviceSpec) -> Result<Config> {
    let card = match &spec.kind {
        DeviceKind::Kms { card, .. } => card.clone(),
        _ => CardSpec::default(),
    };
    let edid = card.edid.as_deref().map(read_edid).transpose()?;
    let fps = spec
        .fps
        .map_or(60, |fps| fps.numerator.div_ceil(fps.denominator.max(1)));
    let of = |size: &vb3_picture::Size| (size.width(), size.height());
    let sizes = spec.size.iter().chain(&spec.sizes);
    let mut sizes: Vec<(u32, u32)> = sizes.map(of).collect();
    let own = edid.as_ref().filter(|_| sizes.is_empty());
    if spec.sizes.is_empty() && own.is_none() {
        sizes.extend(SIZES);
    }
    let mut seen = std::collections::BTreeSet::new();
    sizes.retain(|size| seen.insert(*size));
    let modes = sizes.iter().enumerate();
    let modes = modes.map(|(at, (width, height))| Mode::new(*width, *height, fps, at == 0));
    let modes = own.map_or_else(|| modes.collect(), Edid::modes);
    let formats = spec.formats.iter().map(|format| format.0);
    let all = || CARD_FORMATS.map(u32::from_le_bytes).to_vec();
    let driver = spec.driver.clone().unwrap_or_else(|| DRIVER.to_owned());
    Ok(Config {
        description: match &spec.name {
            Some(name) => name.clone(),
            None => format!("Simulated {driver} display"),
        },
        driver,
        unique: String::new(),
        formats: if spec.formats.is_empty() {
            all()
        } else {
            formats.collect()
        },
        modes,
        connectors: card.connectors,
        overlays: card.overlays,
        scales: card.scales,
        pitch_align: spec.stride.unwrap_or(1),
        is_free: spec.pace() == Pace::Free,
        edid,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_have_the_chosen_rate() {
        for (text, fps) in [("kms", 60), ("kms,fps=30", 30), ("kms,fps=60000/1001", 60)] {
            let spec = text.parse().expect("a SPEC");
            for mode in of(&spec).expect("a card").modes {
                let rate = (1_000_000_000 + mode.frame_ns() / 2) / mode.frame_ns();
                assert_eq!(rate, fps, "{text}");
            }
        }
    }
}
