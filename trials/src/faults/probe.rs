//! Somebody who asks for what is there, and pushes something new, while something is wrong.

use std::time::{Duration, Instant};

use fastrand::Rng;
use wharf_tests::{Image, OCI_MANIFEST, Request, Response, Server, sha256};

use super::trouble::Trouble;
use crate::client::{Answers, outcome};
use crate::failure::{Failure, Result};

/// Nobody waits longer for an answer, whatever is wrong.
const PATIENCE: Duration = Duration::from_secs(15);

/// Asks and changes, one request after the other.
pub struct Probe {
    /// What is there from the beginning to the end.
    stays: Image,
    random: Rng,
    /// Blobs that were acknowledged; each is named by a manifest of its own.
    kept: Vec<Image>,
    /// Statuses since they were last taken.
    pub answers: Answers,
    /// The longest that an answer took.
    pub slowest: Duration,
    /// What the last attempt was told.
    pub last: String,
}

impl Probe {
    /// Pushes what stays.
    pub fn new(server: &Server, random: &mut Rng) -> Result<Self> {
        let mut random = random.fork();
        let stays = image(&mut random, &[300_000, 40]);
        server.repo("probe").push("stays", &stays);
        let (answers, slowest, last) = (Answers::default(), Duration::ZERO, String::new());
        Ok(Self { stays, random, kept: Vec::new(), answers, slowest, last })
    }

    /// Asks for what needs no disk, and for what is stored.
    pub fn ask(&mut self, server: &Server, trouble: Trouble) -> Result<()> {
        // Who has no descriptor for a connection lets it wait.
        if trouble != Trouble::Descriptors {
            let answer = self.send(&server.get("/v2/"))?.ok_or_else(|| Failure::new("no answer to GET /v2/"))?;
            if answer.status != 200 {
                return Err(Failure::new(answer.describe()));
            }
        }
        let repo = server.repo("probe");
        let layer = &self.stays.layers[self.random.usize(..2)];
        let manifest = self.random.bool();
        let (path, bytes) = match manifest {
            true => (repo.manifest_path("stays"), &self.stays.manifest),
            false => (repo.blob_path(&sha256(layer)), layer),
        };
        let bytes = bytes.clone();
        match self.send(&server.get(&path))? {
            Some(answer) if answer.status == 200 && answer.body == bytes => Ok(()),
            Some(answer) if trouble.keeps_from_reading() => expect_reason(&answer),
            None if trouble.keeps_from_reading() => Ok(()),
            Some(answer) => Err(Failure::new(format!("a pull of what is there: {}", answer.describe()))),
            None => Err(Failure::new("no answer to a pull of what is there")),
        }
    }

    /// Pushes something, and remembers it when all of it was acknowledged.
    pub fn change(&mut self, server: &Server, trouble: Trouble) -> Result<()> {
        let new = image(&mut self.random, &[20_000]);
        if self.push(server, &new)? {
            self.kept.push(new);
        } else if trouble == Trouble::Index && self.last.contains("no answer") {
            return Err(Failure::new("no answer to a push"));
        }
        Ok(())
    }

    /// Whether everything goes through, as if nothing had been wrong.
    pub fn everything_works(&mut self, server: &Server) -> Result<bool> {
        let new = image(&mut self.random, &[20_000]);
        if !self.push(server, &new)? {
            return Ok(false);
        }
        self.kept.push(new);
        let gone = self.random.usize(..self.kept.len());
        let digest = self.kept[gone].digest.clone();
        match self.send(&server.delete(&server.repo("probe").manifest_path(&digest)))? {
            Some(answer) if answer.status == 202 => drop(self.kept.swap_remove(gone)),
            Some(answer) => {
                self.last = answer.describe();
                return Ok(false);
            }
            None => return Ok(false),
        }
        self.answers = Answers::default();
        Ok(true)
    }

    /// Everything that was acknowledged, whole.
    pub fn everything_is_there(&self, server: &Server) -> Result<()> {
        let repo = server.repo("probe");
        for image in self.kept.iter().chain([&self.stays]) {
            let manifest = repo.manifest(&image.digest);
            if manifest.status != 200 || manifest.body != image.manifest {
                return Err(Failure::new(format!("a manifest that was acknowledged: {}", manifest.describe())));
            }
            for blob in image.blobs() {
                let found = repo.blob(&sha256(blob));
                if found.status != 200 || found.body != *blob {
                    return Err(Failure::new(format!("{} bytes that were acknowledged: {}", blob.len(), found.describe())));
                }
            }
        }
        Ok(())
    }

    /// Whether all of an image was acknowledged.
    fn push(&mut self, server: &Server, image: &Image) -> Result<bool> {
        let repo = server.repo("probe");
        for blob in image.blobs() {
            let request = server.post(&repo.uploads_path(&format!("digest={}", sha256(blob)))).body(blob);
            if !self.is_acknowledged(&request)? {
                return Ok(false);
            }
        }
        self.is_acknowledged(&repo.put_request(&image.digest, OCI_MANIFEST, &image.manifest))
    }

    fn is_acknowledged(&mut self, request: &Request<'_>) -> Result<bool> {
        match self.send(request)? {
            Some(answer) if answer.status == 201 => Ok(true),
            Some(answer) => {
                self.last = answer.describe();
                expect_reason(&answer).map(|()| false)
            }
            None => {
                self.last = "no answer".to_owned();
                Ok(false)
            }
        }
    }

    /// Sends a request; `None` when the connection ended without a whole answer.
    fn send(&mut self, request: &Request<'_>) -> Result<Option<Response>> {
        let began = Instant::now();
        let answer = request.try_send().ok();
        let took = began.elapsed();
        self.slowest = self.slowest.max(took);
        if took > PATIENCE {
            return Err(Failure::new(format!("an answer took {took:?}")));
        }
        *self.answers.0.entry(answer.as_ref().map_or(0, |answer| answer.status)).or_default() += 1;
        Ok(answer)
    }
}

/// An error that is the registry's own, with a code of the specification's kind.
fn expect_reason(answer: &Response) -> Result<()> {
    match outcome(answer) {
        (500.., Some(_)) => Ok(()),
        _ => Err(Failure::new(format!("that says nothing: {}", answer.describe()))),
    }
}

/// A new image with layers of these sizes.
fn image(random: &mut Rng, sizes: &[usize]) -> Image {
    let config = format!(r#"{{"architecture":"arm64","os":"linux","number":{}}}"#, random.u64(..));
    let layers = sizes.iter().map(|size| std::iter::repeat_with(|| random.u8(..)).take(*size).collect()).collect();
    Image::of_config(config.into(), layers)
}
