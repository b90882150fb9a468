//! The program that codes for devices of `vb3` by libavcodec.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    vb3_avcodec::main()
}
