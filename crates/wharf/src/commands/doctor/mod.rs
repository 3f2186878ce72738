//! `doctor`: what is wrong between this machine and a registry, and how to mend it. It changes nothing and needs no root.
//!
//! One file for each family of checks; `look.rs` asks the registry once, and the others make something of what came back.

mod clock;
mod containerd;
mod containers;
mod credentials;
mod disk;
mod docker;
mod k3s;
mod look;
mod machine;
mod names;
mod proxies;
mod report;
mod server;
mod storage;
mod target;
mod trust;

use std::process::ExitCode;

use crate::cli::Doctor;
use crate::remote;
use crate::settings::Settings;
use crate::ui::{self, Failure};

use look::Look;
use machine::Machine;
use report::{Check, Report, Verdict};
use target::Target;

/// Looks at everything, and says what it found; exit code 1 when something will fail.
pub fn run(settings: &Settings, options: &Doctor) -> Result<ExitCode, Failure> {
    let machine = Machine::new(settings, options.root.as_deref());
    let targets = match options.registries.as_slice() {
        [] => vec![Target::configured(settings)],
        registries => registries.iter().map(|text| Target::named(settings, text)).collect::<Result<_, _>>()?,
    };
    let report = remote::run(async {
        let mut report = Report::default();
        for target in &targets {
            report.add(Some(target.origin()), of_registry(settings, options, &machine, target).await?);
        }
        report.add(None, [storage::checks(settings), disk::checks(settings, &machine)].concat());
        Ok(report)
    })?;
    if options.json {
        ui::print_json(&report.json())?;
    } else {
        ui::print(report.text())?;
    }
    Ok(if report.count(Verdict::Problem) == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn of_registry(settings: &Settings, options: &Doctor, machine: &Machine, target: &Target) -> Result<Vec<Check>, Failure> {
    let look = Look::at(target).await;
    let mut checks = names::checks(target, &look).await;
    checks.extend(proxies::checks(target, &look));
    checks.extend(look.checks(target));
    checks.extend(trust::checks(target, &look));
    checks.extend(clock::checks(&look));
    checks.extend(credentials::checks(settings, options, target, &look).await);
    checks.extend(docker::checks(machine, target, &look));
    checks.extend(containers::checks(settings, machine, target, &look));
    checks.extend(containerd::checks(machine, target, &look));
    checks.extend(k3s::checks(machine, target, &look));
    if target.is_configured {
        checks.extend(server::checks(settings, target, &look)?);
    }
    Ok(checks)
}
