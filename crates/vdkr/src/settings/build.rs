//! What the build baked in: its `vdkr.conf`, lines `key=value` in the registry's storage folder.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use wharf_client::Environment;
use wharf_terminal::ui::Failure;

use super::kept::{pair, switch};
use super::{RegistryPrefix, passed_over};

const NAME: &str = "vdkr.conf";
/// Where it lies in a build directory, when the storage folder is the usual one.
const IN_BUILD: &str = "container-registry";

/// What the file says.
#[derive(Clone, Debug, Default)]
pub struct Defaults {
    /// The build's registry.
    pub registry: Option<RegistryPrefix>,
    /// It is reached over TLS only.
    pub secure: bool,
    /// Registries that may speak plain HTTP.
    pub insecure: Vec<String>,
    /// The authority that signed the registry's certificate.
    pub ca_cert: Option<PathBuf>,
}

impl Defaults {
    /// Looks where `VDKR_CONFIG_DEFAULTS` says, else beside the program, else in a build directory above the current folder.
    pub fn find(environment: &Environment, program: &Path) -> Result<Self, Failure> {
        if let Some(named) = environment.get("VDKR_CONFIG_DEFAULTS") {
            return Self::read(Path::new(named));
        }
        let beside =
            std::env::current_exe().ok().or_else(|| Some(program.to_owned())).and_then(|path| Some(path.parent()?.join(NAME)));
        let above = std::env::current_dir().unwrap_or_default();
        let above = above.ancestors().map(|folder| folder.join(IN_BUILD).join(NAME));
        for file in beside.into_iter().chain(above) {
            let Ok(metadata) = fs::metadata(&file) else { continue };
            // A folder above may be anybody's, /tmp for one: whoever could put a file there could name the registry to pull from.
            let own = rustix::process::geteuid().as_raw();
            if ![own, 0].contains(&metadata.uid()) {
                passed_over(&file, "it belongs to somebody else");
                continue;
            }
            return Self::read(&file);
        }
        Ok(Self::default())
    }

    fn read(file: &Path) -> Result<Self, Failure> {
        let cannot = |why: &str| Failure::new(format!("{} cannot be used: {why}", file.display()));
        let text =
            fs::read_to_string(file).map_err(|error| Failure::new(format!("cannot read {}", file.display())).because(&error))?;
        let mut found = Self::default();
        for (name, value) in text.lines().filter_map(pair).filter(|(_, value)| !value.is_empty()) {
            match name {
                "registry" => found.registry = Some(value.parse().map_err(|why: String| cannot(&why))?),
                "secure" => found.secure = switch(value).ok_or_else(|| cannot("`secure` is neither 0 nor 1"))?,
                "insecure-registries" => {
                    found.insecure.extend(value.split([' ', ',']).filter(|host| !host.is_empty()).map(str::to_owned));
                }
                "ca-cert" => found.ca_cert = Some(PathBuf::from(value)),
                // A later build may say more.
                _ => {}
            }
        }
        Ok(found)
    }
}
