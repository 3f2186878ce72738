//! Which file the guest means by a number.
//!
//! A node remembers the names under which the guest found its file and what the file was; to use it, the names are walked again and the file found
//! there is compared. So a node costs no file descriptor, and a name that came to mean another file is noticed.

use std::collections::HashMap;
use std::ffi::CStr;

use rustix::io::Errno;

use super::abi::ROOT;

/// A guest whose kernel never forgets would fill the host's memory: it gets this many files at once, which take some 200 bytes each here and five
/// times that in the guest.
const MOST_NODES: usize = 1 << 20;
/// Names kept of a file that has several (hard links). One is enough; more let the others go.
const MOST_LINKS: usize = 8;
/// Steps from a node to the root. No path of the guest's is deeper, as the host's kernel made each of its folders; what is deeper is a circle out of
/// names that the host has changed.
const DEEPEST: usize = 4096;

/// What tells a file from all others, also from one that gets its number after it is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    /// Nanoseconds of its birth; 0 where the file system keeps none.
    pub(crate) born: i128,
}

#[derive(Debug, PartialEq, Eq)]
struct Link {
    parent: u64,
    name: Box<CStr>,
}

impl Link {
    fn is(&self, parent: u64, name: &CStr) -> bool {
        self.parent == parent && *self.name == *name
    }
}

#[derive(Debug)]
struct Node {
    identity: Identity,
    folder: bool,
    lookups: u64,
    /// Newest last.
    links: Vec<Link>,
    /// What the guest was last told of the contents, and what it was when the guest last opened the file.
    told: Stamp,
    opened: Option<Stamp>,
}

/// By which a change of contents shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Stamp {
    pub(crate) size: u64,
    pub(crate) modified: i128,
    pub(crate) changed: i128,
}

/// What the guest's pages and attributes of a file are worth when it opens it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Freshness {
    /// Nothing has changed since it was opened before.
    pub(crate) pages: bool,
    /// Nothing has changed since it was told of them.
    pub(crate) attributes: bool,
}

/// All nodes but the root, which is always there.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    by_number: HashMap<u64, Node>,
    by_identity: HashMap<Identity, u64>,
    /// Numbers given out so far; none is ever used again.
    given: u64,
}

impl Nodes {
    /// The node of a file that the guest gets to know under this name, once more.
    pub(crate) fn enter(
        &mut self,
        parent: u64,
        name: &CStr,
        identity: Identity,
        folder: bool,
        told: Stamp,
    ) -> Result<u64, Errno> {
        let link = || Link { parent, name: name.into() };
        if let Some(number) = self.by_identity.get(&identity)
            && let Some(node) = self.by_number.get_mut(number)
            && node.folder == folder
        {
            node.lookups += 1;
            node.told = told;
            if node.folder && !node.links.iter().any(|link| link.is(parent, name)) {
                // A folder has one name.
                node.links = vec![link()];
            } else if let Some(place) = node.links.iter().position(|link| link.is(parent, name)) {
                let newest = node.links.len() - 1;
                node.links.swap(place, newest);
            } else {
                if node.links.len() == MOST_LINKS {
                    node.links.remove(0);
                }
                node.links.push(link());
            }
            return Ok(*number);
        }
        if self.by_number.len() >= MOST_NODES {
            return Err(Errno::NOMEM);
        }
        self.given += 1;
        let number = ROOT + self.given;
        self.by_identity.insert(identity, number);
        self.by_number.insert(number, Node { identity, folder, lookups: 1, links: vec![link()], told, opened: None });
        Ok(number)
    }

    /// The guest's kernel has dropped `count` of its references.
    pub(crate) fn forget(&mut self, number: u64, count: u64) {
        let Some(node) = self.by_number.get_mut(&number) else { return };
        node.lookups = node.lookups.saturating_sub(count);
        if node.lookups == 0 {
            let identity = node.identity;
            self.by_number.remove(&number);
            if self.by_identity.get(&identity) == Some(&number) {
                self.by_identity.remove(&identity);
            }
        }
    }

    /// What the file must be, and the paths below the root under which it may be, the likeliest first; without a name if it has none left.
    pub(crate) fn paths(&self, number: u64) -> Result<(Identity, Vec<Vec<u8>>), Errno> {
        let node = self.by_number.get(&number).ok_or(Errno::STALE)?;
        let paths = node.links.iter().rev().filter_map(|link| self.path(link)).collect();
        Ok((node.identity, paths))
    }

    fn path<'a>(&'a self, mut link: &'a Link) -> Option<Vec<u8>> {
        let mut steps = vec![&link.name];
        while link.parent != ROOT {
            if steps.len() == DEEPEST {
                return None;
            }
            link = self.by_number.get(&link.parent)?.links.last()?;
            steps.push(&link.name);
        }
        let mut path = Vec::with_capacity(steps.iter().map(|step| step.count_bytes() + 1).sum());
        for step in steps.iter().rev() {
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(step.to_bytes());
        }
        Some(path)
    }

    /// A name was taken from a file, which is gone with it if `last`.
    pub(crate) fn unlinked(&mut self, parent: u64, name: &CStr, identity: Identity, last: bool) {
        let Some(number) = self.by_identity.get(&identity) else { return };
        if let Some(node) = self.by_number.get_mut(number) {
            node.links.retain(|link| !link.is(parent, name));
        }
        if last {
            // The next file may get the same number within the same tick of the clock.
            self.by_identity.remove(&identity);
        }
    }

    /// A file has another name now.
    pub(crate) fn renamed(&mut self, from: (u64, &CStr), to: (u64, &CStr), identity: Identity) {
        let Some(node) = self.by_identity.get(&identity).and_then(|number| self.by_number.get_mut(number)) else { return };
        node.links.retain(|link| !link.is(from.0, from.1) && !link.is(to.0, to.1));
        node.links.push(Link { parent: to.0, name: to.1.into() });
    }

    /// The guest is told of a file's attributes.
    pub(crate) fn told(&mut self, number: u64, stamp: Stamp) {
        if let Some(node) = self.by_number.get_mut(&number) {
            node.told = stamp;
        }
    }

    /// The guest opens a file that is like this now. Unless `settled`, it may change again and look the same.
    pub(crate) fn opened(&mut self, number: u64, stamp: Stamp, settled: bool) -> Freshness {
        match self.by_number.get_mut(&number) {
            Some(node) => {
                let before = std::mem::replace(&mut node.opened, settled.then_some(stamp));
                Freshness { pages: before == Some(stamp), attributes: node.told == stamp }
            }
            None => Freshness { pages: false, attributes: false },
        }
    }

    /// How many files the guest holds.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.by_number.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(inode: u64) -> Identity {
        Identity { device: 1, inode, born: 5 }
    }

    fn enter(nodes: &mut Nodes, parent: u64, name: &CStr, inode: u64, folder: bool) -> u64 {
        nodes.enter(parent, name, file(inode), folder, Stamp::default()).unwrap()
    }

    fn paths(nodes: &Nodes, number: u64) -> Vec<String> {
        nodes.paths(number).unwrap().1.into_iter().map(|path| String::from_utf8(path).unwrap()).collect()
    }

    #[test]
    fn a_folder_moves_with_all_below() {
        let mut nodes = Nodes::default();
        let a = enter(&mut nodes, ROOT, c"a", 10, true);
        let b = enter(&mut nodes, a, c"b", 11, true);
        let c = enter(&mut nodes, b, c"c", 12, false);
        assert_eq!(paths(&nodes, c), ["a/b/c"]);
        nodes.renamed((a, c"b"), (ROOT, c"x"), file(11));
        assert_eq!(paths(&nodes, c), ["x/c"]);
    }

    #[test]
    fn hard_links_are_one_node() {
        let mut nodes = Nodes::default();
        let first = enter(&mut nodes, ROOT, c"a", 10, false);
        assert_eq!(enter(&mut nodes, ROOT, c"b", 10, false), first);
        assert_eq!(paths(&nodes, first), ["b", "a"]);
        nodes.unlinked(ROOT, c"b", file(10), false);
        assert_eq!(paths(&nodes, first), ["a"]);
        nodes.forget(first, 1);
        assert_eq!(nodes.len(), 1);
        nodes.forget(first, 1);
        assert_eq!(nodes.len(), 0);
        assert_eq!(nodes.paths(first), Err(Errno::STALE));
    }

    #[test]
    fn a_number_used_again_is_another_file() {
        let mut nodes = Nodes::default();
        let old = enter(&mut nodes, ROOT, c"a", 10, false);
        nodes.unlinked(ROOT, c"a", file(10), true);
        let new = enter(&mut nodes, ROOT, c"a", 10, false);
        assert_ne!(old, new);
        nodes.forget(old, 1);
        assert_eq!(paths(&nodes, new), ["a"]);
        assert_eq!(enter(&mut nodes, ROOT, c"a", 10, false), new);
    }

    #[test]
    fn a_circle_of_names_has_no_path() {
        let mut nodes = Nodes::default();
        let a = enter(&mut nodes, ROOT, c"a", 10, true);
        let b = enter(&mut nodes, a, c"b", 11, true);
        nodes.renamed((ROOT, c"a"), (b, c"a"), file(10));
        assert!(paths(&nodes, a).is_empty());
    }

    #[test]
    fn what_changed_on_the_host_is_noticed_at_the_next_open() {
        let mut nodes = Nodes::default();
        let a = enter(&mut nodes, ROOT, c"a", 10, false);
        let stamp = Stamp { size: 5, modified: 1, changed: 1 };
        assert_eq!(nodes.opened(a, stamp, true), Freshness { pages: false, attributes: false });
        nodes.told(a, stamp);
        assert_eq!(nodes.opened(a, stamp, true), Freshness { pages: true, attributes: true });
        let changed = Stamp { size: 6, ..stamp };
        assert_eq!(nodes.opened(a, changed, false), Freshness { pages: false, attributes: false });
        assert_eq!(nodes.opened(a, changed, true), Freshness { pages: false, attributes: false });
    }
}
