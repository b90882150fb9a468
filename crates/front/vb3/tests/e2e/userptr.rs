//! User memory that a program unmaps or replaces while a device uses it. A real driver would have pinned its
//! pages.

use crate::common::{Run, RunOutput, compiled, expect_pattern, size_option};
use vb3_v4l2::pixfmt::YUYV;

fn runs(word: &str) -> Option<RunOutput> {
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
fn memory_mapped_over_a_buffer_is_kept() {
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

/// memfd_secret, and pages past a file's end.
#[test]
fn memory_that_cannot_be_pinned_is_refused() {
    runs("pageless");
}

/// The kernel watches only whole huge pages.
#[test]
fn huge_pages_mapped_over_a_buffer_are_kept() {
    let skipped = runs("huge").filter(|outcome| outcome.stdout.contains("skipped"));
    skipped.inspect(|outcome| vb3_skip::elsewhere(outcome.stdout.trim_end()));
}

/// Two userfaultfds cannot watch the same memory.
#[test]
fn untracked_memory_is_noted_once() {
    let Some(outcome) = runs("watched") else {
        return;
    };
    let is_it = |note: &&String| note.contains("userfaultfd is refused for this memory");
    assert_eq!(outcome.report.notes.iter().filter(is_it).count(), 1);
}

#[test]
fn program_is_tracked_after_exec() {
    runs("exec");
}

/// vb3 makes a thread of the program open the userfaultfd, and maps a page for this. The page must not fill a
/// gap that another thread has just unmapped and will map again.
#[test]
fn nothing_is_mapped_in_a_gap_of_the_programs() {
    runs("gap");
}

#[test]
fn hundred_buffers_with_a_concurrent_mapper() {
    runs("all");
}
