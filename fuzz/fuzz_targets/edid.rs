//! Arbitrary EDIDs, half of them with the right header, length and checksums. Each is refused with a message, or gives
//! modes with different names.
#![cfg_attr(feature = "libfuzzer", no_main)]

use std::collections::BTreeSet;
use vb3_drm::{Edid, Mode};
use vb3_fuzz::random::Rest;

const BLOCK: usize = 128;

/// Gives bytes what each EDID has, so that its contents are reached.
fn completed(bytes: &[u8]) -> Vec<u8> {
    let blocks = bytes.len().div_ceil(BLOCK).clamp(1, 4);
    let mut all = bytes.to_vec();
    all.resize(blocks * BLOCK, 0);
    all[..8].copy_from_slice(&[0, 255, 255, 255, 255, 255, 255, 0]);
    all[BLOCK - 2] = u8::try_from(blocks - 1).expect("at most four");
    for block in all.as_chunks_mut::<BLOCK>().0 {
        let sum = block[..BLOCK - 1]
            .iter()
            .fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        block[BLOCK - 1] = sum.wrapping_neg();
    }
    all
}

fn check(bytes: &[u8]) {
    let edid = match Edid::new(bytes) {
        Ok(edid) => edid,
        Err(e) => return assert!(!e.to_string().is_empty()),
    };
    assert_eq!(edid.bytes(), bytes);
    let modes = edid.modes();
    assert!((1..=64).contains(&modes.len()), "{} modes", modes.len());
    let names: BTreeSet<String> = modes.iter().map(Mode::name).collect();
    assert_eq!(names.len(), modes.len(), "{names:?}");
    assert!(modes.iter().all(|mode| mode.frame_ns() > 0));
}

vb3_fuzz::target!(|bytes: Rest| {
    check(&bytes.0);
    check(&completed(&bytes.0));
});
