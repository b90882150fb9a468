//! The patches with planted errors apply to the tree; `cargo xtask nightly "planted errors"` shows that seeds find the errors.

use std::path::Path;
use std::process::Command;

#[test]
fn planted_errors_apply_to_this_tree() {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for entry in own.join("planted").read_dir().unwrap() {
        let patch = entry.unwrap().path();
        let mut git = Command::new("git");
        git.args(["apply", "-C1", "--check"]).arg(&patch);
        let Ok(out) = git.current_dir(own.join("../../..")).output() else {
            vb3_skip::skip("git does not start");
            return;
        };
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{said}");
        count += 1;
    }
    assert_eq!(count, 23);
}
