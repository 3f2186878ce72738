//! One file per command, and which is meant.

mod config;
mod df;
mod history;
mod images;
mod info;
mod inspect;
mod load;
mod login;
mod pack;
mod prune;
pub mod pull;
mod push;
mod remove;
mod save;
mod setup;
mod storage;
pub mod tag;
mod vimport;

use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use wharf_machine::Architecture;
use wharf_oci::{Descriptor, Document, ImageIndex, Layout, Platform, media_type};
use wharf_terminal::ui::{self, Failure};

use crate::cli::images::Image;
use crate::cli::system::System;
use crate::cli::{Cli, Command};
use crate::containers;
use crate::settings::Settings;
use crate::store::{self, Store};

/// Runs what the command line asks for.
pub fn run(cli: &Cli) -> Result<ExitCode, Failure> {
    let program = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    let environment = std::env::vars_os().collect();
    if let Command::Vconfig(options) = &cli.command {
        // A setting that cannot be used must not keep anybody from changing it.
        return config::run(&environment, options);
    }
    let mut settings = Settings::resolve(&cli.flags, &program, environment)?;
    ui::Manner { verbose: settings.verbose, ..ui::Manner::default() }.set();
    let vanishing = settings.stateless.then(|| tempfile::Builder::new().prefix("vdkr-").tempdir()).transpose();
    let vanishing = vanishing.map_err(|error| Failure::new("there is no place for a state").because(&error))?;
    settings.vanishing = vanishing.as_ref().map(|folder| folder.path().to_owned());
    dispatch(&settings, &cli.command)
}

fn dispatch(settings: &Settings, command: &Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Pull(options) => pull::run(settings, options),
        Command::Push(options) => push::run(settings, options),
        Command::Images(options) => images::run(settings, options),
        Command::Image(command) => image(settings, command),
        Command::Inspect(options) => inspect::run(settings, options),
        Command::History(options) => history::run(settings, options),
        Command::Tag(options) => tag::run(settings, options),
        Command::Rmi(options) => remove::run(settings, options),
        Command::Save(options) => save::run(settings, options),
        Command::Load(options) => load::run(settings, options),
        Command::Import(options) => vimport::import(settings, options),
        Command::Vimport(options) => vimport::run(settings, options),
        Command::Login(options) => login::login(settings, options),
        Command::Logout(options) => login::logout(settings, options),
        Command::Info(options) | Command::System(System::Info(options)) => info::info(settings, options),
        Command::Version(options) => info::version(settings, options),
        Command::System(System::Df(options)) => df::run(settings, options),
        Command::System(System::Prune(options)) => prune::run(settings, options),
        Command::Vstorage(command) => storage::run(settings, command),
        Command::Clean(options) => storage::clean(settings, &options.confirmed),
        Command::Setup(options) => setup::run(settings, options),
        Command::Container(options) => containers::container(settings, options),
        command => containers::run(settings, command),
    }
}

fn image(settings: &Settings, command: &Image) -> Result<ExitCode, Failure> {
    match command {
        Image::Ls(options) => images::run(settings, options),
        Image::Inspect(options) => inspect::images(settings, options),
        Image::Rm(options) => remove::run(settings, options),
        Image::History(options) => history::run(settings, options),
        Image::Prune(options) => prune::run(settings, options),
        Image::Pull(options) => pull::run(settings, options),
        Image::Tag(options) => tag::run(settings, options),
        Image::Push(options) => push::run(settings, options),
        Image::Save(options) => save::run(settings, options),
        Image::Load(options) => load::run(settings, options),
        Image::Import(options) => vimport::import(settings, options),
    }
}

/// Hands the layers of an image that was just listed on.
pub fn make_ready(settings: &Settings, store: &Store, descriptor: &Descriptor) -> Result<(), Failure> {
    let Some(layout) = store.layout()? else { return Ok(()) };
    let Ok(bytes) = layout.read(descriptor) else { return Ok(()) };
    match Document::parse(&bytes, &descriptor.media_type) {
        Ok(Document::Image(manifest)) => store::ready::make_ready(settings, &layout, &manifest)
            .map_err(|failure| failure.hint("the image is kept; it can be inspected and saved, and not run")),
        _ => Ok(()),
    }
}

/// The image of an index that runs best, or that is for the platform asked for. `shown` is what the index is called.
fn of_index(arch: Architecture, index: &ImageIndex, wanted: Option<&Platform>, shown: &str) -> Result<Descriptor, Failure> {
    let is_image = |child: &&Descriptor| {
        media_type::is_manifest(&child.media_type) && !child.platform.as_ref().is_some_and(Platform::is_unknown)
    };
    let images: Vec<_> = index.manifests.iter().filter(is_image).collect();
    let place = match wanted {
        Some(wanted) => images.iter().position(|child| child.platform.as_ref().is_some_and(|platform| platform.matches(wanted))),
        None => store::choose(arch, images.iter().map(|child| child.platform.as_ref())),
    };
    // One that says nothing says it in its configuration.
    let place = place.or_else(|| (images.len() == 1 && images[0].platform.is_none()).then_some(0));
    place.map(|place| images[place].clone()).ok_or_else(|| {
        let has: Vec<_> = images.iter().filter_map(|child| child.platform.as_ref()).map(ToString::to_string).collect();
        let what = wanted.map_or_else(|| format!("{arch}"), ToString::to_string);
        Failure::new(format!("{shown} has no image for {what}")).hint(format!("it has {}", has.join(", ")))
    })
}

/// Whether an image of this platform is what is wanted.
fn check_platform(
    arch: Architecture,
    platform: Option<&Platform>,
    wanted: Option<&Platform>,
    shown: &str,
) -> Result<(), Failure> {
    let Some(platform) = platform else { return Ok(()) };
    let fits = match wanted {
        Some(wanted) => platform.matches(wanted),
        None => store::runs(arch, platform),
    };
    if fits {
        return Ok(());
    }
    let what = wanted.map_or_else(|| format!("{arch}"), ToString::to_string);
    let failure = Failure::new(format!("{shown} has no image for {what}"));
    let other = Architecture::ALL.into_iter().find(|other| *other != arch && store::runs(*other, platform));
    Err(match other {
        Some(other) if wanted.is_none() => failure.hint(format!("it is for {platform}: `vdkr --arch {other}` takes it")),
        _ => failure.hint(format!("it is for {platform}")),
    })
}

/// The layout of a store that has something.
fn layout_of(store: &Store) -> Result<Layout, Failure> {
    store.layout()?.ok_or_else(|| Failure::new("there are no images"))
}

/// Asks whether to go ahead, unless that was said already. Without a terminal nobody can be asked, and nothing is done.
fn confirm(force: bool, question: &str) -> Result<bool, Failure> {
    if force {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new("nobody is there to ask").hint("--force goes ahead without"));
    }
    ui::say(format_args!("WARNING! {question}"));
    eprint!("Are you sure you want to continue? [y/N] ");
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    read.map_err(|error| Failure::new("cannot read the answer").because(&error))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
