//! Trials: a real `wharf serve` under random work over real HTTP, for seconds in a test or for hours by hand.
//!
//! What a trial chooses comes from its seed, so that what one has found another finds again. Each is held against a program with a fault of its kind built in
//! on purpose (`scripts/planted`): a trial that cannot fail proves nothing.

mod client;
pub mod collection;
mod failure;
pub mod faults;
pub mod model;
pub mod options;
mod plan;
pub mod power;
pub mod uploads;

pub use failure::{Failure, Result};
pub use plan::{Clock, Found, Limit, Plan, Report};

/// A trial.
pub struct Trial {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it proves when it finds nothing.
    pub proves: &'static str,
    /// Runs it to its end. What it finds is in the report; an error says why it could not be run.
    pub run: fn(&Plan) -> Result<Report>,
}

/// All trials.
pub const TRIALS: &[Trial] = &[
    Trial { name: "model", proves: "every answer is the one that a simple model gives", run: model::run },
    Trial { name: "collection", proves: "collection loses nothing of a push, and leaves no garbage", run: collection::run },
    Trial { name: "power", proves: "a power cut takes nothing that was acknowledged", run: power::run },
    Trial {
        name: "faults",
        proves: "a failing disk, a lack of descriptors or a held index end nobody else's work",
        run: faults::run,
    },
    Trial {
        name: "uploads",
        proves: "a million small uploads leave nothing, and cost the last what they cost the first",
        run: uploads::run,
    },
];
