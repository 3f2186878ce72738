//! Files taken away: by whiteouts, by others in their place, and when unpacking fails.

use std::io;
use std::os::fd::AsFd;

use super::Unpacker;
use super::place::Place;
use crate::system;
use crate::{EntryPath, LayersError};

impl Unpacker {
    /// Removes what is called `name` in this directory, with all that is in it; with `lower`, only what lower layers made. Nothing, if
    /// there is nothing.
    pub(super) fn remove(&mut self, place: &Place, name: &[u8], lower: bool) -> Result<(), LayersError> {
        let path = place.path.join(name);
        let directory = place.directory.as_fd();
        let status = match system::status_at(directory, name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            status => status.map_err(LayersError::file("read", self.below(&path)))?,
        };
        if status.is_directory() || status.is_symlink() {
            // The way to the last place may have led through it.
            self.place = None;
        }
        if status.is_directory() {
            return self.remove_directory(&path, lower);
        }
        if !(lower && self.made.contains(&path)) {
            system::unlink_at(directory, name, false).map_err(LayersError::file("remove", self.below(&path)))?;
            self.forget_made(&path);
        }
        Ok(())
    }

    /// Removes a directory. Without recursion, and with one directory open at a time: an archive decides how deep it is.
    fn remove_directory(&mut self, path: &EntryPath, lower: bool) -> Result<(), LayersError> {
        let mut listed = Vec::new();
        let mut waiting = vec![path.clone()];
        while let Some(path) = waiting.pop() {
            let place = self.open_to_empty(path)?;
            let names = system::names(place.directory.as_fd()).map_err(LayersError::file("read", self.below(&place.path)))?;
            for name in names {
                let child = place.path.join(&name);
                let status = system::status_at(place.directory.as_fd(), &name);
                if status.map_err(LayersError::file("read", self.below(&child)))?.is_directory() {
                    waiting.push(child);
                } else if !(lower && self.made.contains(&child)) {
                    let removed = system::unlink_at(place.directory.as_fd(), &name, false);
                    removed.map_err(LayersError::file("remove", self.below(&child)))?;
                    self.forget_made(&child);
                }
            }
            listed.push(place.path);
        }
        // Above a file that this layer made, all directories count as made by it, so that those removed here are empty.
        for path in listed.into_iter().rev() {
            let Some((parent, name)) = path.parent().zip(path.file_name()) else { continue };
            if lower && self.made.contains(&path) {
                continue;
            }
            let removed = system::unlink_at(self.open(parent)?.directory.as_fd(), name, true);
            removed.map_err(LayersError::file("remove", self.below(&path)))?;
            self.forget_made(&path);
            self.forget_directory(&path);
        }
        Ok(())
    }

    /// Opens a directory; one that has got its mode already, and with it is closed to its owner, after opening it again.
    fn open_to_empty(&self, path: EntryPath) -> Result<Place, LayersError> {
        let opened = self.open(path.clone());
        let closed = matches!(&opened, Err(LayersError::File { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied);
        let Some((parent, name)) = path.parent().zip(path.file_name()).filter(|_| closed) else { return opened };
        let set = system::set_mode_at(self.open(parent)?.directory.as_fd(), name, 0o700);
        set.map_err(LayersError::file("set the mode of", self.below(&path)))?;
        self.open(path)
    }

    /// Removes all that lower layers made in a directory.
    pub(super) fn remove_lower(&mut self, place: &Place) -> Result<(), LayersError> {
        let names = system::names(place.directory.as_fd()).map_err(LayersError::file("read", self.below(&place.path)))?;
        names.into_iter().try_for_each(|name| self.remove(place, &name, true))
    }

    /// Removes all that was made, as far as it can be.
    pub(super) fn discard(&mut self) {
        // The error that led here is the one to tell.
        let _ = self.remove_directory(&EntryPath::root(), false);
        if self.made_root {
            let _ = std::fs::remove_dir(&self.path);
        }
    }
}
