//! Where a layer tells its pieces.

use std::ops::Range;

use wharf_oci::Descriptor;

use super::{PieceMap, list};
use crate::annotation;
use crate::toc::TocPlace;
use crate::{LayersError, toc};

/// Bytes of a list of pieces at most: with pieces as large as they are cut, that is a layer of tens of gigabytes. It is read into memory.
const MAX_LIST: u64 = 8 << 20;

/// Where in a layer its pieces are told, according to its descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListPlace(Form);

/// What tells them.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    /// A list of the kind that is written here.
    List(Range<u64>),
    /// The table of contents of a zstd:chunked layer.
    Toc(TocPlace),
}

impl ListPlace {
    /// Where the pieces of this layer are told: by the list that our own layers carry, else by the table of contents of zstd:chunked.
    /// None when it has neither, or says something impossible of it.
    pub fn of(layer: &Descriptor) -> Option<Self> {
        Self::of_list(layer).or_else(|| TocPlace::of(layer).map(|place| Self(Form::Toc(place))))
    }

    /// The same, when that is worth reading: where the list is most of a layer it is fetched whole.
    pub fn worth_reading(layer: &Descriptor) -> Option<Self> {
        let length = |place: &Self| place.range().end - place.range().start;
        Self::of(layer).filter(|place| length(place) <= MAX_LIST && length(place) < layer.size / 2)
    }

    fn of_list(layer: &Descriptor) -> Option<Self> {
        let (offset, length) = layer.annotation(annotation::PIECES)?.split_once(':')?;
        let (offset, length) = (offset.parse::<u64>().ok()?, length.parse::<u64>().ok()?);
        let end = offset.checked_add(length).filter(|end| *end <= layer.size)?;
        // What carries a list makes it longer by less than a thousandth.
        (length > 0 && length <= list::MAX as u64 + (64 << 10)).then_some(Self(Form::List(offset..end)))
    }

    /// The bytes of the layer that [`PieceMap::parse`] wants: not empty, inside the layer, less than 65 MiB.
    pub fn range(&self) -> Range<u64> {
        match &self.0 {
            Form::List(range) => range.clone(),
            Form::Toc(place) => place.range(),
        }
    }
}

impl PieceMap {
    /// Reads what lies at a place in a layer of `size` bytes. All pieces are inside the layer, in order and without overlap, whatever the
    /// bytes say; bytes that say otherwise are refused.
    pub fn parse(place: &ListPlace, bytes: &[u8], size: u64) -> Result<Self, LayersError> {
        match &place.0 {
            Form::List(range) => list::parse(bytes, range.start.min(size)),
            Form::Toc(toc) => toc::pieces(toc, bytes, size),
        }
    }
}
