//! The tags a run of `push` gives: a [`Strategy`] is read once, the [`Facts`] it needs are gathered once, and [`plan`] makes tags of
//! them for each image.

mod branch;
mod facts;
mod plan;
mod strategy;

pub use facts::{Facts, Skipped};
pub use plan::{TagPlan, TagsError, plan};
pub use strategy::{Strategy, StrategyError, Token};
