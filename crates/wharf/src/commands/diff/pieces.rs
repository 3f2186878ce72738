//! What an update costs who has all layers of the older image and wants those of the newer one, planned as `pull` plans it.

use std::collections::HashSet;
use std::ops::Range;

use futures_util::StreamExt;
use wharf_client::{ClientError, bytes_asked};
use wharf_layers::assemble::{Assembly, MAX_OLDER, remote_of};
use wharf_layers::piece::{ListPlace, PieceMap};
use wharf_oci::Descriptor;

use super::image::{Image, Side};
use crate::picture::Picture;
use crate::remote;
use crate::ui::{self, Failure};

/// What it costs, in bytes of layers.
#[derive(Debug, Default)]
pub struct Update {
    /// Layers that both have.
    pub shared: usize,
    /// Bytes of these.
    pub shared_bytes: u64,
    /// Layers that the older one lacks.
    pub new: usize,
    /// Bytes of these: what a client fetches that takes layers only whole.
    pub new_bytes: u64,
    /// Bytes that `pull` fetches of these; none when no new layer tells its pieces.
    pub piece_bytes: Option<u64>,
}

impl Update {
    /// From one image to another. A layer that comes several times counts once.
    pub async fn of(before: (&Side<'_>, &Image), after: (&Side<'_>, &Image)) -> Result<Self, Failure> {
        let old = &before.1.manifest.layers;
        let had: HashSet<_> = old.iter().map(|layer| layer.digest).collect();
        let (mut update, mut seen, mut lacking) = (Self::default(), HashSet::new(), Vec::new());
        for layer in after.1.manifest.layers.iter().filter(|layer| seen.insert(layer.digest)) {
            let (count, bytes) = match had.contains(&layer.digest) {
                true => (&mut update.shared, &mut update.shared_bytes),
                false => {
                    lacking.push((layer, ListPlace::worth_reading(layer)));
                    (&mut update.new, &mut update.new_bytes)
                }
            };
            *count += 1;
            *bytes = bytes.saturating_add(layer.size);
        }
        if lacking.iter().any(|(_, place)| place.is_some()) {
            update.piece_bytes = Some(fetched((before.0.picture, old), (after.0.picture, lacking)).await?);
        }
        Ok(update)
    }
}

/// Bytes that are fetched of new layers by who has the old ones.
async fn fetched(
    (before, old): (&Picture, &[Descriptor]),
    (after, new): (&Picture, Vec<(&Descriptor, Option<ListPlace>)>),
) -> Result<u64, Failure> {
    let older = old.iter().filter_map(|layer| Some((layer, ListPlace::worth_reading(layer)?)));
    let older: Vec<_> = older.take(MAX_OLDER).collect();
    let (mut bytes, mut plans) = (0_u64, Vec::new());
    for (layer, place) in new {
        match place.filter(|_| !older.is_empty()) {
            Some(place) => {
                let pieces = pieces(after, layer, &place).await?.unwrap_or_default();
                plans.push((Assembly::new(&pieces, layer.size), place.range()));
            }
            None => bytes = bytes.saturating_add(layer.size),
        }
    }
    for (layer, place) in older {
        if plans.iter().all(|(assembly, _)| assembly.is_complete()) {
            break;
        }
        if let Some(pieces) = pieces(before, layer, &place).await? {
            plans.iter_mut().for_each(|(assembly, _)| assembly.look_in((), &pieces));
        }
    }
    for (assembly, list) in plans {
        // The list itself is fetched first, and is then there.
        let plan = assembly.plan(Some(((), list.clone())));
        bytes = bytes.saturating_add(bytes_asked([list])).saturating_add(bytes_asked(remote_of(&plan)));
    }
    Ok(bytes)
}

async fn pieces(picture: &Picture, layer: &Descriptor, place: &ListPlace) -> Result<Option<PieceMap>, Failure> {
    let bytes = section(picture, layer, place.range()).await.map_err(|error| remote::failure(&error))?;
    let pieces = PieceMap::parse(place, &bytes, layer.size);
    // A list is a help and no more: without it the layer counts as one that has none.
    let unknown = |error: &_| ui::warn(&format!("the pieces of the layer {} are not known: {error}", layer.digest));
    Ok(pieces.inspect_err(unknown).ok())
}

/// Some bytes of a layer; fewer when they are not all in it.
pub async fn section(picture: &Picture, layer: &Descriptor, range: Range<u64>) -> Result<Vec<u8>, ClientError> {
    let mut bytes = Vec::new();
    if let Some((registry, repository)) = picture.repository() {
        let mut ranges = registry.ranges(repository, layer, [range]);
        while let Some((_, piece)) = ranges.next().await? {
            bytes.extend_from_slice(&piece);
        }
        return Ok(bytes);
    }
    let mut left = range.end.saturating_sub(range.start);
    let mut chunks = picture.source().blob(layer, range.start).await?;
    while left > 0 {
        let Some(chunk) = chunks.next().await else { break };
        let chunk = chunk?;
        let length = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        bytes.extend_from_slice(&chunk[..length]);
        left -= length as u64;
    }
    Ok(bytes)
}
