//! Which of the layouts in a machine's folder count.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::SystemTime;

use super::entry::{Entry, Problem};
use super::name::{Parts, take_apart};
use super::{Found, Warning};

/// The tag that the build gives when nothing else is configured.
const USUAL_TAG: &str = "latest";

/// What counts and what does not.
pub(super) struct Chosen {
    /// The layouts, by name; their machine is left to be filled in.
    pub layouts: Vec<Found>,
    /// Names without a layout.
    pub broken: Vec<(String, Warning)>,
    /// Problems that another layout of the same name makes up for.
    pub warnings: Vec<Warning>,
}

struct Candidate {
    found: Found,
    date: Option<String>,
    /// Whether it was reached as an archive.
    is_archive: bool,
    /// Whether its name is that of the layout itself, and not only of a link to it.
    own_name: bool,
}

/// Of each name, what its link points to, or else the newest layout. `machines` are the names of the folder.
pub(super) fn choose(
    layouts: Vec<Entry>,
    problems: Vec<Problem>,
    machines: &[String],
    names: &dyn Fn(&Path) -> Vec<String>,
) -> Chosen {
    let mut known_tags = BTreeSet::from([USUAL_TAG.to_owned()]);
    let mut linked: BTreeMap<String, Vec<Candidate>> = BTreeMap::new();
    let mut plain: BTreeMap<String, Vec<Candidate>> = BTreeMap::new();
    for entry in layouts {
        let ref_names = names(&entry.real);
        let candidate = candidate(entry, machines, &ref_names);
        known_tags.extend(ref_names);
        let group = if candidate.found.link.is_some() { &mut linked } else { &mut plain };
        group.entry(candidate.found.name.clone()).or_default().push(candidate);
    }
    plain.retain(|name, _| !linked.contains_key(name));
    let mut candidates: Vec<Candidate> = linked.into_values().chain(plain.into_values()).filter_map(newest).collect();
    // A layout that several names lead to counts under that of a link; of several links, under the one that has the layout's own name.
    candidates.sort_by_key(|candidate| (candidate.found.link.is_none(), !candidate.own_name));
    let mut seen = BTreeSet::new();
    candidates.retain(|candidate| seen.insert(candidate.found.path.clone()));
    let mut layouts: Vec<Found> = candidates.into_iter().map(|candidate| candidate.found).collect();
    layouts.sort_by(|a, b| a.name.cmp(&b.name));

    let known_tags: Vec<String> = known_tags.into_iter().collect();
    let (mut broken, mut warnings) = (BTreeMap::new(), Vec::new());
    for Problem { base, target, why } in problems {
        let own = take_apart(&base, machines, &known_tags).name;
        let name = match target {
            Some(target) => name_of_link(own, &take_apart(&target, machines, &known_tags).name),
            None => own,
        };
        let made_up_for = layouts.iter().any(|found| found.name == name);
        if made_up_for || broken.contains_key(&name) {
            warnings.push(why);
        } else {
            broken.insert(name, why);
        }
    }
    Chosen { layouts, broken: broken.into_iter().collect(), warnings }
}

fn candidate(entry: Entry, machines: &[String], ref_names: &[String]) -> Candidate {
    let Entry { base, real, link, built } = entry;
    let real_base = real.file_name().unwrap_or_default().to_string_lossy();
    let Parts { name: real_name, date } = take_apart(&real_base, machines, ref_names);
    let name = match &link {
        Some(_) => name_of_link(take_apart(&base, machines, ref_names).name, &real_name),
        None => real_name.clone(),
    };
    let is_archive = base.ends_with(".tar");
    let own_name = name == real_name;
    Candidate { found: Found { name, machine: None, path: real, link, built }, date, is_archive, own_name }
}

/// The name of a layout that a link leads to: the link's, which the build makes of `IMAGE_BASENAME`, while the layout's own follows a
/// configurable `IMAGE_NAME`. A link that only says more than the layout's name carries a tag that the layout no longer has.
fn name_of_link(link: String, layout: &str) -> String {
    match link.strip_prefix(layout) {
        Some(more) if more.starts_with('-') && !layout.is_empty() => layout.to_owned(),
        _ => link,
    }
}

/// The newest of one name: by the dates in their names where all have one, else by when they were written.
fn newest(candidates: Vec<Candidate>) -> Option<Candidate> {
    let dated = candidates.iter().all(|candidate| candidate.date.is_some());
    let age = |candidate: &Candidate| -> (Option<String>, SystemTime, bool) {
        let date = if dated { candidate.date.clone() } else { None };
        (date, candidate.found.built, !candidate.is_archive)
    };
    candidates.into_iter().max_by(|a, b| age(a).cmp(&age(b)))
}
