//! Project tasks: `cargo xtask demo`, `cargo xtask test` and what a developer needs besides.
#![forbid(unsafe_code)]
#![allow(
    clippy::doc_paragraphs_missing_punctuation,
    reason = "clap shows them as help, which has no full stops"
)]

mod arch;
mod bench;
mod bindings;
mod conform;
mod demo;
mod dist;
mod docs;
mod fuzz;
mod gate;
mod guest;
mod reach;
mod seeds;
mod setup;
mod sh;
mod step;
mod table;
mod test;
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
    /// Stream a clip through two pipelines on four machines; make a table and a contact sheet
    Demo,
    /// Install packages, then run the tests: quick, the default ones, or full
    Test(test::Args),
    /// Run what must pass before a change lands, or only some of its steps, such as `gate "no std"`
    Gate(gate::Args),
    /// Run what takes too long for the gate, or only some of its steps, such as `nightly bindings`
    Nightly(gate::Args),
    /// Measure, mostly ratios of two timings: alone, or `pipeline`, `scale`, `beside`, `camera`, `card`, `core`,
    /// `dma`, `kernel`
    Bench(bench::Args),
    /// Test the kernel modules in virtual machines, and compare them with the C modules
    Vm(vm::Args),
    /// Compare with stock Linux's what programs see: answers to calls, programs of other Debian releases
    Conform(conform::Args),
    /// Build the kernel modules' packages
    Dkms(vm::dkms::Args),
    /// Test containers and kernels, all or `reach docker`; lists those that are unavailable.
    /// `--profile docker-20.10 -- vb3 doctor` runs a command under a container's default profile
    Reach(reach::Args),
    /// Build static binaries, tarballs and Debian packages; `--try` installs them
    Dist(dist::Args),
    /// Install the system packages that demo and test need
    Setup,
    /// Check layers, import cycles, file lengths, unsafe, documentation, links, vague names and the generated
    /// blocks of docs/
    Tidy(tidy::Args),
    /// Run the fuzz targets; `--replay`: only their stored inputs
    Fuzz(fuzz::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Demo => demo::run(),
        Task::Test(args) => test::run(&args),
        Task::Gate(args) => gate::gate(&args),
        Task::Nightly(args) => gate::nightly(&args),
        Task::Bench(args) => bench::run(&args),
        Task::Vm(args) => vm::run(&args).map(drop),
        Task::Conform(args) => conform::run(&args),
        Task::Dkms(args) => vm::dkms::run(&args),
        Task::Reach(args) => reach::run(&args),
        Task::Dist(args) => dist::run(&args),
        Task::Setup => setup::install(setup::ALL),
        Task::Tidy(args) => tidy::run(&args),
        Task::Fuzz(args) => fuzz::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("xtask: {e:#}");
            ExitCode::FAILURE
        }
    }
}
