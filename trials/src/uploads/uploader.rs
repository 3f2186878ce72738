//! One who uploads.

use std::time::Instant;

use fastrand::Rng;
use wharf_tests::{Server, sha256, with_query};

use super::place;
use crate::client::{Client, expect};
use crate::failure::{Context, Result};

/// Uploads that were left lying and are looked at in the end, one in so many.
const LOOKED_AT: u64 = 100;

/// One who uploads to a repository of its own, over one connection.
pub(super) struct Uploader {
    pub(super) client: Client,
    random: Rng,
    repo: String,
    /// Blobs that are there, and their bytes.
    pub(super) stored: u64,
    pub(super) bytes: u64,
    /// Uploads that were left lying, or came with a wrong digest.
    pub(super) faults: u64,
    /// Places of some that were left lying.
    pub(super) left: Vec<String>,
    /// Seconds that each whole upload took.
    times: Vec<f32>,
}

impl Uploader {
    pub(super) fn new(server: &Server, number: usize, random: Rng) -> Self {
        let (client, repo) = (Client::new(server.address()), format!("small/{number}"));
        Self { client, random, repo, stored: 0, bytes: 0, faults: 0, left: Vec::new(), times: Vec::new() }
    }

    /// One upload, of any kind.
    pub(super) fn upload(&mut self) -> Result<()> {
        // Most are kept in the index, some in files.
        let size = if self.random.u8(..10) == 0 { self.random.usize(4_097..8_000) } else { self.random.usize(16..2_000) };
        let mut blob = vec![b'x'; size];
        self.random.fill(&mut blob[..16]);
        let began = Instant::now();
        match self.random.u8(..20) {
            0..8 => self.at_once(&blob)?,
            8..13 => self.in_pieces(&blob, 0)?,
            13..16 => self.in_pieces(&blob, size / 2)?,
            16 => return self.leave(&[]),
            17 | 18 => return self.leave(&blob),
            _ => return self.wrong(&blob),
        }
        self.times.push(began.elapsed().as_secs_f32());
        self.stored += 1;
        self.bytes += size as u64;
        Ok(())
    }

    fn uploads(&self, query: &str) -> String {
        format!("/v2/{}/blobs/uploads/{query}", self.repo)
    }

    fn at_once(&mut self, blob: &[u8]) -> Result<()> {
        let request = self.client.request("POST", &self.uploads(&format!("?digest={}", sha256(blob)))).body(blob);
        expect(&self.client.send(&request)?, &[(201, "")]).context("an upload at once")
    }

    fn begin(&mut self) -> Result<String> {
        let request = self.client.request("POST", &self.uploads(""));
        let begun = self.client.send(&request)?;
        expect(&begun, &[(202, "")]).context("beginning an upload")?;
        Ok(place(&begun))
    }

    fn patch(&mut self, location: &str, piece: &[u8]) -> Result<String> {
        let request = self.client.request("PATCH", location).body(piece);
        let answer = self.client.send(&request)?;
        expect(&answer, &[(202, "")]).context("a piece")?;
        Ok(place(&answer))
    }

    fn in_pieces(&mut self, blob: &[u8], first: usize) -> Result<()> {
        let mut location = self.begin()?;
        if first > 0 {
            location = self.patch(&location, &blob[..first])?;
        }
        let request = self.client.request("PUT", &with_query(&location, &format!("digest={}", sha256(blob))));
        let request = request.body(&blob[first..]);
        expect(&self.client.send(&request)?, &[(201, "")]).context("the end of an upload")
    }

    /// Begins an upload, with a piece or without, and never comes back to it.
    fn leave(&mut self, piece: &[u8]) -> Result<()> {
        let mut location = self.begin()?;
        if !piece.is_empty() {
            location = self.patch(&location, piece)?;
        }
        if self.faults.is_multiple_of(LOOKED_AT) {
            self.left.push(location);
        }
        self.faults += 1;
        Ok(())
    }

    fn wrong(&mut self, blob: &[u8]) -> Result<()> {
        let request = self.client.request("POST", &self.uploads(&format!("?digest={}", sha256(b"other")))).body(blob);
        self.faults += 1;
        expect(&self.client.send(&request)?, &[(400, "DIGEST_INVALID")]).context("an upload with a wrong digest")
    }
}

/// Seconds that a whole upload took on average, in the first tenth and in the last.
pub(super) fn tenths(uploaders: &[Uploader]) -> [f64; 2] {
    let mean = |part: fn(&[f32]) -> &[f32]| {
        let times: Vec<f32> = uploaders.iter().flat_map(|uploader| part(&uploader.times)).copied().collect();
        times.iter().map(|time| f64::from(*time)).sum::<f64>() / times.len().max(1) as f64
    };
    [mean(|times| &times[..times.len() / 10]), mean(|times| &times[times.len() - times.len() / 10..])]
}
