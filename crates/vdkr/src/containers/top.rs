//! `top`: the processes of a container.

use std::process::ExitCode;

use wharf_guest_protocol::{Report, Task};
use wharf_terminal::ui::{self, Failure};

use super::power::task;
use super::record::Containers;
use crate::cli::containers::Top;
use crate::format::table;
use crate::settings::Settings;

const HEADING: [&str; 6] = ["UID", "PID", "PPID", "STIME", "TIME", "CMD"];

/// Lists the processes of a container.
pub fn top(settings: &Settings, options: &Top) -> Result<ExitCode, Failure> {
    let (folder, record, _) = Containers::of(settings).get(options.container())?;
    let Some(Report::Processes { rows }) = task(&folder, &record, Task::Top)? else {
        return Err(Failure::new("the guest lists no processes"));
    };
    let heading = HEADING.iter().map(|text| (*text).to_owned()).collect();
    ui::print(table(std::iter::once(heading).chain(rows).collect()))?;
    Ok(ExitCode::SUCCESS)
}
