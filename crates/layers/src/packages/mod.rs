//! The packages that a root file system says it holds.
//!
//! Package managers leave lists of what they installed: dpkg and opkg as text, rpm in a database; and builds put SPDX documents into images.
//! A [`Collector`] says which files it wants, is given their content as layers are read, and in the end tells the packages of any file
//! system whose files it has seen. What is wrong with a list is told, never passed over.

mod control;
mod dpkg;
mod opkg;
mod rpm;
mod spdx;

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use crate::{EntryPath, LayersError};

/// Bytes of the longest file that is read.
pub const MAX_FILE: u64 = 64 << 20;
/// Packages of one list that are believed.
const MAX_PACKAGES: usize = 100_000;
/// Bytes of a name, an architecture or a version that are believed.
const MAX_TEXT: usize = 512;

/// A digest of content, SHA-256.
pub type Content = [u8; 32];

/// What a package is called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageName {
    /// Its name.
    pub name: String,
    /// What it was built for, where the list says it: `amd64`, `core2_64`, `noarch`.
    pub architecture: Option<String>,
}

impl fmt::Display for PackageName {
    /// `NAME` or `NAME:ARCHITECTURE`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.architecture {
            Some(architecture) => write!(f, "{}:{architecture}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// Who says what is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// dpkg.
    Dpkg,
    /// opkg.
    Opkg,
    /// rpm.
    Rpm,
    /// SPDX documents.
    Spdx,
}

impl Source {
    /// Its name in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dpkg => "dpkg",
            Self::Opkg => "opkg",
            Self::Rpm => "rpm",
            Self::Spdx => "spdx",
        }
    }
}

/// The packages of a file system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packages {
    /// Who lists them; none when nothing does.
    pub source: Option<Source>,
    /// Each with its version; several versions of one package are joined by `, `.
    pub packages: BTreeMap<PackageName, String>,
    /// What could not be read, each with the file in front.
    pub problems: Vec<String>,
}

/// A package and its version, as a list has it.
type Package = (PackageName, String);

/// What a file is to a collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// dpkg's list, or a piece of it.
    Dpkg,
    /// opkg's list.
    OpkgStatus,
    /// What opkg knows of one package.
    OpkgControl,
    /// rpm's database.
    RpmDatabase,
    /// What was not yet written into the database beside it.
    RpmLog,
    /// rpm's database in a form that is not read here.
    RpmOther(&'static str),
    /// An SPDX document.
    Spdx,
}

impl Role {
    fn of(path: &EntryPath) -> Option<Self> {
        let path = path.as_bytes();
        dpkg::role(path).or_else(|| opkg::role(path)).or_else(|| rpm::role(path)).or_else(|| spdx::role(path))
    }
}

/// Who reads a file: the same content may be something to one and nothing to another.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Reader {
    Control,
    Rpm,
    Spdx,
}

impl Reader {
    /// None for what nobody reads.
    fn of(role: Role) -> Option<Self> {
        match role {
            Role::Dpkg | Role::OpkgStatus | Role::OpkgControl => Some(Self::Control),
            Role::RpmDatabase | Role::RpmLog => Some(Self::Rpm),
            Role::RpmOther(_) => None,
            Role::Spdx => Some(Self::Spdx),
        }
    }
}

/// What was learned from one file's content.
enum Found {
    Packages(Vec<Package>),
    Wrong(String),
    /// It was kept, for it takes another file to be understood.
    Kept,
}

/// Reads lists of packages. What it learns belongs to the content of files, not to their place: one collector serves several images, and the
/// same content is given to it once.
#[derive(Default)]
pub struct Collector {
    found: HashMap<(Content, Reader), Found>,
    databases: rpm::Databases,
}

impl Collector {
    /// One that knows nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether this regular file's content is to be given to [`take`](Self::take).
    pub fn wants(&self, path: &EntryPath) -> bool {
        !matches!(Role::of(path), None | Some(Role::RpmOther(_)))
    }

    /// Whether this content was taken already, for a file in this place or in one of the same kind.
    pub fn has(&self, path: &EntryPath, content: &Content) -> bool {
        Role::of(path).and_then(Reader::of).is_some_and(|reader| self.found.contains_key(&(*content, reader)))
    }

    /// Learns from a file that it wanted. `content` is the digest of `bytes`. Longer ones than [`MAX_FILE`] need not be given: they are told of
    /// as not read.
    ///
    /// # Errors
    ///
    /// Only when a database cannot be kept in a temporary file; wrong content is no error but one of the [problems](Packages::problems).
    pub fn take(&mut self, path: &EntryPath, content: Content, bytes: &[u8]) -> Result<(), LayersError> {
        let Some(role) = Role::of(path) else { return Ok(()) };
        let Some(reader) = Reader::of(role) else { return Ok(()) };
        if self.found.contains_key(&(content, reader)) || bytes.len() as u64 > MAX_FILE {
            return Ok(());
        }
        let read = match role {
            Role::Dpkg | Role::OpkgStatus | Role::OpkgControl => control::packages(bytes),
            Role::Spdx => spdx::packages(bytes),
            Role::RpmDatabase | Role::RpmLog => {
                self.databases.keep(&content, bytes)?;
                self.found.insert((content, reader), Found::Kept);
                return Ok(());
            }
            Role::RpmOther(_) => return Ok(()),
        };
        self.found.insert((content, reader), read.map_or_else(Found::Wrong, Found::Packages));
        Ok(())
    }

    /// The packages of a file system with these regular files, in any order. Where several package managers have a list, the longest one counts;
    /// SPDX documents count where no package manager has one.
    pub fn packages<'a>(&self, files: impl Iterator<Item = (&'a EntryPath, &'a Content)>) -> Packages {
        let files: BTreeMap<&EntryPath, (Role, &Content)> =
            files.filter_map(|(path, content)| Some((path, (Role::of(path)?, content)))).collect();
        let mut lists: BTreeMap<Source, List> = BTreeMap::new();
        let mut controls = List::default();
        let mut problems = Vec::new();
        for (path, (role, content)) in &files {
            let read = match role {
                Role::RpmLog => continue,
                Role::RpmOther(form) => Err(format!("a database in the form of {form} is not readable here")),
                Role::RpmDatabase => self.database(&files, path, content),
                role => self.found(*role, content).cloned(),
            };
            let list = match role {
                Role::Dpkg => lists.entry(Source::Dpkg).or_default(),
                Role::OpkgStatus => lists.entry(Source::Opkg).or_default(),
                Role::OpkgControl => &mut controls,
                Role::RpmDatabase | Role::RpmLog | Role::RpmOther(_) => lists.entry(Source::Rpm).or_default(),
                Role::Spdx => lists.entry(Source::Spdx).or_default(),
            };
            match read {
                Ok(packages) => list.extend(packages),
                Err(problem) => problems.push(format!("{path}: {problem}")),
            }
        }
        let opkg = lists.entry(Source::Opkg).or_default();
        if opkg.is_empty() {
            *opkg = controls;
        }
        let spdx = lists.remove(&Source::Spdx).filter(|list| !list.is_empty());
        let longest = lists.into_iter().filter(|(_, list)| !list.is_empty()).max_by_key(|(_, list)| list.len());
        let chosen = longest.or(spdx.map(|list| (Source::Spdx, list)));
        let (source, list) = chosen.map_or((None, List::default()), |(source, list)| (Some(source), list));
        Packages { source, packages: list.joined(), problems }
    }

    fn found(&self, role: Role, content: &Content) -> Result<&Vec<Package>, String> {
        match Reader::of(role).and_then(|reader| self.found.get(&(*content, reader))) {
            Some(Found::Packages(packages)) => Ok(packages),
            Some(Found::Wrong(problem)) => Err(problem.clone()),
            Some(Found::Kept) | None => Err(unread()),
        }
    }

    fn database(
        &self,
        files: &BTreeMap<&EntryPath, (Role, &Content)>,
        path: &EntryPath,
        content: &Content,
    ) -> Result<Vec<Package>, String> {
        let taken = |content: &Content| self.found.contains_key(&(*content, Reader::Rpm));
        let log = path.parent().map(|folder| folder.join(rpm::LOG));
        let log = log.and_then(|log| files.get(&log)).map(|(_, content)| *content);
        if !taken(content) || log.is_some_and(|log| !taken(log)) {
            return Err(unread());
        }
        self.databases.packages(content, log)
    }
}

fn unread() -> String {
    format!("it was not read; files up to {} MiB are", MAX_FILE >> 20)
}

/// Packages with all versions that are listed of each.
#[derive(Default)]
struct List(BTreeMap<PackageName, Vec<String>>);

impl List {
    fn extend(&mut self, packages: Vec<Package>) {
        for (name, version) in packages {
            let versions = self.0.entry(name).or_default();
            if let Err(place) = versions.binary_search(&version) {
                versions.insert(place, version);
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn joined(self) -> BTreeMap<PackageName, String> {
        self.0.into_iter().map(|(name, versions)| (name, versions.join(", "))).collect()
    }
}

/// A package, if what a list says of it is within bounds.
fn package(name: &str, architecture: Option<&str>, version: &str) -> Result<Package, String> {
    let is_sound = |text: &str| text.len() <= MAX_TEXT && !text.chars().any(char::is_control);
    if name.is_empty() || !is_sound(name) || !is_sound(version) || !architecture.is_none_or(is_sound) {
        return Err("it lists a package whose name or version is none".to_owned());
    }
    let architecture = architecture.filter(|text| !text.is_empty()).map(str::to_owned);
    Ok((PackageName { name: name.to_owned(), architecture }, version.to_owned()))
}

/// Adds a package to a list, up to the number that is believed.
fn add(packages: &mut Vec<Package>, package: Package) -> Result<(), String> {
    if packages.len() == MAX_PACKAGES {
        return Err(format!("it lists more than {MAX_PACKAGES} packages"));
    }
    packages.push(package);
    Ok(())
}

#[cfg(test)]
mod tests;
