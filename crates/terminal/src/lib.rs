//! What the programs of the workspace have in common before people: messages and reports, progress, and text of strangers made harmless.
#![forbid(unsafe_code)]

pub mod printable;
pub mod progress;
pub mod ui;
