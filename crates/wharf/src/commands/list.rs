//! `list`.

use std::process::ExitCode;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt};
use serde_json::{Value, json};
use wharf_client::{ClientError, Registry, RepositorySource, Tree};
use wharf_oci::{Descriptor, Reference, RepositoryName};

use crate::cli::List;
use crate::remote;
use crate::settings::Settings;
use crate::ui::{self, Failure};
use wharf_terminal::progress::Progress;

/// Questions asked at once.
const AT_ONCE: usize = 16;

/// An image with its tags.
struct Image {
    repository: RepositoryName,
    tags: Vec<Tagged>,
}

struct Tagged {
    tag: String,
    /// What is behind it, when that was asked for.
    facts: Option<Facts>,
}

/// What a tag leads to.
struct Facts {
    descriptor: Descriptor,
    /// Where the registry has it from, when nobody pushed it.
    origin: Option<String>,
    /// `None` for what is no image.
    image: Option<ImageFacts>,
}

struct ImageFacts {
    /// Bytes of everything, as it is stored and sent.
    size: u64,
    platforms: Vec<String>,
    created: Option<String>,
}

/// Lists every image with its tags.
pub fn run(settings: &Settings, options: &List) -> Result<ExitCode, Failure> {
    let images = remote::run(async {
        let registry = remote::open(settings, &options.auth, Arc::new(Progress::new())).await?;
        // What is listed is what is there: nothing is fetched for it.
        let registry = registry.stored_only();
        images(&registry, options.long).await.map_err(|error| remote::failure(&error))
    })?;
    if options.json {
        ui::print_json(&Value::Array(images.iter().map(as_json).collect()))?;
    } else if images.iter().all(|image| image.tags.is_empty()) {
        ui::print("(none)\n")?;
    } else if options.long {
        ui::print(table(&images))?;
    } else {
        let line = |image: &Image| {
            let tags: Vec<_> = image.tags.iter().map(|tagged| tagged.tag.as_str()).collect();
            format!("{}: {}\n", image.repository, tags.join(" "))
        };
        ui::print(images.iter().filter(|image| !image.tags.is_empty()).map(line).collect::<String>())?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn images(registry: &Registry, long: bool) -> Result<Vec<Image>, ClientError> {
    let names = registry.catalog().await?;
    // A name that this program could not ask for is nobody's here.
    let repositories = names.iter().filter_map(|name| name.parse::<RepositoryName>().ok());
    let found = futures_util::stream::iter(repositories).map(|repository| async {
        // One that was deleted meanwhile has none.
        let tags = registry.tags(&repository).await?.unwrap_or_default();
        let tags = tags.into_iter().map(|tag| Tagged { tag, facts: None }).collect();
        Ok::<_, ClientError>(Image { repository, tags })
    });
    let mut images: Vec<_> = found.buffered(AT_ONCE).try_collect().await?;
    if long {
        for image in &mut images {
            let Image { repository, tags } = image;
            let repository = &*repository;
            let looked = std::mem::take(tags).into_iter().map(|tagged| async move {
                let facts = facts(registry, repository, &tagged.tag).await?;
                Ok::<_, ClientError>(Tagged { facts, ..tagged })
            });
            *tags = futures_util::stream::iter(looked).buffered(AT_ONCE).try_collect().await?;
        }
    }
    Ok(images)
}

async fn facts(registry: &Registry, repository: &RepositoryName, tag: &str) -> Result<Option<Facts>, ClientError> {
    let Ok(tag) = tag.parse() else { return Ok(None) };
    let Some(found) = registry.manifest(repository, &Reference::Tag(tag)).await? else { return Ok(None) };
    let descriptor = Descriptor::new(&found.media_type, found.digest, found.bytes.len() as u64);
    let source = RepositorySource { registry, repository: repository.clone(), is_destination: false };
    let image = match Tree::of(&source, &found).await {
        Ok(tree) => Some(ImageFacts {
            size: tree.size(),
            platforms: tree
                .offer()
                .entries
                .iter()
                .filter_map(|entry| entry.descriptor.platform.as_ref())
                .map(ToString::to_string)
                .collect(),
            created: tree.created().map(str::to_owned),
        }),
        // Not every manifest is an image.
        Err(ClientError::Document { .. } | ClientError::Excess(_) | ClientError::Protocol { .. }) => None,
        Err(error) => return Err(error),
    };
    Ok(Some(Facts { descriptor, origin: found.origin, image }))
}

fn as_json(image: &Image) -> Value {
    let tag = |tagged: &Tagged| match &tagged.facts {
        None => Value::String(tagged.tag.clone()),
        Some(facts) => json!({
            "tag": tagged.tag,
            "digest": facts.descriptor.digest.to_string(),
            "media_type": facts.descriptor.media_type,
            "size": facts.image.as_ref().map(|image| image.size),
            "platforms": facts.image.as_ref().map(|image| &image.platforms),
            "origin": facts.origin,
            "created": facts.image.as_ref().and_then(|image| image.created.as_deref()),
        }),
    };
    json!({ "name": image.repository.as_str(), "tags": image.tags.iter().map(tag).collect::<Vec<_>>() })
}

fn table(images: &[Image]) -> String {
    let tags = || images.iter().flat_map(|image| image.tags.iter().map(move |tagged| (image, tagged)));
    let origin = |tagged: &Tagged| tagged.facts.as_ref().and_then(|facts| facts.origin.clone());
    // Where nothing came from elsewhere, a column about that would say nothing.
    let from_elsewhere = tags().any(|(_, tagged)| origin(tagged).is_some());
    let head = ["IMAGE", "SIZE", "PLATFORMS", "CREATED"].into_iter().chain(from_elsewhere.then_some("ORIGIN")).chain(["DIGEST"]);
    let mut rows: Vec<Vec<String>> = vec![head.map(str::to_owned).collect()];
    for (image, tagged) in tags() {
        let none = || "-".to_owned();
        let facts = tagged.facts.as_ref();
        let inside = facts.and_then(|facts| facts.image.as_ref());
        let mut row = vec![
            format!("{}:{}", image.repository, tagged.tag),
            inside.map_or_else(none, |image| ui::size(image.size)),
            inside.filter(|image| !image.platforms.is_empty()).map_or_else(none, |image| image.platforms.join(",")),
            inside.and_then(|image| image.created.clone()).unwrap_or_else(none),
        ];
        row.extend(from_elsewhere.then(|| origin(tagged).unwrap_or_else(none)));
        row.push(facts.map_or_else(none, |facts| facts.descriptor.digest.to_string()));
        rows.push(row);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<_> = (0..rows[0].len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}
