//! The model trial: random operations, and a model of the server that says what each answer must be.
//!
//! Rounds alternate between two phases. In the first one client has a fresh server to itself, through restarts, kills and collections that it orders, so that
//! each answer is known; a list of operations that fails is made as small as it can be. In the second many clients have repositories of their own, so that
//! their answers are known as well, while they share blobs, and collection goes on beside them.

mod blobs;
pub mod case;
mod content;
pub mod crowd;
mod listings;
mod manifests;
mod op;
mod player;
mod state;
mod uploads;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use content::Content;

use crate::failure::{Failure, Result};
use crate::plan::{Found, Plan, Report};
use case::{Case, Played};

/// Operations of one case.
const LENGTH: usize = 300;

/// Runs the trial.
///
/// # Errors
/// None: whatever goes wrong is found.
pub fn run(plan: &Plan) -> Result<Report> {
    let (clock, content) = (plan.clock(), Content::new());
    let mut report = Report::default();
    let (mut sums, mut rounds) = (Played::default(), 0);
    for seed in plan.seed.. {
        let played = match round(seed, plan, &content, &|requests| clock.is_over(requests), &mut sums) {
            Ok(()) => None,
            Err(what) => Some(Found { what, seed }),
        };
        rounds += 1;
        report.failures.extend(played);
        if clock.is_over(sums.requests) || !report.failures.is_empty() {
            break;
        }
    }
    (report.events, report.faults) = (sums.requests, sums.faults);
    report.figure("rounds", rounds);
    report.figure("answers", &sums.answers);
    report.figure("collections", sums.collections);
    report.figure("longest request", format!("{:.3} s", sums.longest.as_secs_f64()));
    Ok(report)
}

fn round(
    seed: u64,
    plan: &Plan,
    content: &Content,
    is_over: &(dyn Fn(u64) -> bool + Sync),
    sums: &mut Played,
) -> std::result::Result<(), String> {
    let case = Case::of_seed(seed, content, LENGTH);
    match case.play(content, &plan.launch) {
        Ok(played) => sums.add(&played),
        Err(broken) => {
            let (least, failure) = case.shrunk(content, &plan.launch, &broken);
            return Err(format!(
                "{}\n\nThe same with {} of {} operations: {failure}\n\nKeep it as a file in trials/regressions:\n{}",
                broken.failure,
                least.ops.len(),
                broken.after,
                least.text()
            ));
        }
    }
    let so_far = sums.requests;
    let crowd = AssertUnwindSafe(|| crowd::play(seed, content, &plan.launch, &|requests| is_over(so_far + requests)));
    let played = catch_unwind(crowd).unwrap_or_else(|panic| Err(Failure::of_panic(&*panic)));
    played.map(|played| sums.add(&played)).map_err(|failure| failure.to_string())
}
