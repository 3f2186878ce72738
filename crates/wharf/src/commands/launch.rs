//! `serve`, up to the server itself: the configuration is read, logging begins.

use std::process::ExitCode;

use super::serve;
use crate::cli::Serve;
use crate::instance::Instance;
use crate::logging;
use crate::settings::Settings;
use crate::ui::Failure;

/// Serves until asked to stop.
pub fn run(settings: &Settings, options: &Serve) -> Result<ExitCode, Failure> {
    if options.detached.is_some() {
        // A session of its own, so that the terminal's hang-up and Ctrl-C do not reach it. It fails only for who has
        // one already.
        let _ = rustix::process::setsid();
    }
    let file = options.file.as_deref().or(options.config.as_deref());
    let (instance, findings) = Instance::load(settings, file)?;
    logging::start(&instance.config.log);
    logging::findings(&findings);
    match serve::run(&instance.config, &instance.folder, options.detached.as_deref()) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        // Whoever reads the log as JSON reads nothing else.
        Err(failure) if instance.config.log.json => {
            logging::failure(&failure);
            Err(Failure::Reported)
        }
        Err(failure) => Err(failure),
    }
}
