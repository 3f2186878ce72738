//! Everything that differs between two images of one platform.

use std::collections::BTreeMap;

use wharf_layers::compare::Comparison;
use wharf_layers::packages::{PackageName, Packages, Source};

use super::config::{self, Change};
use super::files::Files;
use super::image::{Image, Side};
use super::layers::Layers;
use super::pieces::Update;
use crate::ui::Failure;

/// What differs.
pub struct Report<'a> {
    /// The first image.
    pub before: &'a Image,
    /// The second image.
    pub after: &'a Image,
    /// What the configurations say.
    pub config: Vec<Change>,
    /// What an update costs.
    pub update: Update,
    /// Packages that are not the same.
    pub packages: PackageChanges,
    names: [&'a str; 2],
    /// None when both have the same layers.
    files: Option<Files>,
}

/// Packages that are not the same.
#[derive(Debug, Default)]
pub struct PackageChanges {
    /// Who lists them, and how many there are; none when nobody does, or when they were not looked at since all layers are the same.
    pub lists: [Option<(Source, usize)>; 2],
    /// Those that only the second has, with their version.
    pub added: Vec<(PackageName, String)>,
    /// Those that only the first has.
    pub removed: Vec<(PackageName, String)>,
    /// Those with another version, the former and the latter.
    pub changed: Vec<(PackageName, String, String)>,
}

impl<'a> Report<'a> {
    /// Compares two images.
    pub async fn of(
        before: (&'a Side<'_>, &'a Image),
        after: (&'a Side<'_>, &'a Image),
        layers: &mut Layers,
    ) -> Result<Self, Failure> {
        let update = Update::of(before, after).await?;
        let files = Files::of(before, after, layers).await?;
        let packages = files.as_ref().map(|files| PackageChanges::of(&files.packages_before, &files.packages_after));
        Ok(Self {
            before: before.1,
            after: after.1,
            config: config::changes(before.1, after.1),
            update,
            packages: packages.unwrap_or_default(),
            names: [&before.0.picture.shown, &after.0.picture.shown],
            files,
        })
    }

    /// What differs in the files.
    pub fn files(&self, times: bool) -> Comparison<'_> {
        self.files.as_ref().map(|files| Comparison::of(&files.before, &files.after, times)).unwrap_or_default()
    }

    /// Whether nothing differs. The same files in other layers are no difference.
    pub fn is_same(&self, files: &Comparison<'_>) -> bool {
        self.config.is_empty() && files.is_empty() && self.packages.is_empty()
    }

    /// Lists of packages that could not be read, each with the image in front.
    pub fn problems(&self) -> Vec<String> {
        let lists = self.files.iter().flat_map(|files| [&files.packages_before, &files.packages_after]);
        let problems = lists.zip(self.names).flat_map(|(list, name)| list.problems.iter().map(move |problem| (name, problem)));
        problems.map(|(name, problem)| format!("{name}: {problem}")).collect()
    }
}

impl PackageChanges {
    fn of(before: &Packages, after: &Packages) -> Self {
        let list = |packages: &Packages| packages.source.map(|source| (source, packages.packages.len()));
        let missing = |these: &Packages, those: &BTreeMap<PackageName, String>| {
            let missing = these.packages.iter().filter(|(name, _)| !those.contains_key(name));
            missing.map(|(name, version)| (name.clone(), version.clone())).collect()
        };
        let changed = before.packages.iter().filter_map(|(name, old)| {
            let new = after.packages.get(name).filter(|new| *new != old)?;
            Some((name.clone(), old.clone(), new.clone()))
        });
        Self {
            lists: [list(before), list(after)],
            added: missing(after, &before.packages),
            removed: missing(before, &after.packages),
            changed: changed.collect(),
        }
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}
