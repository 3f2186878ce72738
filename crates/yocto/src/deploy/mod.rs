//! The layouts that a build deployed: which of them count, and which image each is.
//!
//! A build leaves, beside a stable link, a dated folder for every run that was not cleaned, and often the same layout as an archive.
//! [`discover`] finds the one layout of each image that is meant: what the link points to, or else the newest.

mod choose;
mod entry;
mod name;
mod places;

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

pub use entry::written;
pub use name::name_of_path;
pub use places::Places;

use entry::{Entry, Listed};

/// A layout that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The image's name as the build gave it; whether a repository may be called so is for the caller to check.
    pub name: String,
    /// The name of the machine's folder that it was found in.
    pub machine: Option<String>,
    /// The layout's folder or its archive, without symbolic links.
    pub path: PathBuf,
    /// The stable link that points to it, where there is one.
    pub link: Option<PathBuf>,
    /// When it was written.
    pub built: SystemTime,
}

/// An image that is there by name and has no layout that can be read.
#[derive(Debug)]
pub struct Broken {
    /// The image's name, as far as it can be told without the layout.
    pub name: String,
    /// The name of the machine's folder.
    pub machine: Option<String>,
    /// What is wrong.
    pub why: Warning,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Discovery {
    /// The layouts that count, by folder and name. One name may come from several machines.
    pub images: Vec<Found>,
    /// Images without a usable layout. What is wrong with them is not among the warnings.
    pub broken: Vec<Broken>,
    /// What was left out and does not keep any image from being pushed.
    pub warnings: Vec<Warning>,
}

/// Something that looks like a layout and cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Warning {
    /// A link to nothing.
    #[error("{} points to {}, which does not exist", .link.display(), .target.display())]
    Dangling {
        /// The link.
        link: PathBuf,
        /// What is written in it.
        target: PathBuf,
    },
    /// Neither `oci-layout` nor `index.json` is in it, or it is of the wrong kind altogether.
    #[error("{} is not an image layout", .0.display())]
    NoLayout(PathBuf),
    /// It cannot be read; a loop of symbolic links is one reason.
    #[error("cannot read {}: {reason}", .path.display())]
    Unreadable {
        /// What cannot be read.
        path: PathBuf,
        /// Why not.
        reason: io::Error,
    },
    /// Its name is not UTF-8, so that no image can be called after it.
    #[error("the name of {} is not UTF-8", .0.display())]
    NotUnicode(PathBuf),
}

/// Why nothing can be looked for.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// The only place cannot be read.
    #[error("cannot read the images of {}: {reason}", .path.display())]
    Place {
        /// The place.
        path: PathBuf,
        /// Why not.
        reason: io::Error,
    },
    /// The list of places is empty.
    #[error("no folder is named to look for images in; DEPLOY_DIR_IMAGE or DEPLOY_DIR_IMAGES says where they are")]
    NoPlace,
}

/// Finds the layouts that count. `names` gives the `org.opencontainers.image.ref.name` annotations in a layout's `index.json`, for a
/// folder or an archive alike; of what cannot be read, none.
///
/// Of several places that of each that can be read counts, the others are warnings; when none can be read, the first one's reason is
/// the error.
pub fn discover(places: &Places, names: &dyn Fn(&Path) -> Vec<String>) -> Result<Discovery, DeployError> {
    let mut search = Search { names, seen: HashSet::new(), discovery: Discovery::default() };
    match places {
        Places::Machine(folder) => {
            search.machine(folder).map_err(|reason| DeployError::Place { path: folder.clone(), reason })?;
        }
        Places::Machines(folders) => {
            let mut failures = Vec::new();
            for folder in folders {
                if let Err(reason) = search.machines(folder) {
                    failures.push((folder.clone(), reason));
                }
            }
            let all_failed = failures.len() == folders.len();
            let mut failures = failures.into_iter();
            if all_failed {
                let first = failures.next().map(|(path, reason)| DeployError::Place { path, reason });
                return Err(first.unwrap_or(DeployError::NoPlace));
            }
            search.discovery.warnings.extend(failures.map(|(path, reason)| Warning::Unreadable { path, reason }));
        }
    }
    Ok(search.discovery)
}

struct Search<'a> {
    names: &'a dyn Fn(&Path) -> Vec<String>,
    /// Every folder and layout that was reached, by its real path: several names may lead to one.
    seen: HashSet<PathBuf>,
    discovery: Discovery,
}

impl Search<'_> {
    /// Looks into a folder of machines' folders, which may be a machine's folder itself.
    fn machines(&mut self, folder: &Path) -> io::Result<()> {
        let mut below = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let path = entry.path();
            if !Entry::is_layout_name(&entry.file_name()) && path.is_dir() {
                // Links come last, so that a folder is called by its own name.
                below.push((entry.file_type()?.is_symlink(), path));
            }
        }
        below.sort();
        self.machine(folder)?;
        for (_, path) in below {
            if let Err(reason) = self.machine(&path) {
                self.discovery.warnings.push(Warning::Unreadable { path, reason });
            }
        }
        Ok(())
    }

    /// Looks into one machine's folder.
    fn machine(&mut self, folder: &Path) -> io::Result<()> {
        let real = fs::canonicalize(folder)?;
        let Listed { layouts, problems, warnings } = entry::list(folder)?;
        if !self.seen.insert(real.clone()) {
            return Ok(());
        }
        self.discovery.warnings.extend(warnings);
        let machines: Vec<String> =
            [folder.file_name(), real.file_name()].into_iter().flatten().filter_map(OsStr::to_str).map(str::to_owned).collect();
        let machine = machines.first().cloned();
        let chosen = choose::choose(layouts, problems, &machines, self.names);
        for layout in chosen.layouts {
            if self.seen.insert(layout.path.clone()) {
                self.discovery.images.push(Found { machine: machine.clone(), ..layout });
            }
        }
        self.discovery.warnings.extend(chosen.warnings);
        let broken = chosen.broken.into_iter().map(|(name, why)| Broken { name, machine: machine.clone(), why });
        self.discovery.broken.extend(broken);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
