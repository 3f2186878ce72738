//! Which layouts and archives are to be pushed, and under which names.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use wharf_oci::{Layout, RepositoryName};
use wharf_yocto::deploy::{self, Discovery, Places, name_of_path};

use crate::cli::Push;
use crate::layout_path::{self, Pick};
use crate::settings::{self, Settings};
use crate::ui::{self, Failure};

/// A layout or archive that is to be pushed.
#[derive(Debug)]
pub struct Candidate {
    /// Its name in the registry.
    pub repository: RepositoryName,
    /// Its name as the build, or the caller, gave it.
    pub name: String,
    /// The machine it was built for.
    pub machine: Option<String>,
    /// Where it lies.
    pub path: PathBuf,
    /// Which of its images; without, all of them.
    pub pick: Option<Pick>,
    /// It was asked for by its path.
    pub named: bool,
    /// When it was written.
    pub built: SystemTime,
}

impl Candidate {
    /// What it is called in messages.
    pub fn shown(&self) -> String {
        match &self.machine {
            Some(machine) => format!("{} ({machine})", self.name),
            None => self.name.clone(),
        }
    }
}

/// What is to be pushed, and what of it cannot be. The latter was reported.
#[derive(Debug, Default)]
pub struct Chosen {
    /// What can be.
    pub candidates: Vec<Candidate>,
    /// Names of what cannot.
    pub failed: Vec<String>,
}

/// Chooses what the options name, or everything that the build made.
pub fn choose(settings: &Settings, options: &Push) -> Result<Chosen, Failure> {
    let mut chosen = Chosen::default();
    let mut names = Vec::new();
    for argument in &options.images {
        match layout_path::find(argument) {
            Some((path, pick)) => match of_path(settings, options, &path, pick) {
                Ok(candidate) => chosen.candidates.push(candidate),
                Err(failure) => chosen.fail(argument, &failure),
            },
            None if layout_path::is_meant(argument) => {
                chosen.fail(argument, &Failure::new(format!("{argument} not found")).hint("there is no such file or folder"));
            }
            None => names.push(argument.clone()),
        }
    }
    if options.name.is_some() && (!names.is_empty() || options.images.len() != 1) {
        return Err(Failure::new("--name is for exactly one PATH"));
    }
    if options.images.is_empty() {
        let wanted = settings.environment.get(&settings::IMAGES).unwrap_or_default();
        names = wanted.split_whitespace().map(str::to_owned).collect();
        of_build(settings, &mut chosen, if names.is_empty() { Wanted::All } else { Wanted::Filter(&names) }, options.dry_run)?;
    } else if !names.is_empty() {
        of_build(settings, &mut chosen, Wanted::Named(&names), options.dry_run)?;
    }
    Ok(chosen)
}

impl Chosen {
    fn fail(&mut self, name: &str, failure: &Failure) {
        failure.report();
        self.failed.push(name.to_owned());
    }
}

/// What of a build is wanted.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    All,
    /// What is not there is left out: a filter is written once for many builds.
    Filter(&'a [String]),
    /// What is not there is a failure.
    Named(&'a [String]),
}

impl Wanted<'_> {
    fn names(&self) -> Option<&[String]> {
        match self {
            Self::All => None,
            Self::Filter(names) | Self::Named(names) => Some(names),
        }
    }
}

/// Adds what the build made, as far as it is wanted. That there is nothing is a failure, unless it is only to be told.
fn of_build(settings: &Settings, chosen: &mut Chosen, wanted: Wanted<'_>, is_dry_run: bool) -> Result<(), Failure> {
    let places = places(settings);
    let Discovery { images, broken, warnings } = deploy::discover(&places, &ref_names).map_err(|error| {
        Failure::new(error.to_string())
            .hint("DEPLOY_DIR_IMAGES, or TOPDIR with the build directory, says where images are; or give the path of a layout")
    })?;
    for warning in &warnings {
        ui::warn(&warning.to_string());
    }
    let bare = |name: &str| {
        let inside = name.strip_prefix(settings.namespace.as_str()).and_then(|rest| rest.strip_prefix('/'));
        inside.unwrap_or(name).to_owned()
    };
    let is_wanted = |name: &str| wanted.names().is_none_or(|wanted| wanted.iter().any(|wanted| bare(wanted) == name));
    let mut available: Vec<_> =
        images.iter().map(|found| found.name.clone()).chain(broken.iter().map(|broken| broken.name.clone())).collect();
    available.sort();
    available.dedup();
    for name in wanted.names().unwrap_or_default() {
        if !available.contains(&bare(name)) {
            if matches!(wanted, Wanted::Filter(_)) {
                ui::warn(&format!("{name}, of {}, not found in {}", settings::IMAGES.name, shown(&places)));
                continue;
            }
            let listed =
                if available.is_empty() { "there are none".to_owned() } else { format!("available: {}", available.join(", ")) };
            let failure = Failure::new(format!("{name} not found in {}", shown(&places)));
            let hint = match name.rsplit_once(':') {
                Some((image, tag)) if available.contains(&bare(image)) => {
                    format!("a tag is given as an option: push {image} --tag {tag}")
                }
                _ => listed,
            };
            chosen.fail(name, &failure.hint(hint));
        }
    }
    for broken in broken.iter().filter(|broken| is_wanted(&broken.name)) {
        chosen.fail(&broken.name, &Failure::new(format!("{} cannot be pushed: {}", broken.name, broken.why)));
    }
    let any = images.iter().map(|found| &found.name).chain(broken.iter().map(|broken| &broken.name)).any(|name| is_wanted(name));
    if !any && !matches!(wanted, Wanted::Named(_)) {
        let text = format!("no images found in {}", shown(&places));
        if is_dry_run {
            ui::warn(&text);
        } else {
            return Err(Failure::new(text).hint("an image recipe makes them with IMAGE_FSTYPES = \"oci\""));
        }
    }
    for found in images.into_iter().filter(|found| is_wanted(&found.name)) {
        match repository(settings, &found.name) {
            Ok(repository) => chosen.candidates.push(Candidate {
                repository,
                name: found.name,
                machine: found.machine,
                path: found.path,
                pick: None,
                named: false,
                built: found.built,
            }),
            Err(failure) => chosen.fail(&found.name, &failure),
        }
    }
    Ok(())
}

/// The one folder of DEPLOY_DIR_IMAGE, or those of DEPLOY_DIR_IMAGES, or where a build puts its images.
fn places(settings: &Settings) -> Places {
    let environment = &settings.environment;
    match (environment.get(&settings::DEPLOY_DIR_IMAGE), environment.get(&settings::DEPLOY_DIR_IMAGES)) {
        (Some(folder), _) => Places::Machine(PathBuf::from(folder)),
        (None, Some(list)) => Places::parse_list(list),
        (None, None) => {
            let topdir = environment.get(&settings::TOPDIR).unwrap_or(settings::TOPDIR.default);
            let topdir = std::path::absolute(topdir).unwrap_or_else(|_| topdir.into());
            Places::Machines(vec![topdir.join("tmp/deploy/images")])
        }
    }
}

fn shown(places: &Places) -> String {
    match places {
        Places::Machine(folder) => folder.display().to_string(),
        Places::Machines(folders) => folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", "),
    }
}

fn of_path(settings: &Settings, options: &Push, given: &Path, pick: Option<Pick>) -> Result<Candidate, Failure> {
    let cannot = |error: &dyn std::error::Error| Failure::new(format!("cannot push {}", given.display())).because(error);
    // A build may move a link while this reads what it pointed to.
    let path = given.canonicalize().map_err(|error| cannot(&error))?;
    let absolute = std::path::absolute(given).map_err(|error| cannot(&error))?;
    let built = deploy::written(&path).map_err(|error| cannot(&error))?;
    let machine = absolute.parent().and_then(|folder| folder.file_name()).and_then(|name| name.to_str());
    let name = options.name.clone().unwrap_or_else(|| name_of_path(&absolute, machine, &ref_names(&path)));
    Ok(Candidate { repository: repository(settings, &name)?, name, machine: None, path, pick, named: true, built })
}

fn repository(settings: &Settings, name: &str) -> Result<RepositoryName, Failure> {
    settings.repository(name).map_err(|error| {
        Failure::new(format!("`{name}` cannot be an image's name in a registry"))
            .because(&error)
            .hint("give the layout's path, and another name with --name")
    })
}

/// The names of the images in a layout; of what is none, nothing.
fn ref_names(path: &Path) -> Vec<String> {
    let layout = Layout::open(path);
    layout.map(|layout| layout.images().iter().filter_map(|image| image.name.clone()).collect()).unwrap_or_default()
}
