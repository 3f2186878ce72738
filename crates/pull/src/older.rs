//! Layers that the layout has, as far as they tell their pieces: what newer ones can be put together from.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use bytes::Bytes;
use wharf_layers::assemble::{Assembly, Part};
use wharf_layers::piece::{ListPlace, PieceMap};
use wharf_oci::{Descriptor, Layout};

use crate::build::Origin;
use crate::older_layers;

/// A layer of the layout.
#[derive(Clone, Debug)]
struct Older {
    path: PathBuf,
    size: u64,
    list: ListPlace,
}

/// The layers of all images that a layout lists.
#[derive(Clone, Debug, Default)]
pub struct OlderLayers(Vec<Older>);

impl OlderLayers {
    /// Finds them, those of the image called `name` first.
    pub fn of(layout: &Layout, name: Option<&str>) -> Self {
        let layers = older_layers::of(
            layout,
            |image| name.is_some() && image.name.as_deref() == name,
            |layer| ListPlace::worth_reading(layer).is_some(),
        );
        Self(layers.iter().filter_map(|layer| older(layout, layer)).collect())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How a layer is put together, given the bytes that tell its pieces; those bytes are not fetched again.
    pub fn plan(&self, layer: &Descriptor, place: &ListPlace, list: Bytes) -> (Vec<Part<usize>>, Vec<Origin>) {
        // A list that does not read leaves a layer of unknown pieces.
        let pieces = PieceMap::parse(place, &list, layer.size).unwrap_or_default();
        let mut assembly = Assembly::new(&pieces, layer.size);
        drop(pieces);
        let mut origins = Vec::new();
        for older in &self.0 {
            if assembly.is_complete() {
                break;
            }
            if let Some(pieces) = older.pieces() {
                assembly.look_in(origins.len(), &pieces);
                origins.push(Origin::File(older.path.clone()));
            }
        }
        let known = (origins.len(), place.range());
        origins.push(Origin::Memory(list));
        (assembly.plan(Some(known)), origins)
    }
}

impl Older {
    fn pieces(&self) -> Option<PieceMap> {
        let range = self.list.range();
        let mut bytes = vec![0; usize::try_from(range.end - range.start).ok()?];
        File::open(&self.path).ok()?.read_exact_at(&mut bytes, range.start).ok()?;
        PieceMap::parse(&self.list, &bytes, self.size).ok()
    }
}

fn older(layout: &Layout, layer: &Descriptor) -> Option<Older> {
    let list = ListPlace::worth_reading(layer)?;
    let place = layout.place(layer).ok()?;
    Some(Older { path: place.path, size: layer.size, list })
}
