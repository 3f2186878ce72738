//! What is the same for every image of one run.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use jiff::ZonedDateTime;
use jiff::civil::DateTime;
use wharf_oci::Tag;

use super::branch;
use super::strategy::{Strategy, Token};
use crate::git::{self, Repository, Unknown};

/// The time and the repository of one run. The time is taken at once, so that every image of the run gets the same timestamp;
/// `git` is asked once, at the first need.
#[derive(Debug)]
pub struct Facts {
    /// Local time.
    time: DateTime,
    folder: PathBuf,
    repository: OnceLock<Repository>,
}

/// What a strategy asks for and does not get: a warning.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Skipped {
    /// No commit is known.
    #[error("no tag for the strategy `sha`: {0}")]
    Commit(Unknown),
    /// No branch is known.
    #[error("no tag for the strategy `branch`: {0}")]
    Branch(Unknown),
    /// The branch holds nothing that a tag may hold.
    #[error("no tag for the strategy `branch`: nothing of `{0}` can be in a tag")]
    BranchName(String),
    /// `arch` stands beside `latest` only.
    #[error("no tag for the strategy `arch`: it adds the architecture to every tag but `latest`, and there is no other")]
    Architecture,
}

impl Facts {
    /// The facts of a run that starts now, for the build in `topdir`; without one, in the current folder. An empty one counts as none.
    pub fn now(topdir: Option<&Path>) -> Self {
        Self::at(ZonedDateTime::now().datetime(), topdir)
    }

    /// As [`now`](Self::now), at another local time.
    pub fn at(time: DateTime, topdir: Option<&Path>) -> Self {
        let topdir = topdir.filter(|topdir| !topdir.as_os_str().is_empty()).map(Path::to_path_buf);
        // Warnings name the folder, and `.` would tell nobody which.
        let folder = topdir.or_else(|| std::env::current_dir().ok()).unwrap_or_else(|| PathBuf::from("."));
        Self { time, folder, repository: OnceLock::new() }
    }

    /// The warnings that a strategy gives rise to, for the run to say once.
    pub fn skipped(&self, strategy: &Strategy) -> Vec<Skipped> {
        let mut skipped = Vec::new();
        for token in strategy.tokens() {
            match token {
                Token::Commit => skipped.extend(self.commit().err()),
                Token::Branch => skipped.extend(self.branch().err()),
                Token::Architecture if matches!(strategy.tokens(), [Token::Latest, _] | [_, Token::Latest]) => {
                    skipped.push(Skipped::Architecture);
                }
                _ => {}
            }
        }
        skipped
    }

    /// Local time as a tag's text.
    pub(super) fn timestamp(&self) -> String {
        self.time.strftime("%Y%m%d-%H%M%S").to_string()
    }

    /// The short commit.
    pub(super) fn commit(&self) -> Result<&str, Skipped> {
        self.repository().commit.as_deref().map_err(|reason| Skipped::Commit(reason.clone()))
    }

    /// The branch as a tag.
    pub(super) fn branch(&self) -> Result<Tag, Skipped> {
        let name = self.repository().branch.as_deref().map_err(|reason| Skipped::Branch(reason.clone()))?;
        branch::as_tag(name).ok_or_else(|| Skipped::BranchName(name.to_owned()))
    }

    fn repository(&self) -> &Repository {
        self.repository.get_or_init(|| git::repository(&self.folder))
    }

    /// Facts of a repository that need not exist.
    #[cfg(test)]
    pub(super) fn with(repository: Repository) -> Self {
        let facts = Self::at(jiff::civil::date(2026, 1, 12).at(14, 30, 22, 0), None);
        facts.repository.get_or_init(|| repository);
        facts
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Run in a process of its own, for the time zone belongs to the whole process.
    #[test]
    #[ignore = "started by the test below"]
    fn prints_the_time() {
        println!("\nlocal time {}", Facts::now(None).timestamp());
    }

    #[test]
    fn local_time_follows_the_environment() {
        let local_time = |zone: &str| {
            let output = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "tags::facts::tests::prints_the_time", "--ignored", "--nocapture"])
                .env("TZ", zone)
                .output()
                .unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            let time = said.lines().find_map(|line| line.strip_prefix("local time ")).unwrap();
            DateTime::strptime("%Y%m%d-%H%M%S", time).unwrap()
        };
        let hours = |zone: &str| {
            let distance = local_time("UTC").until(local_time(zone)).unwrap().total(jiff::Unit::Hour).unwrap();
            // A second or two pass between the two runs.
            distance.round()
        };
        assert_eq!(hours("XYZ-5"), 5.0);
        assert_eq!(hours("XYZ+7"), -7.0);
        if Path::new("/usr/share/zoneinfo/Asia/Tokyo").exists() {
            assert_eq!(hours("Asia/Tokyo"), 9.0);
        }
    }

    #[test]
    fn an_empty_topdir_is_none() {
        assert_eq!(Facts::now(Some(Path::new(""))).folder, std::env::current_dir().unwrap());
        assert_eq!(Facts::now(Some(Path::new("/a"))).folder, Path::new("/a"));
    }
}
