//! Clients that others wrote, run against a registry of the test's own.
//!
//! A client that keeps daemons, mounts or state in fixed places runs in a [`Cell`], which takes all of that with it when
//! the test ends, however it ends.

mod cell;
mod containerd;
mod docker;
mod image;
mod podman;
mod python;
mod tools;
mod traffic;

pub use cell::{Cell, Output};
pub use containerd::Containerd;
pub use docker::Docker;
pub(crate) use image::busybox;
pub use image::{Layout, Tree, assert_whole, fetched_busybox};
pub use podman::Containers;
pub use python::{DOCKER, DXF, ID_TOKEN, ISSUER, ORAS, SECURE_ORAS, python, run_python};
pub use tools::require;
pub use traffic::{Exchange, Traffic, registry};
