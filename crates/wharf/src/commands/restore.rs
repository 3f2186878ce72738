//! `restore`.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::json;
use wharf_store::backup::{self, Backup, Restored};
use wharf_store::lock::State;

use super::backup::{beside, failed, show};
use crate::cli::Restore;
use crate::instance::Instance;
use crate::nouns::BLOBS;
use crate::settings::Settings;
use crate::storage;
use crate::ui::{self, Failure, Meanwhile};

/// Brings a backup back; exit code 1 also when a blob in it was damaged.
pub fn run(settings: &Settings, options: &Restore) -> Result<ExitCode, Failure> {
    let cannot = "bring the backup back";
    let backup = Backup::open(&options.folder).map_err(|error| failed(cannot, &error))?;
    let file = options.selected.config.as_deref();
    let root = Instance::existing(settings, file)?.config.storage.root;
    // A registry that had certificates or users gets them back, also when nothing says yet that it will be secure.
    let wanted =
        Instance::existing_or_secure(settings, file, |config| Some(beside(&config)).filter(|beside| !beside.is_empty()))?;
    let place = Place::of(&root);
    let _lock = storage::lock(&root, State::Restoring).map_err(|error| {
        Failure::new(format!("cannot {cannot}"))
            .because(&error)
            .hint("stop the registry, or name another place with --storage or --config")
    })?;
    let mut meanwhile = Meanwhile::default();
    let restored =
        backup::restore(&backup, &root, &wanted.unwrap_or_default(), place.owner, &mut |copied| show(&mut meanwhile, copied));
    drop(meanwhile);
    let restored = restored.map_err(|error| failed(cannot, &error))?;
    place.give_new_folders().map_err(|error| Failure::new("cannot give the new folders to their owner").because(&error))?;
    if options.json {
        ui::print_json(&json!(restored))?;
    } else {
        ui::print(format!("{} in {}\n", text(&restored), root.display()))?;
    }
    for digest in &restored.damaged {
        ui::warn(&format!("blob {digest} is damaged in the backup, and is not here until it is pushed again"));
    }
    Ok(if restored.damaged.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Where the storage folder is, or comes to be.
struct Place {
    /// Who owns the folder above what is new, for root, who brings a backup back for somebody else.
    owner: Option<(u32, u32)>,
    /// Folders that are not there yet.
    new: Vec<PathBuf>,
}

impl Place {
    fn of(root: &Path) -> Self {
        let root = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
        let new: Vec<_> = root.ancestors().take_while(|folder| !folder.exists()).map(Path::to_owned).collect();
        let above = root.ancestors().nth(new.len()).and_then(|folder| folder.metadata().ok());
        let owner = above.filter(|_| rustix::process::geteuid().is_root()).map(|above| (above.uid(), above.gid()));
        Self { owner, new }
    }

    fn give_new_folders(&self) -> io::Result<()> {
        let Some((uid, gid)) = self.owner else { return Ok(()) };
        self.new.iter().try_for_each(|folder| std::os::unix::fs::chown(folder, Some(uid), Some(gid)))
    }
}

fn text(restored: &Restored) -> String {
    let made_at = restored.made_at.map(|at| UNIX_EPOCH + Duration::from_millis(at.unsigned_abs()));
    let of = made_at.map(|at| format!(" of {}", humantime::format_rfc3339_seconds(at))).unwrap_or_default();
    let beside = if restored.beside.is_empty() { String::new() } else { format!(", with {}", restored.beside.join(" and ")) };
    format!(
        "Brought back the backup{of}{beside}: {} of {} in files, in {},",
        BLOBS.counted(restored.blobs),
        ui::size(restored.bytes),
        ui::seconds(restored.milliseconds),
    )
}
