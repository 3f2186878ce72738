//! A disk that forgets what was not synced: every file and folder as programs see it, and as it would be after a power cut.
//!
//! It promises no more than POSIX does. A file's bytes are kept from the file's own sync on, a name from its folder's. Until then any part of what was done may be
//! there or not, in any combination, and a write may be there in part, sector by sector.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use fastrand::Rng;

/// The number of the root folder.
pub const ROOT: u64 = 1;
/// A disk writes so much at a time or not at all.
const SECTOR: usize = 512;

/// Why something cannot be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The power is off.
    Off,
    /// There is nothing of that name.
    Missing,
    /// There is something already.
    Exists,
    /// A folder that is not empty.
    NotEmpty,
    /// A folder where something else is meant, or the other way round.
    Kind,
}

type Outcome<T> = Result<T, Refused>;

/// What a node is.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A file.
    File(Bytes),
    /// A folder.
    Folder(Names),
    /// A symbolic link.
    Link(PathBuf),
    /// A socket or a pipe, which has no content here.
    Special,
}

/// A file, a folder, or whatever has a number.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Type and permissions, as `stat` has them.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Names that lead to it.
    pub links: u32,
    /// Seconds since 1970, and nanoseconds.
    pub modified: (i64, u32),
    /// Syncs of it that have failed.
    pub failed_syncs: u64,
}

/// Content as programs see it, as it would be after a cut, and what was done to it since its last sync.
#[derive(Clone, Debug)]
pub struct Kept<C: Change> {
    current: C::Content,
    durable: C::Content,
    pending: Vec<C>,
}

/// One step by which content changes.
pub trait Change: Clone {
    /// What it changes.
    type Content: Clone + Default;

    /// Takes the step.
    fn apply(&self, content: &mut Self::Content);

    /// What may be left of it when the power goes in the middle; all of what is one step for a disk.
    fn torn(&self, _random: &mut Rng) -> Vec<Self> {
        vec![self.clone()]
    }
}

impl<C: Change> Default for Kept<C> {
    fn default() -> Self {
        Self { current: C::Content::default(), durable: C::Content::default(), pending: Vec::new() }
    }
}

impl<C: Change> Kept<C> {
    /// As programs see it.
    pub fn now(&self) -> &C::Content {
        &self.current
    }

    fn change(&mut self, change: C) {
        change.apply(&mut self.current);
        self.pending.push(change);
    }

    fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    /// What was done since the last sync is seen for as long as the power is on, and no sync makes it last any more.
    fn lose(&mut self) {
        self.pending.clear();
    }

    fn after_cut(&self, random: &mut Rng, habit: Habit) -> Self {
        let mut left = self.durable.clone();
        for change in &self.pending {
            match habit.of(random) {
                Fate::Lost => {}
                Fate::Whole => change.apply(&mut left),
                Fate::Torn => change.torn(random).iter().for_each(|part| part.apply(&mut left)),
            }
        }
        Self { current: left.clone(), durable: left, pending: Vec::new() }
    }
}

/// The bytes of a file.
pub type Bytes = Kept<Write>;
/// The names in a folder, and what they lead to.
pub type Names = Kept<Naming>;

/// A change of a file's bytes.
#[derive(Clone, Debug)]
pub enum Write {
    /// Bytes from an offset on.
    At(usize, Vec<u8>),
    /// Another length.
    Length(usize),
}

impl Change for Write {
    type Content = Vec<u8>;

    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Length(length) => bytes.resize(*length, 0),
            Self::At(offset, data) => {
                if bytes.len() < offset + data.len() {
                    bytes.resize(offset + data.len(), 0);
                }
                bytes[*offset..offset + data.len()].copy_from_slice(data);
            }
        }
    }

    fn torn(&self, random: &mut Rng) -> Vec<Self> {
        match self {
            Self::Length(_) => vec![self.clone()],
            Self::At(offset, data) => {
                let mut parts = Vec::new();
                let mut begin = 0;
                while begin < data.len() {
                    let end = ((offset + begin) / SECTOR * SECTOR + SECTOR - offset).min(data.len());
                    if random.bool() {
                        parts.push(Self::At(offset + begin, data[begin..end].to_vec()));
                    }
                    begin = end;
                }
                parts
            }
        }
    }
}

/// A change of a folder's names.
#[derive(Clone, Debug)]
pub enum Naming {
    /// A name leads there.
    Set(OsString, u64),
    /// A name is gone.
    Remove(OsString),
    /// Within the folder, in one step.
    Rename(OsString, OsString, u64),
}

impl Change for Naming {
    type Content = BTreeMap<OsString, u64>;

    fn apply(&self, names: &mut BTreeMap<OsString, u64>) {
        match self {
            Self::Set(name, node) => drop(names.insert(name.clone(), *node)),
            Self::Remove(name) => drop(names.remove(name)),
            Self::Rename(from, to, node) => {
                names.remove(from);
                names.insert(to.clone(), *node);
            }
        }
    }
}

/// What becomes of one thing that was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Lost,
    Whole,
    Torn,
}

/// What this cut does to most of them: disks differ.
#[derive(Clone, Copy, Debug)]
enum Habit {
    /// Nothing that was not synced is left.
    Loses,
    /// Some of it is.
    Mixes,
    /// Nearly all of it is, as after a program was killed.
    Keeps,
}

impl Habit {
    fn of(self, random: &mut Rng) -> Fate {
        match (self, random.u8(0..10)) {
            (Self::Loses, _) | (Self::Mixes, 0..4) | (Self::Keeps, 0) => Fate::Lost,
            (Self::Mixes, 4..6) | (Self::Keeps, 1) => Fate::Torn,
            _ => Fate::Whole,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Disk {
    nodes: HashMap<u64, Node>,
    next: u64,
    /// Nothing can be done any more.
    off: bool,
    syncs: u64,
}

impl Disk {
    /// An empty disk whose root belongs to this user and group.
    pub fn new(uid: u32, gid: u32) -> Self {
        let root =
            Node { kind: Kind::Folder(Names::default()), mode: 0o040_755, uid, gid, links: 2, modified: (0, 0), failed_syncs: 0 };
        Self { nodes: HashMap::from([(ROOT, root)]), next: ROOT + 1, off: false, syncs: 0 }
    }

    /// Cuts the power: from now on nothing can be done, and nothing changes.
    pub fn cut(&mut self) {
        self.off = true;
    }

    /// What is left of it when the power is back.
    pub fn after_cut(&self, random: &mut Rng) -> Self {
        let habit = [Habit::Loses, Habit::Mixes, Habit::Mixes, Habit::Keeps][random.usize(0..4)];
        let mut left = HashMap::new();
        // In the order of the numbers, so that the same seed leaves the same.
        let mut waiting = vec![ROOT];
        while let Some(number) = waiting.pop() {
            if left.contains_key(&number) {
                continue;
            }
            let Some(node) = self.nodes.get(&number) else { continue };
            let kind = match &node.kind {
                Kind::File(bytes) => Kind::File(bytes.after_cut(random, habit)),
                Kind::Folder(names) => {
                    let names = names.after_cut(random, habit);
                    waiting.extend(names.current.values());
                    Kind::Folder(names)
                }
                other => other.clone(),
            };
            left.insert(number, Node { kind, links: 0, ..node.clone() });
        }
        let mut disk = Self { nodes: left, next: self.next, off: false, syncs: 0 };
        disk.count_links();
        disk
    }

    /// Changes of files and folders that a cut could still undo.
    pub fn unsynced(&self) -> usize {
        let pending = |node: &Node| match &node.kind {
            Kind::File(bytes) => bytes.pending.len(),
            Kind::Folder(names) => names.pending.len(),
            _ => 0,
        };
        self.nodes.values().map(pending).sum()
    }

    /// How often anything was synced.
    pub fn syncs(&self) -> u64 {
        self.syncs
    }

    fn count_links(&mut self) {
        let folders = self.nodes.values().filter_map(|node| match &node.kind {
            Kind::Folder(names) => Some(names.current.values().copied().collect::<Vec<_>>()),
            _ => None,
        });
        let named: Vec<u64> = folders.flatten().collect();
        for number in named {
            if let Some(node) = self.nodes.get_mut(&number) {
                node.links += 1;
            }
        }
        for node in self.nodes.values_mut().filter(|node| matches!(node.kind, Kind::Folder(_))) {
            node.links = 2;
        }
    }

    /// A node.
    pub fn node(&self, number: u64) -> Outcome<&Node> {
        if self.off {
            return Err(Refused::Off);
        }
        self.nodes.get(&number).ok_or(Refused::Missing)
    }

    /// A node, to change what is no content.
    pub fn node_mut(&mut self, number: u64) -> Outcome<&mut Node> {
        if self.off {
            return Err(Refused::Off);
        }
        self.nodes.get_mut(&number).ok_or(Refused::Missing)
    }

    fn names(&mut self, number: u64) -> Outcome<&mut Names> {
        match &mut self.node_mut(number)?.kind {
            Kind::Folder(names) => Ok(names),
            _ => Err(Refused::Kind),
        }
    }

    fn bytes(&mut self, number: u64) -> Outcome<&mut Bytes> {
        match &mut self.node_mut(number)?.kind {
            Kind::File(bytes) => Ok(bytes),
            _ => Err(Refused::Kind),
        }
    }

    /// What a name in a folder leads to.
    pub fn find(&self, folder: u64, name: &OsStr) -> Outcome<u64> {
        match &self.node(folder)?.kind {
            Kind::Folder(names) => names.current.get(name).copied().ok_or(Refused::Missing),
            _ => Err(Refused::Kind),
        }
    }

    /// Makes something new under a name.
    pub fn make(&mut self, folder: u64, name: &OsStr, node: Node) -> Outcome<u64> {
        if self.find(folder, name).is_ok() {
            return Err(Refused::Exists);
        }
        let number = self.next;
        self.names(folder)?.change(Naming::Set(name.to_owned(), number));
        self.next += 1;
        self.nodes.insert(number, node);
        Ok(number)
    }

    /// Gives something another name besides.
    pub fn link(&mut self, number: u64, folder: u64, name: &OsStr) -> Outcome<()> {
        if self.find(folder, name).is_ok() {
            return Err(Refused::Exists);
        }
        self.names(folder)?.change(Naming::Set(name.to_owned(), number));
        self.node_mut(number)?.links += 1;
        Ok(())
    }

    /// Takes a name away. Who has the file open goes on reading it.
    pub fn remove(&mut self, folder: u64, name: &OsStr) -> Outcome<()> {
        let number = self.find(folder, name)?;
        if let Kind::Folder(names) = &self.node(number)?.kind
            && !names.current.is_empty()
        {
            return Err(Refused::NotEmpty);
        }
        self.names(folder)?.change(Naming::Remove(name.to_owned()));
        let node = self.node_mut(number)?;
        node.links = node.links.saturating_sub(1);
        Ok(())
    }

    /// Gives something another name, in the place of whatever has it.
    pub fn rename(&mut self, (from, name): (u64, &OsStr), (to, new): (u64, &OsStr), replace: bool) -> Outcome<()> {
        let number = self.find(from, name)?;
        match self.find(to, new) {
            Ok(_) if !replace => return Err(Refused::Exists),
            Ok(old) if old == number => return Ok(()),
            Ok(old) => {
                let node = self.node_mut(old)?;
                node.links = node.links.saturating_sub(1);
            }
            Err(_) => {}
        }
        if from == to {
            self.names(from)?.change(Naming::Rename(name.to_owned(), new.to_owned(), number));
        } else {
            self.names(to)?.change(Naming::Set(new.to_owned(), number));
            self.names(from)?.change(Naming::Remove(name.to_owned()));
        }
        Ok(())
    }

    /// Part of a file.
    pub fn read(&self, number: u64, offset: usize, length: usize) -> Outcome<&[u8]> {
        match &self.node(number)?.kind {
            Kind::File(bytes) => {
                let current = bytes.now();
                let begin = offset.min(current.len());
                Ok(&current[begin..offset.saturating_add(length).clamp(begin, current.len())])
            }
            _ => Err(Refused::Kind),
        }
    }

    /// Writes into a file.
    pub fn write(&mut self, number: u64, offset: usize, data: &[u8]) -> Outcome<()> {
        self.bytes(number)?.change(Write::At(offset, data.to_vec()));
        Ok(())
    }

    /// Makes a file longer or shorter.
    pub fn resize(&mut self, number: u64, length: usize) -> Outcome<()> {
        self.bytes(number)?.change(Write::Length(length));
        Ok(())
    }

    /// Makes what was done to a file, or in a folder, outlast a cut.
    pub fn sync(&mut self, number: u64) -> Outcome<()> {
        match &mut self.node_mut(number)?.kind {
            Kind::File(bytes) => bytes.sync(),
            Kind::Folder(names) => names.sync(),
            _ => {}
        }
        self.syncs += 1;
        Ok(())
    }

    /// A sync that fails. What a file's was for is lost, as with Linux, which believes it to be written from then on; the names in a folder only wait for the next, for
    /// file systems whose journal fails end all that is done with them.
    pub fn fail_to_sync(&mut self, number: u64) -> Outcome<()> {
        let node = self.node_mut(number)?;
        node.failed_syncs += 1;
        if let Kind::File(bytes) = &mut node.kind {
            bytes.lose();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Node {
        Node { kind: Kind::File(Bytes::default()), mode: 0o100_644, uid: 0, gid: 0, links: 1, modified: (0, 0), failed_syncs: 0 }
    }

    /// What is left in the root, over many cuts.
    fn left(disk: &Disk) -> Vec<BTreeMap<OsString, Vec<u8>>> {
        let look = |seed| {
            let disk = disk.after_cut(&mut Rng::with_seed(seed));
            let Kind::Folder(names) = &disk.nodes[&ROOT].kind else { panic!() };
            names.now().iter().map(|(name, node)| (name.clone(), disk.read(*node, 0, 1 << 20).unwrap().to_vec())).collect()
        };
        (0..200).map(look).collect()
    }

    #[test]
    fn a_synced_name_and_synced_bytes_are_always_there_and_nothing_else_is_sure() {
        let mut disk = Disk::new(0, 0);
        let kept = disk.make(ROOT, OsStr::new("kept"), file()).unwrap();
        disk.write(kept, 0, b"old").unwrap();
        disk.sync(kept).unwrap();
        // A file's sync says nothing of its name.
        assert!(left(&disk).iter().any(|names| !names.contains_key(OsStr::new("kept"))));
        disk.sync(ROOT).unwrap();
        assert!(left(&disk).iter().all(|names| names[OsStr::new("kept")] == b"old"));
        disk.write(kept, 0, b"new").unwrap();
        let found = left(&disk);
        for bytes in [b"old", b"new"] {
            assert!(found.iter().any(|names| names[OsStr::new("kept")] == bytes), "{bytes:?}");
        }
        let lost = disk.make(ROOT, OsStr::new("lost"), file()).unwrap();
        disk.write(lost, 0, &[1; 4 * SECTOR]).unwrap();
        let found = left(&disk);
        assert!(found.iter().any(|names| !names.contains_key(OsStr::new("lost"))));
        // A name without its bytes, and a write in part.
        assert!(found.iter().any(|names| names.get(OsStr::new("lost")).is_some_and(Vec::is_empty)));
        assert!(found.iter().any(|names| names.get(OsStr::new("lost")).is_some_and(|bytes| bytes.contains(&0))));
        assert!(found.iter().any(|names| names.get(OsStr::new("lost")).is_some_and(|bytes| *bytes == [1; 4 * SECTOR])));
    }

    #[test]
    fn a_rename_within_a_folder_is_one_step_and_between_two_it_is_not() {
        let mut disk = Disk::new(0, 0);
        let folder = Node { kind: Kind::Folder(Names::default()), mode: 0o040_755, ..file() };
        let other = disk.make(ROOT, OsStr::new("other"), folder).unwrap();
        let moved = disk.make(ROOT, OsStr::new("a"), file()).unwrap();
        disk.sync(moved).unwrap();
        disk.sync(ROOT).unwrap();
        disk.rename((ROOT, OsStr::new("a")), (ROOT, OsStr::new("b")), true).unwrap();
        let here = |disk: &Disk, folder, name: &str| disk.find(folder, OsStr::new(name)).is_ok();
        for seed in 0..100 {
            let left = disk.after_cut(&mut Rng::with_seed(seed));
            assert!(here(&left, ROOT, "a") != here(&left, ROOT, "b"));
        }
        disk.sync(ROOT).unwrap();
        disk.rename((ROOT, OsStr::new("b")), (other, OsStr::new("b")), true).unwrap();
        let states: Vec<_> = (0..100)
            .map(|seed| {
                let left = disk.after_cut(&mut Rng::with_seed(seed));
                (here(&left, ROOT, "b"), here(&left, other, "b"))
            })
            .collect();
        for state in [(true, false), (false, true), (true, true), (false, false)] {
            assert!(states.contains(&state), "{state:?}");
        }
    }

    #[test]
    fn without_power_nothing_is_done() {
        let mut disk = Disk::new(0, 0);
        let number = disk.make(ROOT, OsStr::new("a"), file()).unwrap();
        disk.cut();
        assert_eq!(disk.write(number, 0, b"x"), Err(Refused::Off));
        assert_eq!(disk.sync(ROOT), Err(Refused::Off));
        assert_eq!(disk.find(ROOT, OsStr::new("a")), Err(Refused::Off));
    }
}
