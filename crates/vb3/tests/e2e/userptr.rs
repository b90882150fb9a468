//! Memory that a program gives to a device and takes away before the device is done: a kernel has
//! pinned its pages.

use crate::common::{Outcome, Run, compiled, expect_pattern, size_option};
use vb3_v4l2::pixfmt::YUYV;

fn runs(word: &str) -> Option<Outcome> {
    let program = compiled("userptr.c")?;
    let run = Run::on("soc-iommu").device(format!(
        "camera=pattern,format=YUYV,fps=60,{}",
        size_option()
    ));
    let file = run.file("frame.raw");
    let outcome = run
        .program([program.as_os_str()])
        .and([word.as_ref(), "/dev/video0".as_ref(), file.as_os_str()])
        .run();
    outcome.expect_success().expect_nothing_held();
    Some(outcome)
}

#[test]
fn what_is_mapped_in_its_place_is_kept() {
    runs("replaced");
}

#[test]
fn a_frame_follows_memory_that_is_moved() {
    for word in ["moved", "shared"] {
        let Some(outcome) = runs(word) else { return };
        expect_pattern(&YUYV, &outcome.read("frame.raw"));
    }
}

#[test]
fn a_page_that_is_replaced_is_left_out() {
    runs("partly");
}

#[test]
fn pages_that_are_dropped_stay_dropped() {
    runs("dropped");
}

#[test]
fn a_program_that_runs_another_is_followed_anew() {
    runs("exec");
}

/// A thread of the program makes what tells of its memory. What it maps for that is not where
/// another thread unmapped something and is about to map something else.
#[test]
fn nothing_is_mapped_in_a_gap_of_the_programs() {
    runs("gap");
}

#[test]
fn a_hundred_buffers_beside_a_thread_that_maps_and_unmaps() {
    runs("all");
}
