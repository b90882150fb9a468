//! The rows of the errno table.
