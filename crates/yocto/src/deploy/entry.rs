//! What stands in a machine's folder and may be a layout.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::Warning;

/// Either of these makes a folder a layout (image-spec, "OCI Image Layout Specification"); the first one is written last.
const MARKERS: [&str; 2] = ["index.json", "oci-layout"];

/// A layout as it stands in the folder.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its basename there.
    pub base: String,
    /// The layout's folder or archive, without symbolic links. An archive beside its own folder stands for that folder.
    pub real: PathBuf,
    /// The path of the symbolic link, when it is one.
    pub link: Option<PathBuf>,
    /// When the layout was written.
    pub built: SystemTime,
}

/// Something that should have been a layout under this basename; `target` is what a link says.
#[derive(Debug)]
pub(super) struct Problem {
    pub base: String,
    pub target: Option<String>,
    pub why: Warning,
}

/// All there is in a folder, by name.
#[derive(Debug, Default)]
pub(super) struct Listed {
    pub layouts: Vec<Entry>,
    pub problems: Vec<Problem>,
    /// What has no name that an image could be known by.
    pub warnings: Vec<Warning>,
}

impl Entry {
    /// Whether something called so should be a layout.
    pub fn is_layout_name(name: &OsStr) -> bool {
        let name = name.as_encoded_bytes();
        name.ends_with(b"-oci") || name.ends_with(b"-oci.tar")
    }
}

/// Lists a folder. Only the folder itself not being readable is an error.
pub(super) fn list(folder: &Path) -> io::Result<Listed> {
    let mut names = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.file_name())).collect::<io::Result<Vec<_>>>()?;
    names.retain(|name| Entry::is_layout_name(name));
    names.sort();
    let mut listed = Listed::default();
    for name in names {
        let path = folder.join(&name);
        let Ok(base) = name.into_string() else {
            listed.warnings.push(Warning::NotUnicode(path));
            continue;
        };
        let target = fs::read_link(&path).ok();
        match look(&path, target.as_deref()) {
            Ok((real, built)) => {
                listed.layouts.push(Entry { base, real, link: target.map(|_| path), built });
            }
            // A folder that is still empty is what an interrupted build leaves.
            Err(why @ Warning::NoLayout(_)) if target.is_none() => listed.warnings.push(why),
            Err(why) => {
                let target = target.and_then(|target| target.file_name().and_then(OsStr::to_str).map(str::to_owned));
                listed.problems.push(Problem { base, target, why });
            }
        }
    }
    Ok(listed)
}

/// The layout at a path, with the time at which it was written.
fn look(path: &Path, target: Option<&Path>) -> Result<(PathBuf, SystemTime), Warning> {
    let unreadable = |reason| Warning::Unreadable { path: path.to_path_buf(), reason };
    let real = fs::canonicalize(path).map_err(|reason| match target {
        Some(target) if reason.kind() == io::ErrorKind::NotFound => {
            Warning::Dangling { link: path.to_path_buf(), target: target.to_path_buf() }
        }
        _ => unreadable(reason),
    })?;
    if path.extension().is_none_or(|extension| extension != "tar") {
        let built = layout_written(&real).map_err(unreadable)?;
        return built.map(|built| (real, built)).ok_or_else(|| Warning::NoLayout(path.to_path_buf()));
    }
    let folder = real.with_extension("");
    if folder != real
        && let Ok(Some(built)) = layout_written(&folder)
    {
        return Ok((folder, built));
    }
    let metadata = fs::metadata(&real).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(Warning::NoLayout(path.to_path_buf()));
    }
    Ok((real, metadata.modified().map_err(unreadable)?))
}

/// When the layout or archive at a path was written: the later one of two is that of the later build.
pub fn written(path: &Path) -> io::Result<SystemTime> {
    match layout_written(path)? {
        Some(written) => Ok(written),
        None => fs::metadata(path)?.modified(),
    }
}

/// When the layout in a folder was written; `None` when there is none.
fn layout_written(folder: &Path) -> io::Result<Option<SystemTime>> {
    for marker in MARKERS {
        match fs::metadata(folder.join(marker)) {
            Ok(metadata) if metadata.is_file() => return metadata.modified().map(Some),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}
