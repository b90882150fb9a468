//! Compiles the C that calls libavcodec; where its headers are missing, one that has no codecs.

/// Debian 12's.
const OLDEST: &str = "59";

fn main() {
    println!("cargo::rerun-if-changed=shim");
    let mut shim = cc::Build::new();
    shim.flag("-std=c11").flag("-Wall").flag("-Wextra");
    let found = pkg_config::Config::new()
        .atleast_version(OLDEST)
        .cargo_metadata(false)
        .probe("libavcodec");
    match found {
        Ok(library) => {
            shim.includes(&library.include_paths);
            shim.files(["shim/avcodec.c", "shim/encoder.c"]);
            shim.compile("vb3_avcodec");
            // After the objects that need it.
            for path in &library.link_paths {
                println!("cargo::rustc-link-search=native={}", path.display());
            }
            println!("cargo::rustc-link-lib=avcodec");
            println!("cargo::rustc-link-lib=avutil");
        }
        Err(_) => {
            // A file that is never there: looked for again each time, since it may be installed.
            println!("cargo::rerun-if-changed=libavcodec-is-missing");
            println!(
                "cargo::warning=libavcodec {OLDEST} or later is not installed, so that vb3-codec \
                 decodes nothing; on Debian: apt-get install libavcodec-dev pkg-config"
            );
            shim.file("shim/none.c").compile("vb3_avcodec");
        }
    }
}
