//! What an update from one image to another costs, in bytes.

use std::collections::HashSet;

use wharf_oci::Digest;

use crate::piece::{Identity, PieceMap};

/// A layer and what is known of its pieces.
#[derive(Clone, Copy, Debug)]
pub struct LayerPieces<'a> {
    /// Digest of the layer as it is stored.
    pub digest: Digest,
    /// Bytes of it.
    pub size: u64,
    /// Its pieces, if it tells them.
    pub pieces: Option<&'a PieceMap>,
}

/// What an update costs who has all layers of the older image and wants those of the newer one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// Layers that both have.
    pub shared: usize,
    /// Bytes of these.
    pub shared_bytes: u64,
    /// Layers that the older one lacks.
    pub new: usize,
    /// Bytes of these: what a client fetches that takes layers only whole.
    pub new_bytes: u64,
    /// Bytes of the pieces of these that no layer of the older image has, and of whatever of them is in no known piece: what a client
    /// fetches that takes pieces.
    pub piece_bytes: u64,
}

impl Update {
    /// Of the layers of two images. A layer that comes several times counts once.
    pub fn of(older: &[LayerPieces<'_>], newer: &[LayerPieces<'_>]) -> Self {
        let had: HashSet<Digest> = older.iter().map(|layer| layer.digest).collect();
        let pieces = older.iter().filter_map(|layer| layer.pieces).flat_map(PieceMap::pieces);
        let mut pieces: HashSet<(Identity, u64)> = pieces.map(|piece| (piece.identity, piece.length)).collect();
        let mut seen = HashSet::new();
        let mut update = Self::default();
        for layer in newer.iter().filter(|layer| seen.insert(layer.digest)) {
            if had.contains(&layer.digest) {
                update.shared += 1;
                update.shared_bytes = update.shared_bytes.saturating_add(layer.size);
                continue;
            }
            update.new += 1;
            update.new_bytes = update.new_bytes.saturating_add(layer.size);
            // What was fetched once is there for the pieces that follow.
            let is_had = |piece: &&crate::piece::Piece| !pieces.insert((piece.identity, piece.length));
            let saved: u64 = layer.pieces.map_or(0, |map| map.pieces().iter().filter(is_had).map(|piece| piece.length).sum());
            update.piece_bytes = update.piece_bytes.saturating_add(layer.size.saturating_sub(saved));
        }
        update
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::piece::Piece;

    fn digest(number: u8) -> Digest {
        Digest::sha256(&[number])
    }

    /// Pieces of these lengths, each with a letter that tells what it is, after a gap of 3 bytes.
    fn map(pieces: &[(u8, u64)]) -> PieceMap {
        let mut offset = 3;
        let piece = |(letter, length): &(u8, u64)| {
            offset += length;
            Piece { offset: offset - length, length: *length, identity: Identity::Stored([*letter; 8]) }
        };
        PieceMap::of(pieces.iter().map(piece).collect())
    }

    #[test]
    fn an_update_costs_what_is_in_no_known_piece() {
        let base = LayerPieces { digest: digest(0), size: 1000, pieces: None };
        let (old, new) =
            (map(&[(b'a', 10), (b'b', 20), (b'c', 30)]), map(&[(b'a', 10), (b'x', 25), (b'c', 30), (b'b', 21), (b'x', 25)]));
        let before = [base, LayerPieces { digest: digest(1), size: 70, pieces: Some(&old) }];
        let layer = LayerPieces { digest: digest(2), size: 120, pieces: Some(&new) };
        let whole = LayerPieces { digest: digest(3), size: 500, pieces: None };
        let update = Update::of(&before, &[base, layer, whole, whole]);
        // Of the layer: 40 bytes are had, x counts once, b has another length, and 9 bytes are in no piece.
        let piece_bytes = 500 + 120 - 40 - 25;
        assert_eq!(update, Update { shared: 1, shared_bytes: 1000, new: 2, new_bytes: 620, piece_bytes });
        assert_eq!(Update::of(&before, &before).piece_bytes, 0);
        let uncut = Update::of(&[base], &[LayerPieces { pieces: None, ..layer }]);
        assert_eq!((uncut.piece_bytes, uncut.new_bytes), (120, 120));
    }
}
