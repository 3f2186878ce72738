//! The server of this build beside what answers at its address: another one, an old one, or none.

use wharf_store::lock::{Holder, State};

use super::look::Look;
use super::report::Check;
use super::target::Target;
use crate::instance::Instance;
use crate::settings::{self, Settings};
use crate::ui::{self, Failure};

const SUBJECT: &str = "server";

/// Compares who holds the storage with who answers.
pub fn checks(settings: &Settings, target: &Target, look: &Look) -> Result<Vec<Check>, Failure> {
    if !target.url.is_local() {
        return Ok(vec![Check::none(SUBJECT, "it is another machine's")]);
    }
    let instance = Instance::existing(settings, None)?;
    let root = &instance.config.storage.root;
    let holder = if root.is_dir() { instance.holder() } else { Ok(None) };
    let is_answered = look.registry().is_some();
    Ok(vec![match holder {
        Ok(Some(holder)) => held(target, &holder, is_answered),
        Ok(None) if is_answered && settings.storage.is_dir() => Check::warning(
            SUBJECT,
            format!(
                "a registry answers at {}, which is not that of {}: nobody serves this one",
                target.origin(),
                settings.storage.display()
            ),
            format!(
                "name its storage with {}, or give this build an address of its own with {}",
                settings::STORAGE.name,
                settings::URL.name
            ),
        ),
        Ok(None) if is_answered => {
            Check::none(SUBJECT, format!("the registry was not started from {}", settings.storage.display()))
        }
        Ok(None) => Check::none(SUBJECT, format!("nobody serves {}", settings.storage.display())),
        Err(failure) => Check::warning(SUBJECT, failure.to_string(), format!("`{} status` says more", ui::program())),
    }])
}

fn held(target: &Target, holder: &Holder, is_answered: bool) -> Check {
    let (pid, program) = (holder.pid, ui::program());
    let restart = format!("`{program} stop` and `{program} start`");
    if let Some(work) = holder.state.upkeep() {
        return Check::none(SUBJECT, format!("a {work} is under way (pid {pid}), and no server"));
    }
    match holder.state {
        State::Starting => {
            return Check::warning(SUBJECT, format!("the server is starting (pid {pid})"), "try again in a moment");
        }
        State::Stopping => {
            return Check::warning(
                SUBJECT,
                format!("the server is stopping (pid {pid})"),
                format!("`{program} start` when it has ended"),
            );
        }
        _ => {}
    }
    if !holder.listeners.iter().any(|address| address.port() == target.port()) {
        let elsewhere = holder.listeners.first().map(ToString::to_string).unwrap_or_default();
        return Check::problem(
            SUBJECT,
            format!("the server of this storage (pid {pid}) listens at {elsewhere}, not at {}", target.origin()),
            format!("set {} to {elsewhere}, or {restart}", settings::URL.name),
        );
    }
    if !is_answered {
        return Check::problem(
            SUBJECT,
            format!("the server of this storage (pid {pid}) listens, and does not answer"),
            format!("{restart}; `{program} stop --force` where that does not help"),
        );
    }
    match std::fs::read_link(format!("/proc/{pid}/exe")) {
        // So the kernel writes it when the file was exchanged.
        Ok(exe) if exe.to_string_lossy().ends_with(" (deleted)") => Check::warning(
            SUBJECT,
            format!("the server (pid {pid}) is older than the program: that was exchanged since it started"),
            restart,
        ),
        _ => Check::ok(SUBJECT, format!("it is the server of this storage (pid {pid})")),
    }
}
