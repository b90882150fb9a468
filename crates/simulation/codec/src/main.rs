//! The codec worker program. Its standard input is the socket.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    vb3_codec::serve_stdin()
}
