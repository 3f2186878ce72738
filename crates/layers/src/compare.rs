//! What differs between the files of two images.

use crate::EntryPath;
use crate::listing::{File, FileKind, Listing};

/// What differs between two listings; everything in the order of the bytes of names.
#[derive(Debug, Default)]
pub struct Comparison<'a> {
    /// Files that only the second has.
    pub added: Vec<(&'a EntryPath, &'a File)>,
    /// Files that only the first has.
    pub removed: Vec<(&'a EntryPath, &'a File)>,
    /// Files that differ.
    pub altered: Vec<Altered<'a>>,
}

/// A file that both have and that differs.
#[derive(Debug)]
pub struct Altered<'a> {
    /// Its place.
    pub path: &'a EntryPath,
    /// As the first has it.
    pub before: &'a File,
    /// As the second has it.
    pub after: &'a File,
    /// In what it differs; never empty.
    pub aspects: Vec<Aspect>,
}

/// In what a file differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aspect {
    /// What it is. Its content, target or numbers then are not compared.
    Kind,
    /// The content of a regular file.
    Content,
    /// What a symbolic link says.
    Target,
    /// The numbers of a device.
    Device,
    /// The mode.
    Mode,
    /// Owner or group.
    Owner,
    /// Extended attributes.
    Xattrs,
    /// The time of the last change.
    Time,
}

impl Aspect {
    /// Its name in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kind => "kind",
            Self::Content => "content",
            Self::Target => "target",
            Self::Device => "device",
            Self::Mode => "mode",
            Self::Owner => "owner",
            Self::Xattrs => "xattrs",
            Self::Time => "time",
        }
    }
}

impl<'a> Comparison<'a> {
    /// Compares two listings. File times count only with `times`: a build may alter all of them and nothing else.
    pub fn of(before: &'a Listing, after: &'a Listing, times: bool) -> Self {
        let mut comparison = Self::default();
        let (mut olds, mut news) = (before.files().peekable(), after.files().peekable());
        loop {
            let order = match (olds.peek(), news.peek()) {
                (None, None) => return comparison,
                (Some((old, _)), Some((new, _))) => old.cmp(new),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
            };
            let old = if order.is_le() { olds.next() } else { None };
            let new = if order.is_ge() { news.next() } else { None };
            match (old, new) {
                (Some((path, before)), Some((_, after))) => {
                    let aspects = aspects(before, after, times);
                    if !aspects.is_empty() {
                        comparison.altered.push(Altered { path, before, after, aspects });
                    }
                }
                (removed, added) => {
                    comparison.removed.extend(removed);
                    comparison.added.extend(added);
                }
            }
        }
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.altered.is_empty()
    }

    /// Bytes of the files that only the second has.
    pub fn added_bytes(&self) -> u64 {
        self.added.iter().fold(0, |sum: u64, (_, file)| sum.saturating_add(file.size()))
    }

    /// Bytes of the files that only the first has.
    pub fn removed_bytes(&self) -> u64 {
        self.removed.iter().fold(0, |sum: u64, (_, file)| sum.saturating_add(file.size()))
    }

    /// Bytes of the files whose content differs, before and after.
    pub fn altered_bytes(&self) -> (u64, u64) {
        let differs = |altered: &&Altered<'_>| altered.aspects.iter().any(|aspect| *aspect <= Aspect::Content);
        self.altered.iter().filter(differs).fold((0, 0), |(before, after): (u64, u64), altered| {
            (before.saturating_add(altered.before.size()), after.saturating_add(altered.after.size()))
        })
    }
}

fn aspects(before: &File, after: &File, times: bool) -> Vec<Aspect> {
    // Layers that both images have give both the same file.
    if std::ptr::eq(before, after) {
        return Vec::new();
    }
    let kind = match (&before.kind, &after.kind) {
        (before, after) if before == after => None,
        (FileKind::Regular { .. }, FileKind::Regular { .. }) => Some(Aspect::Content),
        (FileKind::Symlink(_), FileKind::Symlink(_)) => Some(Aspect::Target),
        (FileKind::Character(..), FileKind::Character(..)) | (FileKind::Block(..), FileKind::Block(..)) => Some(Aspect::Device),
        _ => Some(Aspect::Kind),
    };
    let others = [
        (Aspect::Mode, before.mode != after.mode),
        (Aspect::Owner, (before.uid, before.gid) != (after.uid, after.gid)),
        (Aspect::Xattrs, before.xattrs != after.xattrs),
        (Aspect::Time, times && before.mtime != after.mtime),
    ];
    kind.into_iter().chain(others.into_iter().filter(|(_, differs)| *differs).map(|(aspect, _)| aspect)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::listing::Changeset;
    use crate::{Entry, Kind, Time};

    fn base(name: &str, kind: Kind) -> Entry {
        Entry { name: name.into(), kind, mode: 0o644, uid: 0, gid: 0, mtime: Time::default(), size: 10, xattrs: BTreeMap::new() }
    }

    fn listing(entries: &[Entry], content: u8) -> Listing {
        let mut layer = Changeset::new();
        for entry in entries {
            layer.add(entry, Some([content; 32])).unwrap();
        }
        let mut listing = Listing::new();
        listing.apply(&layer).unwrap();
        listing
    }

    #[test]
    fn each_difference_is_named() {
        let file = || base("f", Kind::Regular);
        let device = |minor| base("f", Kind::Character { major: 1, minor });
        for (before, after, expected) in [
            (file(), Entry { mode: 0o4755, ..file() }, vec![Aspect::Mode]),
            (file(), Entry { gid: 7, ..file() }, vec![Aspect::Owner]),
            (file(), Entry { xattrs: [(b"user.x".to_vec(), vec![1])].into(), ..file() }, vec![Aspect::Xattrs]),
            (file(), Entry { mtime: Time { seconds: 1, nanoseconds: 0 }, ..file() }, vec![]),
            (base("f", Kind::Symlink(b"a".to_vec())), base("f", Kind::Symlink(b"b".to_vec())), vec![Aspect::Target]),
            (device(3), device(5), vec![Aspect::Device]),
            (device(3), base("f", Kind::Block { major: 1, minor: 3 }), vec![Aspect::Kind]),
            (file(), Entry { kind: Kind::Directory, uid: 1, mode: 0, ..file() }, vec![Aspect::Kind, Aspect::Mode, Aspect::Owner]),
        ] {
            let (before, after) = (listing(&[before], 1), listing(&[after], 1));
            let comparison = Comparison::of(&before, &after, false);
            let found: Vec<_> = comparison.altered.iter().flat_map(|altered| altered.aspects.clone()).collect();
            assert_eq!(found, expected);
        }
        let (before, after) =
            (listing(&[file()], 1), listing(&[Entry { mtime: Time { seconds: 1, nanoseconds: 0 }, ..file() }], 1));
        assert_eq!(Comparison::of(&before, &after, true).altered[0].aspects, [Aspect::Time]);
    }

    #[test]
    fn listings_are_compared_name_by_name() {
        let regular = |name: &str, size| Entry { size, ..base(name, Kind::Regular) };
        let before = listing(&[regular("a", 1), regular("b", 2), regular("d", 4)], 1);
        let after = listing(&[regular("b", 20), regular("c", 30), regular("e", 50)], 2);
        let comparison = Comparison::of(&before, &after, false);
        let names = |files: &[(&EntryPath, &File)]| files.iter().map(|(path, _)| path.to_string()).collect::<Vec<_>>();
        assert_eq!(
            (names(&comparison.removed), names(&comparison.added)),
            (vec!["/a".into(), "/d".into()], vec!["/c".into(), "/e".into()])
        );
        assert_eq!((comparison.removed_bytes(), comparison.added_bytes(), comparison.altered_bytes()), (5, 80, (2, 20)));
        assert_eq!(comparison.altered[0].aspects, [Aspect::Content]);
        assert!(Comparison::of(&before, &before.clone(), true).is_empty() && !comparison.is_empty());
    }
}
