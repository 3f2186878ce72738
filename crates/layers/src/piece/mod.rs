//! The pieces that a layer is made of, as its own list tells them.
//!
//! A layer that was cut carries a list of its pieces: how long each is in the compressed layer, and what tells it from others. Who has an
//! older version of a layer reads the list of the newer one with a single range request, copies the pieces that both have, and fetches
//! the rest. The list is only ever believed for this: a layer put together from pieces counts once its whole digest is right.

mod list;
mod place;

pub(crate) use list::ListBuilder;
pub use place::ListPlace;

/// What tells a piece from other pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// The first eight bytes of the SHA-256 of the piece as it is stored, compressed. Too short to withstand an attacker, who only gains
    /// that the layer is fetched whole after all.
    Stored([u8; 8]),
    /// SHA-256 of what the piece decompresses to. Another encoder may have stored the same content otherwise.
    Content([u8; 32]),
}

/// A piece of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where it begins in the compressed layer, in bytes.
    pub offset: u64,
    /// Bytes in the compressed layer, at least one.
    pub length: u64,
    /// What it is.
    pub identity: Identity,
}

/// The pieces of a layer: ascending, without overlap, inside the layer. What lies between them is known to nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PieceMap {
    pieces: Vec<Piece>,
}

impl PieceMap {
    /// Pieces in the order in which they lie in the layer.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Pieces that are known to be in order, without overlap and inside the layer.
    pub(crate) fn of(pieces: Vec<Piece>) -> Self {
        Self { pieces }
    }
}
