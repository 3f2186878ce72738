//! Layers put on top of each other: what a process sees whose root is the image.
//!
//! This does in memory what `wharf_layers::unpack` does with files: the same names are refused, the same links are followed, and the same
//! whiteouts take the same files away.

mod apply;
mod place;
mod remove;
mod tree;

pub(crate) use tree::{Body, Device, Directory, Node, NodeId, ROOT, Tree};
