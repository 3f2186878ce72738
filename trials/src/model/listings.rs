//! Listings: tags, referrers, the catalog.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use wharf_tests::{OCI_INDEX, Response, next_link};

use super::content::TYPES;
use super::manifests::tag_name;
use super::player::{Player, by_presence};
use super::state::Is;
use crate::client::{expect, expect_header};
use crate::failure::{Failure, Result};

/// Texts of a list in an answer.
fn texts(answer: &Response, member: &str) -> Result<Vec<String>> {
    let list = answer.json()[member].as_array().cloned().unwrap_or_default();
    let texts: Option<Vec<_>> = list.iter().map(|text| text.as_str().map(str::to_owned)).collect();
    texts.ok_or_else(|| Failure::new(format!("no list of names: {}", answer.describe())))
}

impl Player<'_> {
    /// One page of tags; `None` of a repository that is not known.
    fn tags_at(&mut self, repo: usize, target: &str) -> Result<Option<(Vec<String>, Option<String>)>> {
        let answer = self.ask(&self.request("GET", target))?;
        expect(&answer, &by_presence(self.repos[repo].known, (200, ""), &[(404, "NAME_UNKNOWN")]))?;
        if answer.status == 404 {
            self.repos[repo].lose_all();
            return Ok(None);
        }
        if answer.json()["name"] != json!(self.repos[repo].name) {
            return Err(Failure::new(format!("tags of another repository: {}", answer.describe())));
        }
        Ok(Some((texts(&answer, "tags")?, next_link(&answer))))
    }

    pub(super) fn tags(&mut self, repo: usize, page: usize, after: Option<usize>) -> Result<()> {
        let last = after.map(|tag| format!("&last={}", tag_name(tag))).unwrap_or_default();
        let found = self.tags_at(repo, &self.path(repo, &format!("tags/list?n={page}{last}")))?;
        let Some((found, link)) = found else { return Ok(()) };
        let all: Vec<_> = self.repos[repo]
            .tags
            .keys()
            .filter(|tag| after.is_none_or(|after| **tag > after))
            .map(|tag| tag_name(*tag))
            .collect();
        let is_last = page == 0 || all.len() <= page;
        if found != all[..all.len().min(page)] || link.is_none() != is_last {
            return Err(Failure::new(format!("expected {page} of {all:?}, got {found:?} and then {link:?}")));
        }
        Ok(())
    }

    /// All tags of a repository, page by page.
    pub(super) fn all_tags(&mut self, repo: usize, page: usize) -> Result<()> {
        let (mut found, mut next) = (Vec::new(), Some(self.path(repo, &format!("tags/list?n={page}"))));
        while let Some(target) = next {
            let Some((tags, link)) = self.tags_at(repo, &target)? else { return Ok(()) };
            found.extend(tags);
            next = link;
        }
        let all: Vec<_> = self.repos[repo].tags.keys().map(|tag| tag_name(*tag)).collect();
        if found == all { Ok(()) } else { Err(Failure::new(format!("expected the tags {all:?}, got {found:?}"))) }
    }

    pub(super) fn referrers(&mut self, repo: usize, manifest: usize, kind: Option<usize>) -> Result<()> {
        let content = self.content;
        let digest = &content.manifests[manifest].digest;
        let filter = kind.map(|kind| format!("?artifactType={}", TYPES[kind].replace('+', "%2B"))).unwrap_or_default();
        let answer = self.ask(&self.request("GET", &self.path(repo, &format!("referrers/{digest}{filter}"))))?;
        expect(&answer, &[(200, "")])?;
        expect_header(&answer, "Content-Type", OCI_INDEX)?;
        if kind.is_some() {
            expect_header(&answer, "OCI-Filters-Applied", "artifactType")?;
        }
        let about = content.manifests.iter().enumerate().filter(|(_, other)| other.subject.as_ref() == Some(digest));
        let about = about.filter(|(_, other)| kind.is_none_or(|kind| other.descriptor["artifactType"] == json!(TYPES[kind])));
        let may: BTreeMap<_, _> = about.map(|(number, other)| (&*other.digest, (number, &other.descriptor))).collect();
        let found: Vec<Value> = answer.json()["manifests"].as_array().cloned().unwrap_or_default();
        let digests: Vec<_> = found.iter().filter_map(|entry| entry["digest"].as_str()).collect();
        let is_sorted = digests.is_sorted() && digests.len() == found.len();
        let is_right = |entry: &Value| {
            let known = may.get(entry["digest"].as_str().unwrap_or_default());
            known.is_some_and(|(number, descriptor)| *descriptor == entry && self.repos[repo].manifest(*number) != Is::No)
        };
        let is_complete =
            may.iter().all(|(digest, (number, _))| self.repos[repo].manifest(*number) != Is::Yes || digests.contains(digest));
        if is_sorted && is_complete && found.iter().all(is_right) {
            return Ok(());
        }
        let wanted: Vec<_> = may.values().map(|(number, _)| (number, self.repos[repo].manifest(*number))).collect();
        Err(Failure::new(format!("expected of manifests {wanted:?} those that are there, got {}", answer.describe())))
    }

    /// The catalog, page by page, as far as it is about repositories that are known here.
    pub(super) fn catalog(&mut self, page: usize) -> Result<()> {
        let last = if self.prefix.is_empty() { String::new() } else { format!("&last={}", self.prefix) };
        let (mut found, mut next) = (Vec::new(), Some(format!("/v2/_catalog?n={page}{last}")));
        while let Some(target) = next {
            let answer = self.ask(&self.request("GET", &target))?;
            expect(&answer, &[(200, "")])?;
            let names = texts(&answer, "repositories")?;
            let (own, others): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| name.starts_with(&self.prefix));
            found.extend(own);
            next = next_link(&answer).filter(|_| others.is_empty());
        }
        let named = |least: Is| {
            let those = self.repos.iter().filter(move |repo| repo.any_manifest() >= least);
            those.map(|repo| repo.name.clone()).collect::<BTreeSet<_>>()
        };
        let (sure, possible) = (named(Is::Yes), named(Is::Maybe));
        let names: BTreeSet<_> = found.iter().cloned().collect();
        if found.is_sorted() && names.len() == found.len() && sure.is_subset(&names) && names.is_subset(&possible) {
            return Ok(());
        }
        Err(Failure::new(format!("expected the repositories {sure:?}, got {found:?}")))
    }

    /// All that the model knows of is there, and nothing that it says is not.
    pub fn whole(&mut self) -> Result<()> {
        self.catalog(2)?;
        for repo in 0..self.repos.len() {
            self.all_tags(repo, 2)?;
            for manifest in 0..self.content.manifests.len() {
                self.read_manifest("GET", repo, super::op::Name::Digest(manifest))?;
                self.referrers(repo, manifest, None)?;
            }
            for tag in 0..super::op::TAGS {
                self.read_manifest("GET", repo, super::op::Name::Tag(tag))?;
            }
            for blob in 0..self.content.blobs.len() {
                self.get(repo, blob)?;
            }
        }
        Ok(())
    }

    /// Deletes every manifest, with what tags point at it, and then asks whether any is left.
    pub fn delete_all(&mut self) -> Result<()> {
        for repo in 0..self.repos.len() {
            (0..self.content.manifests.len()).rev().try_for_each(|manifest| self.delete_manifest(repo, manifest))?;
        }
        self.catalog(3)
    }
}
