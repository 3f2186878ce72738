//! Everything about an image that can be known before anything is sent.

use std::collections::BTreeMap;
use std::path::PathBuf;

use wharf_client::{Offer, Tree};
use wharf_oci::{Descriptor, ImageIndex, Layout, NamedImage, RepositoryName, Tag};
use wharf_yocto::architecture::build_name;
use wharf_yocto::tags::{self, Facts, Strategy};

use super::choose::Candidate;
use super::recompress::{self, Recompressed, Temporary};
use crate::cli::{Compression, Push};
use crate::layout_path::{self, Pick};
use crate::remote;
use crate::settings::{self, Settings};
use crate::ui::{self, Failure};

/// The label that holds an image's version.
const VERSION: &str = "org.opencontainers.image.version";

/// The annotation that holds an image's name in a layout.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// How tags come about in this run.
pub enum Tagging {
    /// They were given.
    Given(Vec<Tag>),
    /// They are worked out.
    Strategy {
        /// How.
        strategy: Strategy,
        /// From what.
        facts: Facts,
        /// The version that counts before an image's own.
        version: Option<String>,
    },
}

impl Tagging {
    /// What the options and the environment ask for. What is skipped is warned of, once.
    pub fn new(settings: &Settings, options: &Push) -> Result<Self, Failure> {
        if !options.tags.is_empty() {
            let mut tags = Vec::new();
            for text in &options.tags {
                let tag: Tag = text.parse().map_err(|error| Failure::new(format!("`{text}` is no tag")).because(&error))?;
                if !tags.contains(&tag) {
                    tags.push(tag);
                }
            }
            return Ok(Self::Given(tags));
        }
        let environment = &settings.environment;
        let text = options.strategy.as_deref().or_else(|| environment.get(&settings::TAG_STRATEGY));
        let strategy = Strategy::parse(text.unwrap_or(settings::TAG_STRATEGY.default));
        let strategy = strategy.map_err(|error| Failure::new(error.to_string()))?;
        let facts = Facts::now(environment.get(&settings::TOPDIR).map(std::path::Path::new));
        for skipped in facts.skipped(&strategy) {
            ui::warn(&skipped.to_string());
        }
        let version = options.version.as_deref().map(str::trim).filter(|version| !version.is_empty());
        let version = version.or_else(|| environment.get(&settings::IMAGE_VERSION)).map(str::to_owned);
        // One that is wrong for all is wrong once.
        if version.is_some() {
            tags::plan(&strategy, &facts, version.as_deref()).map_err(|error| Failure::new(error.to_string()))?;
        }
        Ok(Self::Strategy { strategy, facts, version })
    }
}

/// An image that can be sent.
pub struct Prepared {
    /// What it is called in messages.
    pub shown: String,
    /// Its name as the build, or the caller, gave it.
    pub name: String,
    /// The machine it was built for.
    pub machine: Option<String>,
    /// Its repository.
    pub repository: RepositoryName,
    /// It was asked for by its path.
    pub named: bool,
    /// When it was written.
    pub built: std::time::SystemTime,
    /// Where it was built to.
    pub path: PathBuf,
    /// Where its content is.
    pub layout: Layout,
    /// What goes with the layout once it was pushed.
    _temporary: Option<Temporary>,
    /// What it is.
    pub tree: Tree,
    /// What is to stand under which tag.
    pub tags: Vec<(Tag, Offer)>,
}

impl Prepared {
    /// Its name with its platforms.
    pub fn described(&self) -> String {
        let platforms: Vec<_> = self.tree.offer().entries.iter().filter_map(|entry| entry.descriptor.platform.as_ref()).collect();
        match platforms.as_slice() {
            [] => self.shown.clone(),
            platforms => {
                format!("{}, {}", self.shown, platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and "))
            }
        }
    }
}

/// Reads a layout, and works out its tags.
pub async fn prepare(
    settings: &Settings,
    tagging: &Tagging,
    candidate: Candidate,
    recompress: Option<Compression>,
) -> Result<Prepared, Failure> {
    let shown = candidate.shown();
    let about = |failure: Failure| failure.about(&format!("{shown} cannot be pushed"));
    let mut layout = Layout::open(&candidate.path).map_err(|error| about(Failure::of(&error)))?;
    let mut temporary = None;
    if let Some(compression) = recompress {
        let Recompressed { layout: other, folder } =
            recompress::recompress(&layout, candidate.pick.as_ref(), compression).map_err(about)?;
        (layout, temporary) = (other, Some(folder));
    }
    let tree = read(&layout, candidate.pick.as_ref()).await.map_err(about)?;
    // What cannot succeed is told before anything is sent.
    for blob in &tree.blobs {
        layout.place(blob).map_err(|error| about(Failure::of(&error)))?;
    }
    let tags = tags(settings, tagging, &shown, &tree).map_err(about)?;
    let Candidate { repository, name, machine, path, named, built, .. } = candidate;
    Ok(Prepared { shown, name, machine, repository, named, built, path, layout, _temporary: temporary, tree, tags })
}

/// The one image that is meant, or an index of all.
async fn read(layout: &Layout, pick: Option<&Pick>) -> Result<Tree, Failure> {
    let failed = |error| remote::failure(&error);
    let path = layout.path().display();
    let mut meant: Vec<&NamedImage> = Vec::new();
    for image in layout.images().iter().filter(|image| pick.is_none_or(|pick| pick.is(image))) {
        if !meant.iter().any(|known| known.descriptor.digest == image.descriptor.digest) {
            meant.push(image);
        }
    }
    match meant.as_slice() {
        [] => return Err(layout_path::nothing(layout.path(), pick, layout.images())),
        [one] => return Tree::read(layout, &one.descriptor).await.map_err(failed),
        _ => {}
    }
    let mut entries: Vec<Descriptor> = Vec::new();
    for image in &meant {
        let tree = Tree::read(layout, &image.descriptor).await.map_err(failed)?;
        let parts: Vec<_> = match tree.offer().entries.as_slice() {
            // What is said of it where it is listed says what it is: an attestation, a signature.
            [] => vec![Descriptor { annotations: without_name(&image.descriptor), ..tree.root.descriptor.clone() }],
            parts => parts.iter().flat_map(|part| std::iter::once(&part.descriptor).chain(&part.attestations)).cloned().collect(),
        };
        for part in parts {
            let same = |known: &&Descriptor| match (&known.platform, &part.platform) {
                (Some(known), Some(part)) => known.same_as(part) && !part.is_unknown(),
                _ => false,
            };
            match entries.iter().find(same) {
                Some(known) if known.digest == part.digest => {}
                Some(_) => {
                    let platform = part.platform.as_ref().map(ToString::to_string).unwrap_or_default();
                    return Err(Failure::new(format!("{path} holds several images for {platform}: {}", listed(&meant)))
                        .hint(format!("{} picks one of them", layout_path::way_to_pick(layout.path(), layout.images()))));
                }
                None => entries.push(part),
            }
        }
    }
    Tree::of_index(layout, &ImageIndex::new(entries)).await.map_err(failed)
}

/// The names of images, and the digests of those that have none.
fn listed(images: &[&NamedImage]) -> String {
    let named = |image: &&NamedImage| image.name.clone().unwrap_or_else(|| image.descriptor.digest.to_string());
    images.iter().map(named).collect::<Vec<_>>().join(", ")
}

/// The annotations of an entry of a layout, without the name that it has there.
fn without_name(descriptor: &Descriptor) -> Option<BTreeMap<String, String>> {
    let mut annotations = descriptor.annotations.clone()?;
    annotations.remove(REF_NAME);
    (!annotations.is_empty()).then_some(annotations)
}

fn tags(settings: &Settings, tagging: &Tagging, shown: &str, tree: &Tree) -> Result<Vec<(Tag, Offer)>, Failure> {
    let everything = |tags: &[Tag]| tags.iter().map(|tag| (tag.clone(), tree.offer().clone())).collect::<Vec<_>>();
    let (strategy, facts, version) = match tagging {
        Tagging::Given(tags) => return Ok(everything(tags)),
        Tagging::Strategy { strategy, facts, version } => (strategy, facts, version.as_deref().or(tree.label(VERSION))),
    };
    let plan = tags::plan(strategy, facts, version).map_err(|error| Failure::new(error.to_string()))?;
    let mut tags = everything(&plan.tags);
    if !plan.with_architecture {
        return Ok(tags);
    }
    let target = settings.environment.get(&settings::TARGET_ARCH);
    if tree.offer().entries.is_empty() {
        ui::warn(&format!("{shown} names no architecture, so it gets no tags with one"));
    }
    for entry in &tree.offer().entries {
        let (Some(platform), Some(whole)) = (&entry.descriptor.platform, tree.manifest(&entry.descriptor.digest)) else {
            continue;
        };
        let named =
            plan.arch_tags(build_name(&platform.architecture, target)).map_err(|error| Failure::new(error.to_string()))?;
        let offer = Offer { whole: whole.clone(), entries: vec![entry.clone()], is_joined: false };
        for tag in named {
            // Two variants of one architecture share its name, and then the tag.
            match tags.iter_mut().find(|(known, _)| *known == tag) {
                Some((_, known)) => {
                    if let Some(both) = Offer::join(vec![known.clone(), offer.clone()]) {
                        *known = both;
                    }
                }
                None => tags.push((tag, offer.clone())),
            }
        }
    }
    Ok(tags)
}
