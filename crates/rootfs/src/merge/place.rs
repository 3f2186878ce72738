//! Directories found as a process would find them whose root is the image.

use wharf_layers::{EntryPath, LayersError};

use super::tree::{Body, NOBODY, NodeId, ROOT, Tree};
use crate::RootfsError;

/// Links that lead to a place at most; as many as Linux follows.
const LINKS_MAX: usize = 40;
/// Directories that lie in each other at most, as when layers are unpacked.
const DEPTH_MAX: usize = 512;

/// What a directory is wanted for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asking {
    /// To see whether it is there.
    Only,
    /// To put something into it: what is missing is made.
    ToMake,
}

impl Tree {
    /// Finds the directory that this path means, with links on the way followed inside the root. `asker` is the path that asks. Where there
    /// is no directory then, the answer is what is not one.
    ///
    /// # Errors
    /// Links that climb above the root or go in circles, and what lies too deep.
    pub(super) fn resolve(
        &mut self,
        asker: &EntryPath,
        path: &EntryPath,
        asking: Asking,
    ) -> Result<Result<NodeId, EntryPath>, RootfsError> {
        if let Some((asked, place)) = &self.place
            && asked == path.as_bytes()
        {
            return Ok(Ok(*place));
        }
        let found = self.walk(asker, path, asking)?;
        if let Ok(place) = found {
            self.place = Some((path.as_bytes().to_vec(), place));
        }
        Ok(found)
    }

    fn walk(&mut self, asker: &EntryPath, path: &EntryPath, asking: Asking) -> Result<Result<NodeId, EntryPath>, RootfsError> {
        let refused = |why: &str| {
            let name = asker.to_string().into_bytes();
            Err(LayersError::Refused { name, why: why.to_owned() }.into())
        };
        // The parts that are still to go, the next one last.
        let mut parts: Vec<Vec<u8>> = path.parts().map(<[u8]>::to_vec).collect();
        parts.reverse();
        let (mut at, mut depth, mut links) = (ROOT, 0, 0);
        while let Some(part) = parts.pop() {
            if depth > DEPTH_MAX {
                return refused("it lies too deep");
            }
            if part == b".." {
                if at == ROOT {
                    return refused("a symbolic link above it leads out of the root");
                }
                at = self.directory(at).map_or(ROOT, |directory| directory.parent);
                depth -= 1;
                continue;
            }
            let child = match self.child(at, &part) {
                Some(child) => child.node,
                None if asking == Asking::Only => return Ok(Err(self.path_of(at).join(&part))),
                None => {
                    let made = self.implied(at);
                    let made = self.add(made)?;
                    self.link(at, &part, made, NOBODY)?;
                    made
                }
            };
            match &self.node(child).body {
                Body::Directory(_) => (at, depth) = (child, depth + 1),
                Body::Symlink(target) => {
                    links += 1;
                    if links > LINKS_MAX {
                        return refused("symbolic links above it go in circles");
                    }
                    let steps = target.split(|byte| *byte == b'/').filter(|step| !matches!(*step, b"" | b"."));
                    parts.extend(steps.rev().map(<[u8]>::to_vec));
                    if target.starts_with(b"/") {
                        (at, depth) = (ROOT, 0);
                    }
                }
                _ => return Ok(Err(self.path_of(at).join(&part))),
            }
        }
        Ok(Ok(at))
    }

    /// Whether a directory is `above`, or below it.
    pub(super) fn is_within(&self, directory: NodeId, above: NodeId) -> bool {
        let mut at = directory;
        loop {
            if at == above {
                return true;
            }
            let parent = self.directory(at).map_or(ROOT, |directory| directory.parent);
            if parent == at {
                return false;
            }
            at = parent;
        }
    }

    /// The path of a directory, for a message.
    fn path_of(&self, directory: NodeId) -> EntryPath {
        let mut names = Vec::new();
        let mut at = directory;
        while at != ROOT {
            let parent = self.directory(at).map_or(ROOT, |directory| directory.parent);
            let mut children = self.directory(parent).into_iter().flat_map(|parent| &parent.children);
            names.extend(children.find(|(_, child)| child.node == at).map(|(name, _)| name));
            at = parent;
        }
        names.into_iter().rev().fold(EntryPath::root(), |path, name| path.join(name))
    }
}
