//! `wharf-trials NAME`: one trial, its seed, what it did and what it found.

use std::process::ExitCode;

use wharf_trials::options::{self, HELP, Request};
use wharf_trials::{Plan, Result, TRIALS, Trial};

fn main() -> ExitCode {
    let result = options::parse(std::env::args_os().skip(1)).and_then(|request| match request {
        Request::Help => {
            print!("{HELP}");
            Ok(true)
        }
        Request::List => {
            for trial in TRIALS {
                println!("{:<12} {}", trial.name, trial.proves);
            }
            Ok(true)
        }
        Request::Run(trial, plan) => run(trial, &plan),
    });
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(2)
        }
    }
}

/// Runs a trial; answers whether it found nothing.
fn run(trial: &Trial, plan: &Plan) -> Result<bool> {
    println!("{:<20} {}", "trial", trial.name);
    println!("{:<20} {}", "seed", plan.seed);
    let report = (trial.run)(plan)?;
    print!("{report}");
    for found in &report.failures {
        println!("\nfailure: {}\nagain: wharf-trials {} --seed {}", found.what, trial.name, found.seed);
    }
    Ok(report.failures.is_empty())
}
