//! Compiles the C code that calls libavcodec. Without libavcodec's headers, the crate has no codecs.

/// The oldest supported version of libavcodec: that of Debian 12.
const OLDEST: &str = "59";

fn main() {
    println!("cargo::rerun-if-changed=shim");
    println!("cargo::rustc-check-cfg=cfg(libavcodec)");
    let found = pkg_config::Config::new()
        .atleast_version(OLDEST)
        .cargo_metadata(false)
        .probe("libavcodec");
    match found {
        Ok(library) => {
            println!("cargo::rustc-cfg=libavcodec");
            let mut shim = cc::Build::new();
            shim.flag("-std=c11").flag("-Wall").flag("-Wextra");
            shim.includes(&library.include_paths);
            shim.files(["shim/avcodec.c", "shim/encoder.c"]);
            shim.compile("vb3_avcodec");
            // The libraries must come after the objects that need them.
            for path in &library.link_paths {
                println!("cargo::rustc-link-search=native={}", path.display());
            }
            println!("cargo::rustc-link-lib=avcodec");
            println!("cargo::rustc-link-lib=avutil");
        }
        Err(_) => {
            // A file that never exists makes cargo run this each time, since libavcodec may be
            // installed later.
            println!("cargo::rerun-if-changed=libavcodec-is-missing");
            println!(
                "cargo::warning=vb3-codec has no codecs: libavcodec {OLDEST} or later was not found. For \
                 codecs other than JPEG, on Debian: apt-get install libavcodec-dev pkg-config, then build \
                 again"
            );
        }
    }
}
