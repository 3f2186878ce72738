//! Blobs: asked for, read, mounted, deleted.

use wharf_tests::{Response, path_of};

use super::player::{Player, by_presence};
use super::state::Is;
use crate::client::{expect, expect_header};
use crate::failure::{Failure, Result};

impl Player<'_> {
    fn blob_path(&self, repo: usize, blob: usize) -> String {
        self.path(repo, &format!("blobs/{}", self.content.blobs[blob].digest))
    }

    /// An answer about a blob is the one it must be; answers whether it says that the blob is there. What is gone is noted.
    fn judge(&mut self, repo: usize, blob: usize, answer: &Response, there: u16) -> Result<bool> {
        let is = self.repos[repo].blob(blob);
        expect(answer, &by_presence(is, (there, ""), &[(404, "BLOB_UNKNOWN")]))?;
        if answer.status == 404 {
            self.repos[repo].lose_blob(self.content, blob);
            return Ok(false);
        }
        expect_header(answer, "Docker-Content-Digest", &self.content.blobs[blob].digest)?;
        self.repos[repo].see_blob(blob);
        Ok(true)
    }

    pub(super) fn head(&mut self, repo: usize, blob: usize) -> Result<()> {
        let answer = self.ask(&self.request("HEAD", &self.blob_path(repo, blob)))?;
        if self.judge(repo, blob, &answer, 200)? {
            expect_header(&answer, "Content-Length", &self.content.blobs[blob].bytes.len().to_string())?;
            let until = self.until();
            self.repos[repo].keep_blob(blob, until);
        }
        Ok(())
    }

    pub(super) fn get(&mut self, repo: usize, blob: usize) -> Result<()> {
        let answer = self.ask(&self.request("GET", &self.blob_path(repo, blob)))?;
        if self.judge(repo, blob, &answer, 200)? && answer.body != self.content.blobs[blob].bytes {
            return Err(Failure::new(format!("other bytes: {}", answer.describe())));
        }
        Ok(())
    }

    pub(super) fn half(&mut self, repo: usize, blob: usize) -> Result<()> {
        let length = self.content.blobs[blob].bytes.len();
        let (first, last) = (length / 2, length - 1);
        let request = self.request("GET", &self.blob_path(repo, blob)).header("Range", format!("bytes={first}-{last}"));
        let answer = self.ask(&request)?;
        if self.judge(repo, blob, &answer, 206)? {
            expect_header(&answer, "Content-Range", &format!("bytes {first}-{last}/{length}"))?;
            if answer.body != self.content.blobs[blob].bytes[first..] {
                return Err(Failure::new(format!("other bytes: {}", answer.describe())));
            }
        }
        Ok(())
    }

    pub(super) fn mount(&mut self, repo: usize, blob: usize, from: Option<usize>) -> Result<()> {
        let query = from.map(|from| format!("&from={}", self.repos[from].name)).unwrap_or_default();
        let digest = &self.content.blobs[blob].digest;
        let answer = self.ask(&self.request("POST", &self.path(repo, &format!("blobs/uploads/?mount={digest}{query}"))))?;
        let held = match from {
            Some(from) => self.repos[from].blob(blob),
            // Others have repositories of which nothing is known here.
            None if self.lease.is_some() => self.repos.iter().map(|repo| repo.blob(blob)).max().unwrap_or(Is::No).max(Is::Maybe),
            None => self.repos.iter().map(|repo| repo.blob(blob)).max().unwrap_or(Is::No),
        };
        expect(&answer, &by_presence(held, (201, ""), &[(202, "")]))?;
        if answer.status == 201 {
            self.linked(repo, blob, &answer)
        } else {
            let cancelled = self.ask(&self.request("DELETE", &path_of(answer.header("Location"))))?;
            expect(&cancelled, &[(204, "")])
        }
    }

    /// A 201 that says that a repository has a blob.
    pub(super) fn linked(&mut self, repo: usize, blob: usize, answer: &Response) -> Result<()> {
        let place = self.blob_path(repo, blob);
        if path_of(answer.header("Location")) != place {
            return Err(Failure::new(format!("expected Location {place}, got {}", answer.describe())));
        }
        expect_header(answer, "Docker-Content-Digest", &self.content.blobs[blob].digest)?;
        let until = self.until();
        self.repos[repo].keep_blob(blob, until);
        Ok(())
    }

    pub(super) fn delete_blob(&mut self, repo: usize, blob: usize) -> Result<()> {
        let answer = self.ask(&self.request("DELETE", &self.blob_path(repo, blob)))?;
        let absent = self.absent(repo, "BLOB_UNKNOWN");
        let named = self.repos[repo].is_named(self.content, blob);
        let unnamed = by_presence(self.repos[repo].blob(blob), (202, ""), &absent);
        expect(&answer, &by_presence(named, (405, "UNSUPPORTED"), &unnamed))?;
        match answer.status {
            405 => {}
            404 if crate::client::outcome(&answer).1.as_deref() == Some("NAME_UNKNOWN") => self.repos[repo].lose_all(),
            _ => self.repos[repo].lose_blob(self.content, blob),
        }
        Ok(())
    }
}
