//! The storage folder: whether this user may work with it, and whether its secrets are secret.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::report::Check;
use crate::settings::{self, Settings};
use crate::ui;

const SUBJECT: &str = "storage";
/// What a server or a command writes there.
const WRITTEN: [&str; 6] = ["wharf.lock", "index.sqlite", "blobs", "registry.log", "registry-config.yml", "registry.pid"];
/// What nobody else may read.
const SECRET: [&str; 6] =
    ["pki/ca.key", "pki/server.key", "auth/password", "auth/htpasswd", "auth/keys.json", "auth/tokens.json"];

/// Looks at the folder.
pub fn checks(settings: &Settings) -> Vec<Check> {
    let folder = &settings.storage;
    let shown = folder.display();
    let metadata = match std::fs::metadata(folder) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return vec![to_be_made(folder)],
        Err(error) => return vec![foreign(folder, &error.to_string())],
    };
    if !metadata.is_dir() {
        let mend = format!("name a folder with {}, or move the file away", settings::STORAGE.name);
        return vec![Check::problem(SUBJECT, format!("{shown} is a file, not a folder"), mend)];
    }
    if let Err(error) = access(folder, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK) {
        return vec![foreign(folder, &error.to_string())];
    }
    let mut checks = Vec::new();
    // Once started with sudo, its files are root's for good.
    let taken = WRITTEN.iter().map(|name| folder.join(name)).filter(|path| path.exists());
    let taken = taken.filter_map(|path| Some((access(&path, Access::WRITE_OK).err()?, path))).next();
    if let Some((error, path)) = taken {
        checks.push(foreign(&path, &error.to_string()));
    }
    for path in SECRET.iter().map(|name| folder.join(name)) {
        let Ok(metadata) = std::fs::metadata(&path) else { continue };
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let what = format!("{} is a secret, and others may read it (mode {mode:o})", path.display());
            checks.push(Check::problem(SUBJECT, what, format!("chmod 600 {}", path.display())));
        }
    }
    if metadata.permissions().mode() & 0o002 != 0 {
        checks.push(Check::warning(
            SUBJECT,
            format!("everybody on this machine may write to {shown}"),
            format!("chmod o-w {shown}"),
        ));
    }
    if checks.is_empty() {
        checks.push(Check::ok(SUBJECT, format!("{shown} can be written to")));
    }
    checks
}

fn to_be_made(folder: &Path) -> Check {
    let above = existing(folder);
    match access(&above, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => Check::none(SUBJECT, format!("{} is not there yet; `{} start` makes it", folder.display(), ui::program())),
        Err(error) => Check::problem(
            SUBJECT,
            format!("{} is not there, and {} cannot be written to: {error}", folder.display(), above.display()),
            format!("name another folder with {}", settings::STORAGE.name),
        ),
    }
}

fn foreign(path: &Path, why: &str) -> Check {
    let owner = std::fs::metadata(path).map(|metadata| format!(", it belongs to user {}", metadata.uid())).unwrap_or_default();
    Check::problem(
        SUBJECT,
        format!("{} cannot be written to: {why}{owner}", path.display()),
        format!("sudo chown -R {} {}", rustix::process::getuid().as_raw(), path.display()),
    )
}

/// The nearest folder above a path that is there.
pub fn existing(path: &Path) -> PathBuf {
    path.ancestors().find(|above| above.exists()).unwrap_or(Path::new("/")).to_owned()
}
