//! Which files count (containers-registries.conf(5), containers-registries.conf.d(5)).

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use wharf_oci::is_there;

use super::file;
use super::{Registries, RegistriesError};
use crate::credentials::Environment;
use crate::credentials::file::{ReadError, read};

/// The machine's configuration.
const SYSTEM: &str = "/etc/containers";
/// The user's, in the home folder. The field does not follow `XDG_CONFIG_HOME` here.
const IN_HOME: &str = ".config/containers";
const FILE: &str = "registries.conf";
const FOLDER: &str = "registries.conf.d";

/// The files of one environment.
struct Files {
    main: PathBuf,
    /// Whether a variable names the main file, which must exist then.
    named: bool,
    /// Folders of drop-ins, the later ones over the earlier.
    folders: Vec<PathBuf>,
}

impl Files {
    fn of(environment: &Environment, system: &Path) -> Self {
        let user = environment.path("HOME").map(|home| home.join(IN_HOME));
        let named = environment.path("CONTAINERS_REGISTRIES_CONF");
        let user_main = user.as_ref().map(|folder| folder.join(FILE)).filter(|file| is_there(file));
        // Who has a file of their own is not bothered with the machine's drop-ins.
        let follows_system = named.is_some() || user_main.is_none();
        let folders = match environment.path("CONTAINERS_REGISTRIES_CONF_DIR") {
            Some(folder) => vec![folder],
            None => {
                let system = follows_system.then(|| system.join(FOLDER));
                system.into_iter().chain(user.map(|folder| folder.join(FOLDER))).collect()
            }
        };
        Self { named: named.is_some(), main: named.or(user_main).unwrap_or_else(|| system.join(FILE)), folders }
    }
}

impl Registries {
    /// Reads the file that `CONTAINERS_REGISTRIES_CONF` names, else `~/.config/containers/registries.conf`, else
    /// `/etc/containers/registries.conf`; then the `*.conf` files of the folders `registries.conf.d` (or of the one that
    /// `CONTAINERS_REGISTRIES_CONF_DIR` names) in the order of their names, the machine's before the user's. An entry replaces an earlier
    /// one with the same prefix. Where the user has a file, the machine's files are not read. Files that do not exist are passed over,
    /// unless a variable names them.
    pub fn load(environment: &Environment) -> Result<Self, RegistriesError> {
        Self::load_beside(environment, Path::new(SYSTEM))
    }

    /// The same with another folder than `/etc/containers` for the machine's files, as below the root of another system.
    pub fn load_beside(environment: &Environment, system: &Path) -> Result<Self, RegistriesError> {
        let files = Files::of(environment, system);
        let mut registries = Self::default();
        registries.add(&files.main, files.named)?;
        for folder in &files.folders {
            for file in drop_ins(folder)? {
                registries.add(&file, false)?;
            }
        }
        Ok(registries)
    }

    fn add(&mut self, file: &Path, required: bool) -> Result<(), RegistriesError> {
        let bytes = match read(file) {
            Err(error) if error.is_missing() && !required => return Ok(()),
            bytes => bytes?,
        };
        for entry in file::parse(file, &bytes, &mut self.warnings)? {
            match self.entries.iter_mut().find(|known| known.prefix == entry.prefix) {
                Some(known) => *known = entry,
                None => self.entries.push(entry),
            }
        }
        Ok(())
    }
}

/// The files of a folder of drop-ins; none where it does not exist.
fn drop_ins(folder: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let failed = |source| ReadError::Io { file: folder.to_owned(), source };
    let listing = match fs::read_dir(folder) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(Vec::new()),
        listing => listing.map_err(failed)?,
    };
    let mut files = Vec::new();
    for entry in listing {
        let path = entry.map_err(failed)?.path();
        if path.extension() == Some(OsStr::new("conf")) && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
