//! The other side of the distribution specification: reading from registries and writing to them.
#![forbid(unsafe_code)]
