//! User memory at a device: copied in at QBUF and out at DQBUF.

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
fn frames_arrive_where_the_memory_is() {
    for word in ["frame", "exec"] {
        let Some(outcome) = runs(word) else { return };
        expect_pattern(&YUYV, &outcome.read("frame.raw"));
    }
}

#[test]
fn memory_that_is_gone_gets_no_frame() {
    runs("unmapped");
    runs("partly");
}

/// memfd_secret, and pages past a file's end.
#[test]
fn memory_that_cannot_be_pinned_is_refused() {
    runs("pageless");
}

#[test]
fn hundred_buffers_with_a_concurrent_mapper() {
    runs("all");
}
