//! What an update costs, by the lists of pieces that layers carry.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use futures_util::StreamExt;
use wharf_client::{ClientError, Source};
use wharf_layers::piece::{ListPlace, PieceMap};
use wharf_layers::update::{LayerPieces, Update};
use wharf_oci::{Descriptor, Digest};

use super::image::{Image, Side};
use crate::remote;
use crate::ui::{self, Failure};

/// Lists of pieces, by the digests of the layers that carry them.
type Maps = HashMap<Digest, PieceMap>;

/// The cost, and whether any of the new layers tells its pieces.
pub async fn update(before: (&Side<'_>, &Image), after: (&Side<'_>, &Image)) -> Result<(Update, bool), Failure> {
    let (old, new) = (&before.1.manifest.layers, &after.1.manifest.layers);
    let had: HashSet<_> = old.iter().map(|layer| layer.digest).collect();
    let lacking = new.iter().filter(|layer| !had.contains(&layer.digest));
    let new_maps = maps(&*after.0.picture.source(), lacking).await?;
    let is_told = !new_maps.is_empty();
    // Pieces of the older layers count only for who looks for some in them.
    let old_maps = if is_told { maps(&*before.0.picture.source(), old.iter()).await? } else { Maps::new() };
    Ok((Update::of(&told(old, &old_maps), &told(new, &new_maps)), is_told))
}

fn told<'a>(layers: &[Descriptor], maps: &'a Maps) -> Vec<LayerPieces<'a>> {
    let of = |layer: &Descriptor| LayerPieces { digest: layer.digest, size: layer.size, pieces: maps.get(&layer.digest) };
    layers.iter().map(of).collect()
}

async fn maps(source: &dyn Source, layers: impl Iterator<Item = &Descriptor>) -> Result<Maps, Failure> {
    let mut maps = Maps::new();
    for layer in layers {
        let Some(place) = ListPlace::of(layer) else { continue };
        let bytes = section(source, layer, place.range()).await.map_err(|error| remote::failure(&error))?;
        match PieceMap::parse(&place, &bytes, layer.size) {
            Ok(map) => _ = maps.insert(layer.digest, map),
            // A list is a help and no more: without it the layer counts as one that has none.
            Err(error) => ui::warn(&format!("the pieces of the layer {} are not known: {error}", layer.digest)),
        }
    }
    Ok(maps)
}

/// Some bytes of a layer; fewer when it ends before them.
pub async fn section(source: &dyn Source, layer: &Descriptor, range: Range<u64>) -> Result<Vec<u8>, ClientError> {
    let mut left = range.end.saturating_sub(range.start);
    let mut bytes = Vec::new();
    let mut chunks = source.blob(layer, range.start).await?;
    while left > 0 {
        let Some(chunk) = chunks.next().await else { break };
        let chunk = chunk?;
        let length = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        bytes.extend_from_slice(&chunk[..length]);
        left -= length as u64;
    }
    Ok(bytes)
}
