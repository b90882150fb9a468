//! What a program that calls a card may do.

/// Returns whether a process is root. A process that the run cannot look up, such as a guest's, counts as
/// root if the run itself is root.
pub(super) fn is_root(pid: u32) -> bool {
    let is_own = rustix::process::geteuid().is_root();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
    let status = status.ok().filter(|_| is_own);
    let ids = status.as_deref().and_then(|text| text.split_once("\nUid:"));
    // The second id is the effective one.
    let id = ids.and_then(|(_, ids)| ids.split_whitespace().nth(1));
    id.map_or(is_own, |id| id == "0")
}
