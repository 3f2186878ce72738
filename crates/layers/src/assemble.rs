//! How a layer is put together from pieces of others, and from what must be fetched.

use std::collections::HashMap;
use std::ops::Range;

use crate::piece::{Identity, PieceMap};

/// Pieces of a layer that are looked for at most; the rest is fetched. No layer that is worth it has as many, and memory stays bounded.
const MAX_PIECES: usize = 400_000;

/// Older layers that are looked through for one new layer, at most.
pub const MAX_OLDER: usize = 64;

/// Some bytes of a layer, and where they are to be had. What they are is for the whole layer's digest to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<Id> {
    /// In something that is at hand.
    Local {
        /// What that is.
        id: Id,
        /// Where in it they begin.
        offset: u64,
        /// How many they are.
        length: u64,
    },
    /// In the layer itself, wherever that comes from.
    Remote {
        /// Where in the layer they begin.
        offset: u64,
        /// How many they are.
        length: u64,
    },
}

impl<Id> Part<Id> {
    /// How many bytes it has.
    pub fn length(&self) -> u64 {
        match self {
            Self::Local { length, .. } | Self::Remote { length, .. } => *length,
        }
    }
}

/// A piece of the layer.
#[derive(Debug)]
struct Wanted<Id> {
    /// Where in the layer it is.
    range: Range<u64>,
    /// What it was found in, and where in that.
    found: Option<(Id, u64)>,
}

/// Looks in older layers for the pieces of a newer one.
#[derive(Debug)]
pub struct Assembly<Id> {
    size: u64,
    /// The pieces, in order.
    wanted: Vec<Wanted<Id>>,
    /// By what a piece is and its length: the first of those that are wanted, and for each of them the next one that is the same.
    first: HashMap<(Identity, u64), usize>,
    next: Vec<Option<usize>>,
}

impl<Id: Copy + PartialEq> Assembly<Id> {
    /// A layer of `size` bytes with these pieces, of which nothing was found yet.
    pub fn new(layer: &PieceMap, size: u64) -> Self {
        let pieces = || layer.pieces().iter().take(MAX_PIECES).filter(|piece| piece.offset + piece.length <= size);
        let mut first = HashMap::with_capacity(pieces().count());
        let mut next = Vec::with_capacity(pieces().count());
        for (index, piece) in pieces().enumerate() {
            next.push(first.insert((piece.identity, piece.length), index));
        }
        let wanted = pieces().map(|piece| Wanted { range: piece.offset..piece.offset + piece.length, found: None }).collect();
        Self { size, wanted, first, next }
    }

    /// Takes from an older layer what was not found before.
    pub fn look_in(&mut self, id: Id, older: &PieceMap) {
        for piece in older.pieces() {
            // Each kind of piece is found once, and is then not looked for any more.
            let mut place = self.first.remove(&(piece.identity, piece.length));
            while let Some(index) = place {
                self.wanted[index].found = Some((id, piece.offset));
                place = self.next[index];
            }
        }
    }

    /// Whether every piece was found.
    pub fn is_complete(&self) -> bool {
        self.first.is_empty()
    }

    /// Where all bytes of the layer are to be had, in order. `known` is a range of the layer that is at hand in any case, and what holds it
    /// from its start on: it takes the place of what would be fetched.
    pub fn plan(self, known: Option<(Id, Range<u64>)>) -> Vec<Part<Id>> {
        let mut parts = Parts { parts: Vec::new(), known };
        let mut at = 0;
        for Wanted { range, found } in self.wanted {
            parts.fetch(at..range.start);
            at = range.end;
            match found {
                Some((id, offset)) => parts.push(Part::Local { id, offset, length: range.end - range.start }),
                None => parts.fetch(range),
            }
        }
        parts.fetch(at..self.size);
        parts.parts
    }
}

/// What is left of a plan once the first `done` bytes of the layer are there.
pub fn rest_of<Id: Copy>(plan: &[Part<Id>], done: u64) -> Vec<Part<Id>> {
    let mut at = 0;
    let mut rest = Vec::new();
    for part in plan {
        let end = at + part.length();
        // How much of this part is there.
        let cut = done.clamp(at, end) - at;
        at = end;
        if cut == part.length() {
            continue;
        }
        rest.push(match *part {
            Part::Local { id, offset, length } => Part::Local { id, offset: offset + cut, length: length - cut },
            Part::Remote { offset, length } => Part::Remote { offset: offset + cut, length: length - cut },
        });
    }
    rest
}

/// The ranges of the layer that a plan fetches, in order.
pub fn remote_of<Id>(plan: &[Part<Id>]) -> impl Iterator<Item = Range<u64>> {
    plan.iter().filter_map(|part| match part {
        Part::Local { .. } => None,
        Part::Remote { offset, length } => Some(*offset..offset + length),
    })
}

struct Parts<Id> {
    parts: Vec<Part<Id>>,
    known: Option<(Id, Range<u64>)>,
}

impl<Id: Copy + PartialEq> Parts<Id> {
    /// Adds what is to be fetched, apart from what is known.
    fn fetch(&mut self, range: Range<u64>) {
        let Some((id, known)) = self.known.clone() else { return self.remote(range) };
        let start = known.start.clamp(range.start, range.end);
        let end = known.end.clamp(start, range.end);
        self.remote(range.start..start);
        if start < end {
            self.push(Part::Local { id, offset: start - known.start, length: end - start });
        }
        self.remote(end..range.end);
    }

    fn remote(&mut self, range: Range<u64>) {
        if !range.is_empty() {
            self.push(Part::Remote { offset: range.start, length: range.end - range.start });
        }
    }

    /// Adds a part, to the last one where they are one.
    fn push(&mut self, part: Part<Id>) {
        match (self.parts.last_mut(), &part) {
            (Some(Part::Remote { length, .. }), Part::Remote { length: more, .. }) => *length += more,
            (Some(Part::Local { id, offset, length }), Part::Local { id: same, offset: next, length: more })
                if id == same && *offset + *length == *next =>
            {
                *length += more;
            }
            _ => self.parts.push(part),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::piece::Piece;
    use proptest::prelude::*;

    /// Pieces of these kinds, each as long as its kind says, with gaps between them.
    fn map(kinds: &[(u8, u64)]) -> (PieceMap, Vec<u8>) {
        let (mut pieces, mut bytes) = (Vec::new(), Vec::new());
        for (kind, gap) in kinds {
            bytes.extend((0..*gap).map(|_| 255));
            let length = u64::from(*kind % 5) + 1;
            pieces.push(Piece { offset: bytes.len() as u64, length, identity: Identity::Stored([*kind; 8]) });
            bytes.extend((0..length).map(|_| *kind));
        }
        (PieceMap::of(pieces), bytes)
    }

    fn plan(new: &(PieceMap, Vec<u8>), old: &[(PieceMap, Vec<u8>)], known: Option<(usize, Range<u64>)>) -> Vec<Part<usize>> {
        let mut assembly = Assembly::new(&new.0, new.1.len() as u64);
        for (id, (map, _)) in old.iter().enumerate() {
            assembly.look_in(id, map);
        }
        assembly.plan(known)
    }

    #[test]
    fn what_is_there_is_taken_and_the_rest_fetched() {
        let new = map(&[(1, 0), (2, 0), (3, 0), (9, 4), (2, 0)]);
        let old = [map(&[(1, 3), (2, 0)]), map(&[(3, 1), (2, 0)])];
        assert_eq!(
            plan(&new, &old, None),
            [
                Part::Local { id: 0, offset: 3, length: 5 },
                Part::Local { id: 1, offset: 1, length: 4 },
                Part::Remote { offset: 9, length: 9 },
                Part::Local { id: 0, offset: 5, length: 3 },
            ]
        );
        let mut assembly = Assembly::new(&new.0, new.1.len() as u64);
        assembly.look_in(0, &old[0].0);
        assert!(!assembly.is_complete());
        assembly.look_in(0, &new.0);
        assert!(assembly.is_complete());
    }

    #[test]
    fn a_piece_of_another_length_is_another_piece() {
        let piece = |length| PieceMap::of(vec![Piece { offset: 0, length, identity: Identity::Content([7; 32]) }]);
        let mut assembly = Assembly::new(&piece(5), 5);
        assembly.look_in(0, &piece(4));
        assert_eq!(assembly.plan(None), [Part::Remote { offset: 0, length: 5 }]);
    }

    #[test]
    fn what_is_known_is_not_fetched() {
        let parts = plan(&map(&[(3, 2), (8, 0)]), &[], Some((9, 1..4)));
        assert_eq!(
            parts,
            [
                Part::Remote { offset: 0, length: 1 },
                Part::Local { id: 9, offset: 0, length: 3 },
                Part::Remote { offset: 4, length: 6 },
            ]
        );
    }

    proptest! {
        #[test]
        fn a_plan_makes_the_layer_and_what_is_left_of_it_the_rest(
            new in prop::collection::vec((0_u8..20, 0_u64..4), 0..30),
            old in prop::collection::vec(prop::collection::vec((0_u8..20, 0_u64..4), 0..20), 0..4),
            tail in 0_u64..5, known in 0_u64..40, known_length in 0_u64..40, done in 0_u64..200,
        ) {
            let (map_of_new, mut bytes) = map(&new);
            bytes.extend((0..tail).map(|_| 255));
            let old: Vec<_> = old.iter().map(|kinds| map(kinds)).collect();
            let size = bytes.len() as u64;
            let known = known.min(size)..(known + known_length).min(size);
            let at = |offset: u64, length: u64| usize::try_from(offset).unwrap()..usize::try_from(offset + length).unwrap();
            let beginning = bytes[at(known.start, known.end - known.start)].to_vec();
            let new = (map_of_new, bytes);
            let parts = plan(&new, &old, Some((old.len(), known)));
            let made = |parts: &[Part<usize>]| parts.iter().flat_map(|part| match *part {
                Part::Local { id, offset, length } => old.get(id).map_or(&beginning, |(_, bytes)| bytes)[at(offset, length)].to_vec(),
                Part::Remote { offset, length } => new.1[at(offset, length)].to_vec(),
            }).collect::<Vec<_>>();
            prop_assert!(parts.iter().all(|part| part.length() > 0));
            prop_assert_eq!(&made(&parts), &new.1);
            let done = done.min(size);
            prop_assert_eq!(made(&rest_of(&parts, done)), &new.1[usize::try_from(done).unwrap()..]);
            // What an old layer has is not fetched.
            let remote: Vec<_> = remote_of(&parts).collect();
            prop_assert!(remote.windows(2).all(|pair| pair[0].end < pair[1].start));
            for piece in new.0.pieces() {
                let is_old = old.iter().any(|(map, _)| map.pieces().iter().any(|other| other.identity == piece.identity));
                let is_fetched = remote.iter().any(|range| range.start < piece.offset + piece.length && piece.offset < range.end);
                prop_assert!(!(is_old && is_fetched));
            }
        }
    }
}
