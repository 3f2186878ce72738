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

pub use content::Content;

use crate::failure::{Failure, Result};
use crate::plan::{Clock, Plan, Report};
use case::{Case, Played};

/// Operations of one case.
const LENGTH: usize = 300;

/// Runs the trial.
///
/// # Errors
/// None: whatever goes wrong is found.
pub fn run(plan: &Plan) -> Result<Report> {
    let content = Content::new();
    let mut report = Report::default();
    let (mut sums, mut rounds) = (Played::default(), 0);
    report.failures = plan.rounds(|seed, clock| {
        rounds += 1;
        round(seed, plan, &content, clock, &mut sums)?;
        Ok(sums.requests)
    });
    (report.events, report.faults) = (sums.requests, sums.faults);
    report.figure("rounds", rounds);
    report.figure("answers", &sums.answers);
    report.figure("collections", sums.collections);
    report.figure("longest request", format!("{:.3} s", sums.longest.as_secs_f64()));
    Ok(report)
}

fn round(seed: u64, plan: &Plan, content: &Content, clock: &Clock, sums: &mut Played) -> Result<()> {
    let case = Case::of_seed(seed, content, LENGTH);
    match case.play(content, &plan.launch) {
        Ok(played) => sums.add(&played),
        Err(broken) => {
            let (least, failure) = case.shrunk(content, &plan.launch, &broken);
            return Err(Failure::new(format!(
                "{}\n\nThe same with {} of {} operations: {failure}\n\nKeep it as a file in trials/regressions:\n{}",
                broken.failure,
                least.ops.len(),
                broken.after,
                least.text()
            )));
        }
    }
    let so_far = sums.requests;
    let played = crowd::play(seed, content, &plan.launch, &|requests| clock.is_over(so_far + requests))?;
    sums.add(&played);
    Ok(())
}
