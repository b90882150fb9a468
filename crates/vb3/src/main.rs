//! The vb3 command.

fn main() {}
