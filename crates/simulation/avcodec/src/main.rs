//! The worker program for this crate's tests. Users get it as `vb3-codec`.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    vb3_avcodec::main()
}
