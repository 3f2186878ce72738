//! Manifests: pushed, asked for, read, untagged, deleted.

use std::collections::BTreeSet;

use wharf_tests::{OCI_INDEX, OCI_MANIFEST, Response, path_of};

use super::op::{Condition, Name, Under};
use super::player::{Player, by_presence};
use super::state::Is;
use crate::client::{expect, expect_header, outcome};
use crate::failure::{Failure, Result};

/// How a tag is called.
pub(super) fn tag_name(tag: usize) -> String {
    format!("t{tag}")
}

fn quoted(digest: &str) -> String {
    format!("\"{digest}\"")
}

impl Player<'_> {
    fn manifest_path(&self, repo: usize, name: Name) -> String {
        match name {
            Name::Tag(tag) => self.path(repo, &format!("manifests/{}", tag_name(tag))),
            Name::Digest(manifest) => self.path(repo, &format!("manifests/{}", self.content.manifests[manifest].digest)),
        }
    }

    /// What a push would find under its names, each: the manifest there, and whether it is.
    fn named_now(&self, repo: usize, manifest: usize, tags: &[usize]) -> Vec<(usize, Is)> {
        let repo = &self.repos[repo];
        if tags.is_empty() {
            return vec![(manifest, repo.manifest(manifest))];
        }
        // What a tag points at is there for as long as it does.
        tags.iter().map(|tag| repo.tags.get(tag).map_or((manifest, Is::No), |named| (*named, Is::Yes))).collect()
    }

    /// Whether a condition holds, for every name that is pushed to.
    fn is_met(&self, only: Option<Condition>, named: &[(usize, Is)]) -> Is {
        let Some(only) = only else { return Is::Yes };
        let one = |(manifest, is): &(usize, Is)| {
            let is_among = |which: Option<usize>| which.is_none_or(|which| which == *manifest);
            match only {
                Condition::Match(which) if is_among(which) => *is,
                Condition::Match(_) => Is::No,
                Condition::NoneMatch(which) if is_among(which) => match is {
                    Is::Yes => Is::No,
                    Is::Maybe => Is::Maybe,
                    Is::No => Is::Yes,
                },
                Condition::NoneMatch(_) => Is::Yes,
            }
        };
        named.iter().map(one).min().unwrap_or(Is::Yes)
    }

    /// Everything that a manifest names, each with whether it is there.
    fn needed(&self, repo: usize, manifest: usize) -> Vec<(String, Is)> {
        let (content, repo) = (self.content, &self.repos[repo]);
        let manifest = &content.manifests[manifest];
        let blobs = manifest.blobs.iter().map(|blob| (content.blobs[*blob].digest.clone(), repo.blob(*blob)));
        let children = manifest.children.iter().map(|child| (content.manifests[*child].digest.clone(), repo.manifest(*child)));
        blobs.chain(children).collect()
    }

    pub(super) fn put_manifest(&mut self, repo: usize, manifest: usize, under: &Under, only: Option<Condition>) -> Result<()> {
        let content = self.content;
        let this = &content.manifests[manifest];
        let (target, tags) = match under {
            Under::Tag(tag) => (self.manifest_path(repo, Name::Tag(*tag)), vec![*tag]),
            Under::Digest(tags) => {
                let query = tags.iter().map(|tag| format!("tag={}", tag_name(*tag))).collect::<Vec<_>>().join("&");
                let mark = if query.is_empty() { "" } else { "?" };
                (format!("{}{mark}{query}", self.manifest_path(repo, Name::Digest(manifest))), tags.clone())
            }
        };
        let etag = |which: Option<usize>| which.map_or("*".to_owned(), |which| quoted(&content.manifests[which].digest));
        let request = self.request("PUT", &target).header("Content-Type", this.media_type).body(&this.bytes);
        let request = match only {
            None => request,
            Some(Condition::Match(which)) => request.header("If-Match", etag(which)),
            Some(Condition::NoneMatch(which)) => request.header("If-None-Match", etag(which)),
        };
        let answer = self.ask(&request)?;

        let named = self.named_now(repo, manifest, &tags);
        let needed = self.needed(repo, manifest);
        let is_complete = needed.iter().map(|(_, is)| *is).min().unwrap_or(Is::Yes);
        let complete = by_presence(is_complete, (201, ""), &[(404, "MANIFEST_BLOB_UNKNOWN")]);
        let met = self.is_met(only, &named);
        let unmet = [(412, "DENIED")].into_iter().filter(|_| met <= Is::Maybe);
        expect(&answer, &complete.into_iter().filter(|_| met >= Is::Maybe).chain(unmet).collect::<Vec<_>>())?;
        match answer.status {
            201 => self.stored(repo, manifest, under, &tags, &answer),
            404 => {
                let missing = answer.error_digests();
                let at_least: BTreeSet<_> =
                    needed.iter().filter(|(_, is)| *is == Is::No).map(|(digest, _)| digest.clone()).collect();
                let at_most: BTreeSet<_> =
                    needed.iter().filter(|(_, is)| *is != Is::Yes).map(|(digest, _)| digest.clone()).collect();
                if !at_least.is_subset(&missing) || !missing.is_subset(&at_most) {
                    return Err(Failure::new(format!("expected {at_least:?} to be missing, got {}", answer.describe())));
                }
                self.are_missing(repo, manifest, &missing);
                Ok(())
            }
            _ => {
                // The first of its names that is not as it should be is told of.
                let wrong = named.iter().find(|one| self.is_met(only, &[**one]) != Is::Yes);
                let told = answer.json()["errors"][0]["detail"]["current"].as_str().map(str::to_owned);
                let current =
                    wrong.filter(|(_, is)| *is != Is::No).map(|(manifest, _)| content.manifests[*manifest].digest.clone());
                let is_sure = wrong.is_none_or(|(_, is)| *is != Is::Maybe);
                if is_sure && told != current {
                    return Err(Failure::new(format!("expected {current:?} to be named now, got {}", answer.describe())));
                }
                Ok(())
            }
        }
    }

    fn stored(&mut self, repo: usize, manifest: usize, under: &Under, tags: &[usize], answer: &Response) -> Result<()> {
        let this = &self.content.manifests[manifest];
        expect_header(answer, "Docker-Content-Digest", &this.digest)?;
        let place = self.manifest_path(repo, Name::Digest(manifest));
        let told: Vec<_> = answer.all("OCI-Tag").into_iter().map(str::to_owned).collect();
        let named: Vec<_> =
            if let Under::Digest(tags) = under { tags.iter().map(|tag| tag_name(*tag)).collect() } else { Vec::new() };
        let subject = answer.get("OCI-Subject").map(str::to_owned);
        if path_of(answer.header("Location")) != place || told != named || subject != this.subject {
            return Err(Failure::new(format!("expected Location {place}, tags {named:?}, got {}", answer.describe())));
        }
        let until = self.until();
        self.repos[repo].put_manifest(self.content, manifest, tags, until);
        Ok(())
    }

    fn are_missing(&mut self, repo: usize, manifest: usize, missing: &BTreeSet<String>) {
        let content = self.content;
        for blob in content.manifests[manifest].blobs.iter().filter(|blob| missing.contains(&content.blobs[**blob].digest)) {
            self.repos[repo].lose_blob(content, *blob);
        }
        for child in &content.manifests[manifest].children {
            if missing.contains(&content.manifests[*child].digest) {
                self.repos[repo].lose_manifest(*child);
            }
        }
    }

    /// A manifest, or what a tag points at: its number, and whether it is there.
    fn found(&self, repo: usize, name: Name) -> (Option<usize>, Is) {
        match name {
            Name::Digest(manifest) => (Some(manifest), self.repos[repo].manifest(manifest)),
            Name::Tag(tag) => match self.repos[repo].tags.get(&tag) {
                Some(manifest) => (Some(*manifest), Is::Yes),
                None => (None, Is::No),
            },
        }
    }

    /// An answer says that something is not there.
    fn is_gone(&mut self, repo: usize, name: Name, answer: &Response) {
        match (name, outcome(answer).1.as_deref()) {
            (_, Some("NAME_UNKNOWN")) => self.repos[repo].lose_all(),
            (Name::Digest(manifest), _) => self.repos[repo].lose_manifest(manifest),
            (Name::Tag(_), _) => {}
        }
    }

    pub(super) fn read_manifest(&mut self, method: &str, repo: usize, name: Name) -> Result<()> {
        let request = self.request(method, &self.manifest_path(repo, name));
        let answer = self.ask(&request.header("Accept", [OCI_MANIFEST, OCI_INDEX].join(", ")))?;
        let (manifest, is) = self.found(repo, name);
        let absent = self.absent(repo, "MANIFEST_UNKNOWN");
        expect(&answer, &by_presence(is, (200, ""), &absent))?;
        let Some(manifest) = manifest.filter(|_| answer.status == 200) else {
            self.is_gone(repo, name, &answer);
            return Ok(());
        };
        let this = &self.content.manifests[manifest];
        expect_header(&answer, "Docker-Content-Digest", &this.digest)?;
        expect_header(&answer, "Content-Type", this.media_type)?;
        expect_header(&answer, "Content-Length", &this.bytes.len().to_string())?;
        if method == "HEAD" {
            let until = self.until();
            self.repos[repo].keep_manifest(manifest, until);
        } else if answer.body != this.bytes {
            return Err(Failure::new(format!("another manifest: {}", answer.describe())));
        } else {
            self.repos[repo].see_manifest(manifest);
        }
        Ok(())
    }

    pub(super) fn untag(&mut self, repo: usize, tag: usize) -> Result<()> {
        let answer = self.ask(&self.request("DELETE", &self.manifest_path(repo, Name::Tag(tag))))?;
        let is = self.found(repo, Name::Tag(tag)).1;
        let absent = self.absent(repo, "MANIFEST_UNKNOWN");
        expect(&answer, &by_presence(is, (202, ""), &absent))?;
        self.repos[repo].tags.remove(&tag);
        Ok(())
    }

    pub(super) fn delete_manifest(&mut self, repo: usize, manifest: usize) -> Result<()> {
        let answer = self.ask(&self.request("DELETE", &self.manifest_path(repo, Name::Digest(manifest))))?;
        let is = self.repos[repo].manifest(manifest);
        let absent = self.absent(repo, "MANIFEST_UNKNOWN");
        expect(&answer, &by_presence(is, (202, ""), &absent))?;
        self.repos[repo].lose_manifest(manifest);
        if answer.status == 404 {
            self.is_gone(repo, Name::Digest(manifest), &answer);
        }
        Ok(())
    }
}
