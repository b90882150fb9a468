//! Pipelines of several devices that share their memory.
