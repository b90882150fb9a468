//! Project tasks: `cargo xtask demo`, `cargo xtask test` and what a developer needs besides.
#![forbid(unsafe_code)]

mod adopt;
mod audit;
mod bench;
mod bindings;
mod ci;
mod clip;
mod compliance;
mod demo;
mod dist;
mod exact;
mod fluster;
mod fuzz;
mod guest;
mod nostd;
mod pictures;
mod reach;
mod setup;
mod sh;
mod sim;
mod storm;
mod table;
mod tidy;
mod vm;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Project tasks.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Stream a real clip from a camera to a display on several machines, and show the result
    Demo(demo::Args),
    /// Run the tests: quick, the default ones, or full
    Test(ci::TestArgs),
    /// Measure; every figure is a ratio of two timings taken in one run
    Bench(bench::Args),
    /// Test the kernel module in virtual machines, and compare it with the C module
    Vm(vm::Args),
    /// Compare what `vb3 run` says to each call with what stock Linux says
    Conformance,
    /// Run the tests that run v4l2-compliance by other versions of it, from Debian's releases
    Compliance(compliance::Args),
    /// Build the kernel module's package
    Dkms(vm::dkms::Args),
    /// Test containers and kernels and show what works: `reach` for all, or `reach docker` for some
    Reach(reach::Args),
    /// Run a command under a container's profile of system calls: `confine docker-20.10 vb3 …`
    Confine(reach::ConfineArgs),
    /// Decode many streams at random, and compare every picture with ffmpeg's
    Exact(exact::Args),
    /// Decode conformance streams by fluster, and compare their checksums with those it knows
    Fluster(fluster::Args),
    /// Kill, confuse and interrupt programs for long: nothing hangs, is held or is lost
    Storm(storm::Args),
    /// Simulate the whole stack by seed, or show which planted errors seeds find
    Sim(sim::Args),
    /// Make what users install: a static binary in a tarball and in a Debian package
    Dist(dist::Args),
    /// Install the system packages that demo and test need
    Setup,
    /// Regenerate the V4L2 bindings and compare them with the ones checked in
    Bindings,
    /// Check the layers, file lengths and where unsafe stands
    Tidy,
    /// Check licences, sources and advisories of dependencies, where cargo-deny is installed
    Deny(audit::DenyArgs),
    /// Compare what the libraries offer with an earlier commit, where cargo-semver-checks is installed
    Semver(audit::SemverArgs),
    /// Link the no_std crates without std, and check them for other targets
    Nostd,
    /// Run other people's drivers over the mapping layer, on a bare machine in QEMU
    Adopt,
    /// Fuzz the mapping layer, or run the inputs kept where the tools for it are missing
    Fuzz(fuzz::Args),
    /// Everything that must pass: formatting, clippy, docs, tidy, bindings, nostd, adopt, fuzz,
    /// tests, VMs
    Ci,
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Demo(args) => demo::run(&args),
        Task::Test(args) => ci::test(&args),
        Task::Bench(args) => bench::run(&args),
        Task::Vm(args) => vm::run(&args),
        Task::Conformance => vm::conform::run(),
        Task::Compliance(args) => compliance::run(&args),
        Task::Dkms(args) => vm::dkms::run(&args),
        Task::Reach(args) => reach::run(&args),
        Task::Confine(args) => reach::confine(&args),
        Task::Exact(args) => exact::run(&args),
        Task::Fluster(args) => fluster::run(&args),
        Task::Storm(args) => storm::run(&args),
        Task::Sim(args) => sim::run(&args),
        Task::Dist(args) => dist::run(&args),
        Task::Setup => setup::install(setup::ALL),
        Task::Bindings => bindings::run(),
        Task::Tidy => tidy::run(),
        Task::Deny(args) => audit::deny(&args),
        Task::Semver(args) => audit::semver(&args),
        Task::Nostd => nostd::run(),
        Task::Adopt => adopt::run(),
        Task::Fuzz(args) => fuzz::run(&args),
        Task::Ci => ci::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("xtask: {e:#}");
            ExitCode::FAILURE
        }
    }
}
