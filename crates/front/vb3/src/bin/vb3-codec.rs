//! The codec process of `vb3`'s devices, with libavcodec.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    vb3_avcodec::main()
}
