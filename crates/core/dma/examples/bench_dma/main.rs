//! Measures the mapping layer: address allocation, mapping, flushing, bouncing.
//!
//! `cargo run --release -p vb3-dma --example bench_dma [iova|threads|map|flush|bounce|memory]`;
//! `rounds (direct|iommu) NUMBER` maps and unmaps that often, for a tool that counts instructions.
//!
//! All figures of a table come from one run on one machine; compare ratios, not nanoseconds.

mod count;
mod iova;
mod map;
mod platform;
mod stats;
mod tree;

fn main() {
    let mut args = std::env::args().skip(1);
    let only = args.next();
    if only.as_deref() == Some("rounds") {
        let has_iommu = args.next().as_deref() == Some("iommu");
        let number = args.next().and_then(|number| number.parse().ok());
        return count::rounds(has_iommu, number.expect("a number of rounds"));
    }
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
