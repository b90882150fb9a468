//! Measures the mapping layer: address allocation, mapping, flushing, bouncing.
//!
//! `cargo run --release -p vb3-dma --example bench_dma [iova|threads|map|flush|bounce|memory]`
//!
//! All figures of a table come from one run on one machine; compare ratios, not nanoseconds.

mod iova;
mod map;
mod platform;
mod stats;
mod tree;

fn main() {
    let only = std::env::args().nth(1);
    let wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    let clock = stats::clock_cost();
    if wanted("iova") {
        iova::check_tree();
        iova::single(clock);
    }
    if wanted("threads") {
        iova::shared();
        map::parallel();
    }
    if wanted("map") {
        map::mapping(clock);
    }
    if wanted("flush") {
        map::flushing(clock);
    }
    if wanted("bounce") {
        map::bouncing(clock);
    }
    if wanted("memory") {
        map::metadata();
    }
}
