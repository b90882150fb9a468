//! The worker that this crate's tests start; users have it as `vb3-codec`.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    vb3_avcodec::main()
}
