//! `script`.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;

use wharf_yocto::deploy::Places;
use wharf_yocto::script::{Baked, Setting, StoragePlace, render};
use wharf_yocto::vdkr_conf::VdkrConf;

use crate::cli::Script;
use crate::instance;
use crate::settings::{CA_CERT, Settings};
use crate::tls;
use crate::ui::{self, Failure};
use crate::url::RegistryUrl;

/// The script's name in the storage folder.
const NAME: &str = "container-registry.sh";
/// What vdkr reads, in the same folder.
const VDKR_CONF: &str = "vdkr.conf";

/// Writes the script with the settings in force, and beside one in the storage folder what vdkr takes over of them.
pub fn run(settings: &Settings, options: &Script) -> Result<ExitCode, Failure> {
    let baked = baked(settings);
    let own = settings.storage.join(NAME);
    let file = options.output.clone().unwrap_or_else(|| own.clone());
    let lies_in_storage = |folder: Option<&Path>| {
        let real = |folder: &Path| folder.canonicalize().ok();
        folder.is_some_and(|folder| {
            folder == settings.storage || real(folder).is_some_and(|own| Some(own) == real(&settings.storage))
        })
    };
    let file_absolute = std::path::absolute(&file).unwrap_or_else(|_| file.clone());
    let place = if file.as_os_str() != "-" && lies_in_storage(file_absolute.parent()) {
        StoragePlace::BesideScript
    } else {
        StoragePlace::At(settings.storage.to_string_lossy().into_owned())
    };
    let text = render(&baked, &place);
    if file.as_os_str() == "-" {
        ui::print(text)?;
        return Ok(ExitCode::SUCCESS);
    }
    write(&file_absolute, &text, 0o755)?;
    if place == StoragePlace::BesideScript {
        make_certificates(settings)?;
        let conf = vdkr_conf(settings).text().map_err(|error| Failure::of(&error))?;
        write(&settings.storage.join(VDKR_CONF), &conf, 0o644)?;
    }
    ui::print(format_args!("{}\n", file.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Written beside and moved over: the old one may be running, and another build may write it at the same moment.
fn write(file: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let written = || {
        fs::create_dir_all(folder)?;
        let mut draft = tempfile::Builder::new().prefix(".container-registry-").tempfile_in(folder)?;
        draft.write_all(text.as_bytes())?;
        draft.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
        draft.persist(file)?;
        Ok(())
    };
    written().map_err(|error: std::io::Error| Failure::new(format!("cannot write {}", file.display())).because(&error))
}

/// The script is called from anywhere.
fn absolute(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).to_string_lossy().into_owned()
}

/// The same for a list of folders.
fn all_absolute(list: &str) -> String {
    match Places::parse_list(list) {
        Places::Machine(folder) => absolute(folder),
        Places::Machines(folders) => folders.into_iter().map(absolute).collect::<Vec<_>>().join(" "),
    }
}

/// What is set, and what the script needs to find the build from anywhere.
fn baked(settings: &Settings) -> Baked {
    let mut baked = Baked::default();
    baked.set(Setting::Topdir, &absolute(settings.environment.get(&crate::settings::TOPDIR).unwrap_or(".")));
    for setting in Setting::ALL {
        if let Some(value) = settings.environment.named(setting.variable()) {
            let value = match setting {
                Setting::Topdir | Setting::AuthFile | Setting::CredsFile | Setting::CaCert | Setting::DeployDirImage => {
                    absolute(value)
                }
                Setting::DeployDirImages => all_absolute(value),
                _ => value.to_owned(),
            };
            baked.set(setting, &value);
        }
    }
    // Flags count before the environment, here as everywhere.
    baked.set(Setting::Url, &settings.url_text);
    baked.set(Setting::Namespace, settings.namespace.as_str());
    baked
}

/// In secure mode, makes the authority that the registry of this storage folder will have: what is built meanwhile is to believe it.
fn make_certificates(settings: &Settings) -> Result<(), Failure> {
    if !settings.secure && !settings.auth {
        return Ok(());
    }
    let config = settings.own_config().map_err(|error| instance::refused(&error))?.config;
    match config.http.own_pki() {
        Some((pki, plan)) => tls::issue(pki, plan).map(drop),
        None => Ok(()),
    }
}

/// What vdkr is to know of the registry.
fn vdkr_conf(settings: &Settings) -> VdkrConf {
    let own = settings.url.seen_from_guest().authority();
    // Plain HTTP to another host without the permission for it is no reason to permit it to vdkr.
    let is_https = settings.is_https().unwrap_or(true);
    let mut insecure: Vec<_> = (!is_https).then(|| own.clone()).into_iter().collect();
    for host in settings.environment.named(Setting::DockerInsecure.variable()).unwrap_or_default().split_whitespace() {
        let host = RegistryUrl::parse(host).map_or_else(|_| host.to_owned(), |url| url.seen_from_guest().authority());
        if !insecure.contains(&host) {
            insecure.push(host);
        }
    }
    VdkrConf {
        registry: format!("{own}/{}", settings.namespace),
        secure: settings.secure || settings.auth,
        insecure,
        ca_cert: authority(settings).filter(|_| is_https),
    }
}

/// The authority to believe: the one that is named, or the registry's own.
fn authority(settings: &Settings) -> Option<String> {
    let own = settings.storage.join("pki").join(wharf_pki::AUTHORITY);
    settings.environment.get(&CA_CERT).map(absolute).or_else(|| own.exists().then(|| absolute(own)))
}
