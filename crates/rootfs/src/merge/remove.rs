//! Files taken away: by whiteouts, and by others in their place.

use super::tree::{Body, NodeId, Tree};

impl Tree {
    /// Removes what is called `name` in this directory, with all that is in it; with `lower`, only what lower layers made. Nothing, if
    /// there is nothing.
    pub(super) fn remove(&mut self, directory: NodeId, name: &[u8], lower: bool) {
        let Some(child) = self.child(directory, name) else { return };
        match self.node(child.node).body {
            Body::Directory(_) => {
                self.place = None;
                self.remove_directory(directory, name, child.node, lower);
            }
            _ if lower && child.layer == self.layer => {}
            _ => {
                // The way to the last place may have led through a link.
                self.place = None;
                self.unlink(directory, name);
            }
        }
    }

    /// Removes all that lower layers made in a directory.
    pub(super) fn remove_lower(&mut self, directory: NodeId) {
        let names: Vec<_> =
            self.directory(directory).into_iter().flat_map(|directory| directory.children.keys().cloned()).collect();
        for name in names {
            self.remove(directory, &name, true);
        }
    }

    /// Removes a directory. Without recursion: an archive decides how deep it is.
    fn remove_directory(&mut self, parent: NodeId, name: &[u8], id: NodeId, lower: bool) {
        let mut listed = Vec::new();
        let mut waiting = vec![(parent, Box::<[u8]>::from(name), id)];
        while let Some((parent, name, id)) = waiting.pop() {
            let mut gone = Vec::new();
            for (name, child) in self.directory(id).into_iter().flat_map(|directory| &directory.children) {
                if self.directory(child.node).is_some() {
                    waiting.push((id, name.clone(), child.node));
                } else if !(lower && child.layer == self.layer) {
                    gone.push(name.clone());
                }
            }
            for name in gone {
                self.unlink(id, &name);
            }
            listed.push((parent, name, id));
        }
        // Above a file that this layer made, all directories count as made by it, so that those removed here are empty.
        for (parent, name, id) in listed.into_iter().rev() {
            let made = self.directory(id).is_some_and(|directory| directory.layer == self.layer);
            if !(lower && made) {
                self.unlink(parent, &name);
            }
        }
    }

    fn unlink(&mut self, directory: NodeId, name: &[u8]) {
        let removed = self.directory_mut(directory).and_then(|directory| directory.children.remove(name));
        if let Some(child) = removed {
            let node = self.node_mut(child.node);
            node.links = node.links.saturating_sub(1);
        }
    }
}
