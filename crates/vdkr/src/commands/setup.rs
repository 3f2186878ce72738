//! `setup`.

use std::process::ExitCode;

use wharf_terminal::ui::{self, Failure};

use crate::cli::system::Setup;
use crate::settings::Settings;
use crate::setup;

/// Makes kernel and initramfs.
pub fn run(settings: &Settings, options: &Setup) -> Result<ExitCode, Failure> {
    let wanted = setup::Setup {
        architecture: settings.arch,
        state: settings.shared(),
        from: options.from.clone(),
        kernel: options.kernel.clone().zip(options.modules.clone()),
        guest: options.guest.clone(),
        force: options.force,
    };
    let made = setup::run(&wanted, &mut |word, text| ui::say(format!("{word:<8}{text}"))).map_err(|error| {
        let mut failure = Failure::new(error.to_string());
        if let Some(cause) = std::error::Error::source(&error) {
            failure = failure.because(cause);
        }
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })?;
    let kernel = &made.guest.record.kernel_release;
    ui::say(&if made.changed {
        format!("ready: {} with the kernel {kernel}", settings.arch)
    } else {
        format!("already set up: {} with the kernel {kernel}", settings.arch)
    });
    Ok(ExitCode::SUCCESS)
}
