//! `check`: what is stored held against its digests and the index, and `--repair`.

use std::collections::HashSet;
use std::error::Error;
use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::{Value, json};
use wharf_store::backup::Backup;
use wharf_store::lock::State;
use wharf_store::{CheckError, Finding, Location, Repair, Report, Seen, Watcher};

use crate::cli::Check;
use crate::config::Config;
use crate::control::{self, Call};
use crate::instance::{Instance, SETTLE};
use crate::nouns::{BLOBS, FILES, MANIFESTS, PROBLEMS, REPOSITORIES, TAGS};
use crate::settings::Settings;
use crate::storage;
use crate::ui::{self, Failure, Meanwhile};

/// Findings that are listed for people.
const SHOWN: usize = 100;

/// Checks, and mends what it found where that is wanted; exit code 1 when something wrong remains.
pub fn run(settings: &Settings, options: &Check) -> Result<ExitCode, Failure> {
    if let Some(folder) = &options.backup {
        let backup = Backup::open(folder).map_err(|error| super::backup::failed("check the backup", &error))?;
        let report = wharf_store::check(&backup.data(), true, &mut Owner::of(None)).map_err(|error| failed(&error))?;
        return finish(options, &report, &[]);
    }
    let instance = Instance::existing(settings, options.selected.config.as_deref())?;
    let look = || {
        wharf_store::check(&instance.config.storage.root, false, &mut Owner::of(Some(&instance))).map_err(|error| failed(&error))
    };
    let mut report = look()?;
    let mut mended = Vec::new();
    if options.repair {
        mended = repair(&instance, &report)?;
        // Only now can the index be relied on to say what else is wrong.
        if report.findings.iter().any(|finding| finding.repair == Some(Repair::Reindex)) {
            let lookups = std::mem::take(&mut mended);
            report = look()?;
            mended = lookups.into_iter().chain(repair(&instance, &report)?).collect();
        }
    }
    finish(options, &report, &mended)
}

fn failed(error: &CheckError) -> Failure {
    let failure = Failure::new("cannot check").because(error);
    match error {
        CheckError::Nothing(_) => failure.hint("name its folder with --storage, or its configuration with --config"),
        CheckError::Newer { .. } => failure.hint("check it with the program that wrote it, or a newer one"),
        CheckError::Unmounted(_) => failure.hint("mount what belongs there, or see whether the folder was moved"),
        CheckError::Unreadable { .. } | CheckError::Index(_) => failure.hint("run it as the user who runs the registry"),
        CheckError::Foreign(_) | CheckError::Watcher(_) => failure,
    }
}

/// One thing that was tried: what was done, `None` when another look showed no need, or why it could not be.
type Mended = (Repair, Result<Option<String>, String>);

/// Mends what can be, through the server when one runs.
fn repair(instance: &Instance, report: &Report) -> Result<Vec<Mended>, Failure> {
    let mut repairs: Vec<Repair> = Vec::new();
    for repair in report.findings.iter().filter_map(|finding| finding.repair.clone()) {
        // Several findings may have the same way out.
        if !repairs.contains(&repair) {
            repairs.push(repair);
        }
    }
    // Last, for the others change what is counted.
    repairs.retain(|repair| *repair != Repair::Recount);
    if !repairs.is_empty() || report.findings.iter().any(|finding| finding.repair == Some(Repair::Recount)) {
        repairs.push(Repair::Recount);
    }
    match (repairs.is_empty(), instance.server_or_nobody(SETTLE)?) {
        (true, _) => Ok(Vec::new()),
        (false, Some(_)) => repairs.into_iter().map(|repair| repair_online(instance, repair)).collect(),
        (false, None) => repair_offline(&instance.config, repairs),
    }
}

fn repair_online(instance: &Instance, repair: Repair) -> Result<Mended, Failure> {
    let lost = |error: &dyn Error| Failure::new("the running registry does not mend").because(error);
    let body = serde_json::to_vec(&repair).map_err(|error| lost(&error))?;
    let mut done = None;
    let asked = control::control(&instance.config.storage.root, Call::post("/repair", body), |line| {
        done = line["done"].as_str().map(str::to_owned);
        Ok(())
    });
    match asked {
        Ok(()) => Ok((repair, Ok(done))),
        Err(control::ControlError::Status { text, .. }) => Ok((repair, Err(text))),
        Err(error) => Err(lost(&error)),
    }
}

fn repair_offline(config: &Config, repairs: Vec<Repair>) -> Result<Vec<Mended>, Failure> {
    let failed = |error: &(dyn Error + 'static)| Failure::new("cannot mend").because(error);
    let lock = storage::lock(&config.storage.root, State::Repairing).map_err(|error| failed(&error))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| failed(&error))?;
    runtime.block_on(async {
        let store = storage::open(config, &lock).await.map_err(|error| failed(&error))?;
        let mut mended = Vec::new();
        for repair in repairs {
            let done = store.repair(repair.clone()).await.map_err(|error| error.to_string());
            mended.push((repair, done));
        }
        store.close().await;
        Ok(mended)
    })
}

/// Who runs the command: sees how far it is, and knows whether a server writes meanwhile.
struct Owner<'a> {
    instance: Option<&'a Instance>,
    meanwhile: Meanwhile,
}

impl<'a> Owner<'a> {
    fn of(instance: Option<&'a Instance>) -> Self {
        Self { instance, meanwhile: Meanwhile::default() }
    }
}

impl Watcher for Owner<'_> {
    fn seen(&mut self, seen: Seen) {
        self.meanwhile.show(|| {
            let (done, all) = (ui::size(seen.bytes), ui::size(seen.of_bytes));
            format!("Reading: {} of {}, {done} of {all}", seen.blobs, BLOBS.counted(seen.of_blobs))
        });
    }

    fn writing(&mut self) -> Result<Option<HashSet<Location>>, Box<dyn Error + Send + Sync>> {
        let Some(instance) = self.instance else { return Ok(None) };
        if instance.server_or_nobody(SETTLE).map_err(|failure| failure.to_string())?.is_none() {
            return Ok(None);
        }
        let mut writing = HashSet::new();
        control::control(&instance.config.storage.root, Call::get("/writing"), |line| {
            let places = line["locations"].as_array().map(Vec::as_slice).unwrap_or_default();
            writing.extend(places.iter().filter_map(Value::as_str).map(|place| Location(place.to_owned())));
            Ok(())
        })?;
        Ok(Some(writing))
    }
}

/// What became of a finding.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Nothing was done about it.
    Open,
    /// It is as it should be, or was found to be so by another look.
    Mended,
    /// What could be done was done; somebody has to push, restore or delete something.
    Remains,
}

fn fate(finding: &Finding, mended: &[Mended]) -> Fate {
    match mended.iter().find(|(repair, _)| finding.repair.as_ref() == Some(repair)) {
        None | Some((_, Err(_))) => Fate::Open,
        Some((_, Ok(Some(_)))) if finding.remains => Fate::Remains,
        Some(_) => Fate::Mended,
    }
}

/// Says what was found and what became of it.
fn finish(options: &Check, report: &Report, mended: &[Mended]) -> Result<ExitCode, Failure> {
    let is_wrong = |finding: &&Finding| !finding.is_leftover() && fate(finding, mended) != Fate::Mended;
    let wrong = report.findings.iter().filter(is_wrong).count();
    if options.json {
        let done = mended.iter().map(|(repair, done)| match done {
            Ok(done) => json!({ "repair": repair, "done": done }),
            Err(error) => json!({ "repair": repair, "error": error }),
        });
        ui::print_json(&json!({ "report": report, "repaired": done.collect::<Vec<_>>(), "wrong": wrong }))?;
    } else {
        ui::print(text(report, mended, wrong))?;
    }
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The report for people: what is wrong first, the sum last.
fn text(report: &Report, mended: &[Mended], wrong: usize) -> String {
    let mut text = String::new();
    let (leftovers, problems): (Vec<_>, Vec<_>) = report.findings.iter().partition(|finding| finding.is_leftover());
    let is_known = |repair: &Repair| report.findings.iter().any(|finding| finding.repair.as_ref() == Some(repair));
    // Of what was mended before the look that this report is of.
    for done in mended
        .iter()
        .filter(|(repair, _)| !is_known(repair) && *repair != Repair::Recount)
        .filter_map(|(_, done)| done.as_ref().ok()?.as_ref())
    {
        line(&mut text, &format!("done: {done}"));
    }
    for finding in problems.iter().take(SHOWN) {
        line(&mut text, &finding.what);
        if !finding.concerns.is_empty() {
            let more = if finding.more > 0 { format!(" and {} more", finding.more) } else { String::new() };
            line(&mut text, &format!("  concerns: {}{more}", finding.concerns.join(", ")));
        }
        match mended.iter().find(|(repair, _)| finding.repair.as_ref() == Some(repair)) {
            Some((_, Ok(Some(done)))) => line(&mut text, &format!("  done: {done}")),
            Some((_, Ok(None))) => line(&mut text, "  done: nothing; another look showed that it is as it should be"),
            Some((_, Err(error))) => line(&mut text, &format!("  not done: {error}")),
            None => {}
        }
        if fate(finding, mended) != Fate::Mended {
            line(&mut text, &format!("  way out: {}", finding.mend));
        }
    }
    if problems.len() > SHOWN {
        line(&mut text, &format!("and {} more; --json lists them", PROBLEMS.counted((problems.len() - SHOWN) as u64)));
    }
    if !leftovers.is_empty() {
        let moved =
            mended.iter().filter(|(repair, done)| matches!((repair, done), (Repair::MoveAway { .. }, Ok(Some(_))))).count();
        let count = FILES.counted(leftovers.len() as u64);
        line(
            &mut text,
            &match moved {
                0 => {
                    format!("{count} that nothing names, left by a crash; the first collection after the next start deletes them")
                }
                moved => format!("{count} that nothing names, left by a crash; moved {moved} of them to the quarantine"),
            },
        );
    }
    for note in &report.notes {
        line(&mut text, &format!("note: {note}"));
    }
    if report.quarantined > 0 {
        line(
            &mut text,
            &format!("{} in the quarantine, which nobody needs; look at them or delete them", FILES.counted(report.quarantined)),
        );
    }
    line(
        &mut text,
        &format!(
            "Checked {}, {}, {} and {} of {} in {}",
            REPOSITORIES.counted(report.repositories),
            TAGS.counted(report.tags),
            MANIFESTS.counted(report.manifests),
            BLOBS.counted(report.blobs),
            ui::size(report.bytes),
            ui::seconds(report.milliseconds),
        ),
    );
    line(
        &mut text,
        &match (wrong, mended.is_empty()) {
            (0, true) => "Nothing is wrong".to_owned(),
            (0, false) => "Everything wrong was mended".to_owned(),
            (wrong, true) => format!("{} found", PROBLEMS.counted(wrong as u64)),
            (wrong, false) => format!("{} left", PROBLEMS.counted(wrong as u64)),
        },
    );
    text
}

fn line(text: &mut String, line: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{line}");
}
