//! `script`.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;

use wharf_yocto::deploy::Places;
use wharf_yocto::script::{Baked, Setting, StoragePlace, render};

use crate::cli::Script;
use crate::settings::Settings;
use crate::ui::{self, Failure};

/// The script's name in the storage folder.
const NAME: &str = "container-registry.sh";

/// Writes the script with the settings in force.
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
    write(&file_absolute, &text).map_err(|error| Failure::new(format!("cannot write {}", file.display())).because(&error))?;
    ui::print(format_args!("{}\n", file.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Written beside and moved over: the old one may be running, and another build may write it at the same moment.
fn write(file: &Path, text: &str) -> std::io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut draft = tempfile::Builder::new().prefix(".container-registry-").tempfile_in(folder)?;
    draft.write_all(text.as_bytes())?;
    draft.as_file().set_permissions(fs::Permissions::from_mode(0o755))?;
    draft.persist(file)?;
    Ok(())
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
