//! Runs the container images of a build for their own architecture, without root or a daemon.
fn main() {}
