//! `setup`.

use std::process::ExitCode;

use wharf_terminal::ui::Failure;

use crate::cli::system::Setup;
use crate::settings::Settings;

/// Makes kernel and initramfs.
pub fn run(_: &Settings, _: &Setup) -> Result<ExitCode, Failure> {
    Err(Failure::new("setup is not there yet in this version"))
}
