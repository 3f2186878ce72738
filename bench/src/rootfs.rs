//! Root file systems to measure with: real files of this machine, and rebuilds of them.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use crate::failure::{Context, Failure, Result};

/// Larger files are left out: a few of them would be the whole.
const LARGEST: u64 = 16 << 20;
/// The time that every file has at first.
const BUILT: u64 = 1_700_000_000;
/// A day, in seconds: the time from one version to the next.
const DAY: u64 = 86_400;
/// Bytes that a rebuild changes in one place of a file, at most.
const STRETCH: u64 = 64 << 10;

/// A folder with files sampled from a tree of this machine.
pub struct RootFs {
    /// The folder.
    pub folder: PathBuf,
    files: Vec<(PathBuf, u64)>,
    version: u64,
    random: fastrand::Rng,
}

impl RootFs {
    /// Copies files of `from` into the new folder `to` until they have `size` bytes: those below 16 MiB, in the order of the hashes of
    /// their names, so that the same machine gives the same files each time.
    pub fn sample(from: &Path, to: &Path, size: u64) -> Result<Self> {
        let mut found = Vec::new();
        walk(from, &mut found)?;
        found.sort_by_cached_key(|(path, _)| Sha256::digest(path.as_os_str().as_encoded_bytes()));
        let mut taken = 0;
        let mut files = Vec::new();
        for (path, length) in found {
            if taken >= size {
                break;
            }
            let own = to.join(path.strip_prefix(from).context(path.display())?);
            fs::create_dir_all(own.parent().unwrap_or(to))?;
            // A file that may not be read is one less.
            if fs::copy(&path, &own).is_ok() {
                taken += length;
                files.push((own, length));
            }
        }
        if taken < size {
            return Err(Failure::new(format!("{} has only {taken} bytes in files that can be read", from.display())));
        }
        let root = Self { folder: to.to_owned(), files, version: 0, random: fastrand::Rng::with_seed(11) };
        root.touch()?;
        Ok(root)
    }

    /// Bytes in all files.
    pub fn size(&self) -> u64 {
        self.files.iter().map(|(_, length)| length).sum()
    }

    /// What a rebuild does: files that hold a fortieth of all bytes differ from before, each in one place, where up to a sixteenth of the file (64 KiB at
    /// most) makes way for a stretch of another file that is a little longer or shorter. They get a later time.
    pub fn rebuild(&mut self) -> Result<()> {
        self.version += 1;
        let (total, mut touched) = (self.size(), 0);
        while touched < total / 40 {
            let index = self.random.usize(..self.files.len());
            let donor = self.random.usize(..self.files.len());
            touched += self.files[index].1;
            self.alter(index, donor)?;
        }
        Ok(())
    }

    /// Gives every file and folder the time of this version, as builds do that keep no times.
    pub fn touch(&self) -> Result<()> {
        let time = self.time();
        let mut folders = vec![self.folder.clone()];
        for (path, _) in &self.files {
            File::open(path)?.set_modified(time)?;
            folders.extend(path.ancestors().skip(1).take_while(|above| *above != self.folder).map(Path::to_owned));
        }
        folders.sort();
        folders.dedup();
        folders.iter().try_for_each(|folder| Ok(File::open(folder)?.set_modified(time)?))
    }

    fn alter(&mut self, index: usize, donor: usize) -> Result<()> {
        let path = self.files[index].0.clone();
        let bytes = fs::read(&path)?;
        let length = bytes.len() as u64;
        let away = (length / 16).clamp(1, STRETCH).min(length);
        let at = self.random.u64(..=length - away);
        let from = &self.files[donor];
        let wanted = (away + self.random.u64(..=32)).saturating_sub(16).max(1).min(from.1);
        let mut stretch = vec![0; usize::try_from(wanted).context("a stretch")?];
        File::open(&from.0)?.read_exact_at(&mut stretch, self.random.u64(..=from.1 - wanted))?;
        let (at, end) = (usize::try_from(at).context("a place")?, usize::try_from(at + away).context("a place")?);
        let altered = [&bytes[..at], &stretch, &bytes[end..]].concat();
        fs::write(&path, &altered)?;
        File::open(&path)?.set_modified(self.time())?;
        self.files[index].1 = altered.len() as u64;
        Ok(())
    }

    fn time(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(BUILT + self.version * DAY)
    }
}

/// Every regular file below a folder that is not empty and not large, with its bytes. Links are not followed.
fn walk(folder: &Path, found: &mut Vec<(PathBuf, u64)>) -> Result<()> {
    for entry in fs::read_dir(folder).context(folder.display())? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            walk(&entry.path(), found)?;
        } else if kind.is_file() {
            let length = entry.metadata()?.len();
            if (1..LARGEST).contains(&length) {
                found.push((entry.path(), length));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::RootFs;
    use std::fs;

    #[test]
    fn a_rebuild_changes_a_few_files() {
        let folder = tempfile::tempdir().unwrap();
        let from = folder.path().join("from");
        fs::create_dir_all(from.join("a")).unwrap();
        for number in 0..200_u32 {
            fs::write(from.join(format!("a/{number}")), number.to_le_bytes().repeat(250)).unwrap();
        }
        let mut root = RootFs::sample(&from, &folder.path().join("to"), 100_000).unwrap();
        assert_eq!(root.size(), 100_000);
        let read = |root: &RootFs| root.files.iter().map(|(path, _)| fs::read(path).unwrap()).collect::<Vec<_>>();
        let before = read(&root);
        root.rebuild().unwrap();
        let changed = read(&root).iter().zip(&before).filter(|(new, old)| new != old).count();
        assert!((1..=3).contains(&changed), "{changed}");
        let found = RootFs::sample(&from, &folder.path().join("more"), 300_000).err().map(|failure| failure.to_string());
        assert!(found.unwrap().contains("200000"));
    }
}
