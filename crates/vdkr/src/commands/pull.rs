//! `pull`: an image from the configured registry, from Docker Hub where that has none, or from the registry in its name.

use std::process::ExitCode;
use std::sync::Arc;

use wharf_client::{ClientError, Registries, RepositorySource, Tree};
use wharf_oci::{Descriptor, Digest, Document, ImageReference, Platform};
use wharf_pull::{FetchError, Had, Origin, OriginError, Puller, take_in};
use wharf_terminal::progress::Progress;
use wharf_terminal::ui::{self, Failure, Output};

use crate::cli::images::Pull;
use crate::reach;
use crate::settings::Settings;
use crate::store::{self, Listing, Store};

/// How often an image is completed that others remove parts of meanwhile.
const ATTEMPTS: usize = 5;

/// What was pulled.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// The name in the store, in full.
    pub name: String,
    /// Digest of its manifest in the store.
    pub manifest: Digest,
    /// What the name led to at the registry.
    pub digest: Digest,
    /// Where the bytes came from.
    had: Had,
    /// Whether the name led to the same image before.
    unchanged: bool,
}

/// Pulls an image.
pub fn run(settings: &Settings, options: &Pull) -> Result<ExitCode, Failure> {
    ui::Manner { quiet: options.quiet, ..ui::Manner::now() }.set();
    let pulled = pull(settings, &options.image, options.platform.as_ref())?;
    let mut output = Output::default();
    if !options.quiet {
        output.print(format_args!("Digest: {}\n", pulled.digest));
        let shown = store::familiar(&pulled.name);
        output.print(match pulled.unchanged {
            true => format!("Status: Image is up to date for {shown}\n"),
            false => format!("Status: Downloaded newer image for {shown}\n"),
        });
    }
    output.print(format_args!("{}\n", pulled.name));
    output.end().map(|()| ExitCode::SUCCESS)
}

/// Pulls an image by a name as it was given: without a registry it is looked for in the configured one first, and on Docker Hub where that
/// has none or cannot be reached. The source is told on standard error.
///
/// # Errors
/// Whatever keeps the image from being had; of a registry that refuses (401, 403), also where Docker Hub might have one.
pub fn pull(settings: &Settings, name: &str, platform: Option<&Platform>) -> Result<Pulled, Failure> {
    let read = |text: &str| text.parse::<ImageReference>().map_err(|error| Failure::of(&error));
    let plain = read(name)?;
    let registry = settings.registry.as_ref().filter(|_| !store::qualified(name));
    let own = registry.map(|registry| read(&registry.qualify(name))).transpose()?;
    if plain.tag().is_none() && plain.digest().is_none() {
        ui::say("Using default tag: latest");
    }
    let registries = reach::registries(settings)?;
    reach::run(async {
        let progress = Arc::new(Progress::new());
        let (image, origin) = find(settings, &registries, own, plain, &progress).await?;
        let address = origin.registry.address();
        let stored = store::full(&image);
        let host = image.host();
        let through =
            if address.authority == host || reach::is_here(host) { String::new() } else { format!(" (through {address})") };
        // This is said however quiet the command is: who gets an image must know whose it is.
        let quiet = ui::Manner::now();
        ui::Manner { quiet: false, ..quiet }.set();
        progress.say(format_args!("Source: {stored}{through}"));
        quiet.set();
        let pulled = bring(settings, &origin, &image, platform, &progress).await;
        progress.clear();
        let pulled = pulled?;
        if pulled.had.is_nothing() {
            ui::detail(format_args!("everything was there"));
        } else {
            ui::say(format_args!("Pulled {stored}: {}", pulled.had));
        }
        Ok(pulled)
    })
}

/// Finds out which registry has the image.
async fn find(
    settings: &Settings,
    registries: &Registries,
    own: Option<ImageReference>,
    plain: ImageReference,
    progress: &Arc<Progress>,
) -> Result<(ImageReference, Origin), Failure> {
    if let Some(own) = own {
        let reach = reach::to(settings, own.host())?;
        match Origin::find(registries, &reach, &own, progress.clone()).await {
            Ok(origin) => return Ok((own, origin)),
            Err(OriginError::NotFound { .. }) => {
                progress.say(format_args!("{} not found, trying {}", store::full(&own), store::full(&plain)));
            }
            Err(OriginError::Client(error)) if error.is_passing() && !settings.secure => {
                progress.warn(&format!("{} cannot be reached ({error}), trying {}", own.host(), store::full(&plain)));
            }
            Err(error) => {
                let failure = reach::not_to_be_had(&own, &error);
                let is_away = matches!(&error, OriginError::Client(error) if error.is_passing());
                return Err(match is_away {
                    true => failure.hint("the build's registry is secure, so no other is asked in its place"),
                    false => failure,
                });
            }
        }
    }
    let reach = reach::to(settings, plain.host())?;
    match Origin::find(registries, &reach, &plain, progress.clone()).await {
        Ok(origin) => Ok((plain, origin)),
        Err(error) => Err(reach::not_to_be_had(&plain, &error)),
    }
}

/// Brings an image of a registry into the store.
async fn bring(
    settings: &Settings,
    origin: &Origin,
    image: &ImageReference,
    platform: Option<&Platform>,
    progress: &Arc<Progress>,
) -> Result<Pulled, Failure> {
    let store = Store::of(settings);
    let name = store::full(image);
    let staging = store.downloads()?;
    let client = |error: ClientError| reach::failure(&error);
    let from = RepositorySource { registry: &origin.registry, repository: origin.repository.clone(), is_destination: false };
    let root = root(settings, origin, image, platform)?;
    let puller = Puller::new(
        (&origin.registry, &origin.repository),
        Box::new(from),
        (store.folder(), &staging),
        Some(&name),
        progress.clone(),
    )
    .shared();
    let tree = match root.digest == origin.manifest.digest {
        // It is not asked for again: some registries count that.
        true => Tree::of(puller.source(), &origin.manifest).await,
        false => puller.tree(&root).await,
    };
    let tree = tree.map_err(client)?;
    check(settings, image, &tree, &root, platform)?;
    ui::detail(format_args!("{name} is {} in {} blobs", ui::size(tree.size()), tree.blobs.len()));
    let mut had = Had::default();
    for _ in 0..ATTEMPTS {
        let fetched = puller.fetch(&tree).await.map_err(|error| {
            if error.is_full() {
                puller.forget(&tree);
            }
            not_fetched(&error)
        })?;
        if had == Had::default() {
            had = fetched;
        } else {
            had.add(fetched);
        }
        let mut writer = store.writer()?;
        let unchanged = writer
            .images()
            .iter()
            .any(|known| known.name.as_ref() == Some(&name) && known.descriptor.digest == tree.root.descriptor.digest);
        // Another process may have removed an image that had some of it.
        if !take_in(&mut writer, &tree, &staging).map_err(|error| Failure::of(&error))? {
            continue;
        }
        let names = if image.tag().is_some() || image.digest().is_none() { vec![tagged(image)] } else { Vec::new() };
        let repository_digest = Some(format!("{}/{}@{}", image.host(), image.repository(), origin.manifest.digest));
        Store::list(&mut writer, &tree.root.descriptor, &Listing { names, repository_digest });
        Store::commit(writer)?;
        super::make_ready(settings, &store, &tree.root.descriptor)?;
        let (manifest, digest) = (tree.root.descriptor.digest, origin.manifest.digest);
        return Ok(Pulled { name, manifest, digest, had, unchanged });
    }
    Err(Failure::new(format!("{name} was not pulled: what it needs was removed each time by another command")))
}

/// The name that an image gets: without a digest, which only the registry knows it by.
fn tagged(image: &ImageReference) -> String {
    let tag = image.tag().map_or_else(|| "latest".to_owned(), ToString::to_string);
    format!("{}/{}:{tag}", image.host(), image.repository())
}

fn not_fetched(error: &FetchError) -> Failure {
    match error {
        FetchError::Client(error) if error.is_passing() => {
            reach::failure(error).hint("what was received is kept; the same command goes on from there")
        }
        FetchError::Client(error) => reach::failure(error),
        error => Failure::of(error),
    }
}

/// The manifest of the image that runs best, or of the platform that was asked for.
fn root(
    settings: &Settings,
    origin: &Origin,
    image: &ImageReference,
    platform: Option<&Platform>,
) -> Result<Descriptor, Failure> {
    let fetched = &origin.manifest;
    let own = Descriptor::new(&fetched.media_type, fetched.digest, fetched.bytes.len() as u64);
    let document = Document::parse(&fetched.bytes, &fetched.media_type);
    let document = document.map_err(|error| Failure::new(format!("{image} cannot be used")).because(&error))?;
    let Document::Index(index) = document else { return Ok(own) };
    super::of_index(settings.arch, &index, platform, &image.to_string())
}

/// An image that is in no index says itself what it is for.
fn check(
    settings: &Settings,
    image: &ImageReference,
    tree: &Tree,
    root: &Descriptor,
    wanted: Option<&Platform>,
) -> Result<(), Failure> {
    match Document::parse(&tree.root.bytes, &tree.root.descriptor.media_type) {
        Ok(Document::Image(manifest)) if manifest.is_image() => {}
        _ => return Err(Failure::new(format!("{image} is no image that can be run"))),
    }
    let platform = root.platform.as_ref().or(tree.root.descriptor.platform.as_ref());
    super::check_platform(settings.arch, platform, wanted, &image.to_string())
}
