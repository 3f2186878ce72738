//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use wharf_tests::{Launch, Program};

use crate::failure::{Context, Failure, Result};
use crate::plan::{Limit, Plan};
use crate::{TRIALS, Trial};

/// What `--help` prints.
pub const HELP: &str = "\
Holds a real wharf against random work for as long as it is told, and says what it found

Usage: wharf-trials NAME [OPTIONS]

      --seed N        where its choices come from [default: the time]
      --seconds S     how long to go on [default: 60]
      --events N      how long to go on, in requests
      --wharf PATH    the program on trial [default: WHARF_BIN, else the one beside this program]
      --list          print the names of the trials, and what each proves

Ends with exit code 1 when something was found, and says the command that finds it again
";

/// What the command line asks for.
pub enum Request {
    /// Run a trial.
    Run(&'static Trial, Plan),
    /// Print the help.
    Help,
    /// Print the names.
    List,
}

/// Reads the command line, without the program's name.
///
/// # Errors
/// It asks for what is not there, or is malformed.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Request> {
    let (mut trial, mut seed, mut limit, mut wharf) = (None, None, None, None);
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let argument = argument.to_string_lossy().into_owned();
        let mut value = || arguments.next().ok_or_else(|| Failure::new(format!("{argument} needs a value")));
        let mut number = || value()?.to_string_lossy().parse::<u64>().context(&argument);
        let mut ends = |new: Limit| match limit.replace(new) {
            None => Ok(()),
            Some(_) => Err(Failure::new("--seconds and --events are said once, and not both")),
        };
        match argument.as_str() {
            "--help" | "-h" => return Ok(Request::Help),
            "--list" => return Ok(Request::List),
            "--seed" => seed = Some(number()?),
            "--seconds" => ends(Limit::Time(Duration::from_secs(number()?)))?,
            "--events" => ends(Limit::Events(number()?))?,
            "--wharf" => wharf = Some(PathBuf::from(value()?)),
            name if trial.is_none() && !name.starts_with('-') => {
                let found = TRIALS.iter().find(|trial| trial.name == name);
                trial = Some(found.ok_or_else(|| Failure::new(format!("no trial is called {name:?}; see --list")))?);
            }
            _ => return Err(Failure::new(format!("unknown argument {argument:?}; see --help"))),
        }
    }
    let trial = trial.ok_or_else(|| Failure::new("which trial? See --list"))?;
    let limit = limit.unwrap_or(Limit::Time(Duration::from_secs(60)));
    let launch = wharf.map_or_else(|| Launch::of(Program::Wharf), |path| Launch::at(&path));
    Ok(Request::Run(trial, Plan { seed: seed.unwrap_or_else(now), limit, launch }))
}

/// A seed that nobody chose, short enough to be typed again.
fn now() -> u64 {
    std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Request> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn a_trial_is_named_and_limited() {
        let Ok(Request::Run(trial, plan)) = read("model --seed 7 --events 100 --wharf /bin/true") else { panic!("not a run") };
        assert_eq!((trial.name, plan.seed, plan.limit), ("model", 7, Limit::Events(100)));
        assert!(matches!(read("--list"), Ok(Request::List)) && matches!(read("model -h"), Ok(Request::Help)));
        for wrong in ["", "nothing", "model --seed", "model --seed x", "model --seconds 1 --events 1", "model other", "--what"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
