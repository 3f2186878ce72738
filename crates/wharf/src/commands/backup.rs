//! `backup`.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;
use wharf_store::CheckError;
use wharf_store::backup::{self, BackupError, Copied, Made};

use crate::cli::Backup;
use crate::config::Config;
use crate::instance::Instance;
use crate::nouns::{BLOBS, FILES};
use crate::settings::Settings;
use crate::ui::{self, Failure, Label, Meanwhile};

/// Backs up what the registry stores, with its certificates and its users; exit code 1 also when a blob could not be saved.
pub fn run(settings: &Settings, options: &Backup) -> Result<ExitCode, Failure> {
    let instance = Instance::existing(settings, options.selected.config.as_deref())?;
    let beside = beside(&instance.config).into_iter().filter(|(_, folder)| folder.is_dir()).collect::<Vec<_>>();
    let mut meanwhile = Meanwhile::default();
    let made = backup::make(&instance.config.storage.root, &options.folder, &beside, &mut |copied| show(&mut meanwhile, copied));
    drop(meanwhile);
    let made = made.map_err(|error| failed("make the backup", &error))?;
    if options.json {
        ui::print_json(&json!(made))?;
    } else {
        ui::print(text(&made))?;
        if made.linked > 0 {
            ui::labelled(
                Label::Info,
                "the backup is on the storage's own disk and shares its files; one that is to outlive the disk belongs on another",
            );
        }
    }
    for digest in &made.damaged {
        ui::warn(&format!(
            "blob {digest} is damaged or lost, and is not in the backup; `{} check` says what it belongs to",
            ui::program()
        ));
    }
    Ok(if made.damaged.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What belongs to a registry beside its storage folder, with the names that it has in a backup.
pub fn beside(config: &Config) -> Vec<(&'static str, PathBuf)> {
    let pki = config.http.own_pki().map(|(pki, _)| ("pki", pki.folder().to_owned()));
    let auth = config.access.folder.clone().map(|folder| ("auth", folder));
    pki.into_iter().chain(auth).collect()
}

/// Tells how far it is.
pub fn show(meanwhile: &mut Meanwhile, copied: Copied) {
    meanwhile.show(|| format!("Copying: {}, {}", BLOBS.counted(copied.blobs), ui::size(copied.bytes)));
}

/// Why a backup could not be used for `what`.
pub fn failed(what: &str, error: &BackupError) -> Failure {
    let failure = Failure::new(format!("cannot {what}")).because(error);
    match error {
        BackupError::Foreign(_) => failure.hint("name a new folder, an empty one, or one with an earlier backup"),
        BackupError::None(_) => failure.hint(format!("`{} backup FOLDER` makes one", ui::program())),
        BackupError::Unfinished(_) => failure.hint(format!("run `{} backup` into it again", ui::program())),
        BackupError::Form { .. } => failure.hint("use the program that made it, or a newer one"),
        BackupError::Busy(_) | BackupError::Restless => failure.hint("try again in a moment"),
        BackupError::Inside { .. } => failure.hint("name a folder elsewhere, best on another disk"),
        BackupError::Occupied(_) => failure.hint("move it aside, or name another place with --storage or --config"),
        BackupError::Check(CheckError::Nothing(_)) => {
            failure.hint("name its folder with --storage, or its configuration with --config")
        }
        BackupError::Check(_) | BackupError::Index(_) => {
            failure.hint(format!("`{} check` says what is wrong with it", ui::program()))
        }
        BackupError::Io { .. } => failure,
    }
}

fn text(made: &Made) -> String {
    let new = made.copied + made.linked;
    let size = if made.copied > 0 { format!(" of {}", ui::size(made.copied_bytes)) } else { String::new() };
    let new = match (made.copied, made.linked) {
        (0, 0) => "nothing new".to_owned(),
        (_, 0) => format!("{} copied{size}", FILES.counted(new)),
        (0, _) => format!("{} linked", FILES.counted(new)),
        (copied, linked) => format!("{} copied{size}, {linked} linked", FILES.counted(copied)),
    };
    let removed =
        if made.removed > 0 { format!(", {} removed that nothing needs any more", made.removed) } else { String::new() };
    let beside = if made.beside.is_empty() { String::new() } else { format!(", with {}", made.beside.join(" and ")) };
    format!(
        "Saved {} of {} in files and an index of {}{beside} in {}: {new}{removed}\n",
        BLOBS.counted(made.blobs),
        ui::size(made.bytes),
        ui::size(made.index_bytes),
        ui::seconds(made.milliseconds),
    )
}
