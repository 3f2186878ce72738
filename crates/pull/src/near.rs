//! Manifests and configurations, from the layout where it has them.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use wharf_client::{Chunks, ClientError, Source};
use wharf_oci::{Descriptor, Digest, Layout, media_type};

use crate::fetch::partial;

/// A source in front of which a layout stands.
pub struct Near<'a> {
    far: Box<dyn Source + 'a>,
    layout: Option<Layout>,
    /// Where configurations are put that will be fetched anyway; `None` where that is not for this process alone.
    staging: Option<PathBuf>,
    /// Bytes of manifests.
    received: AtomicU64,
    staged: Mutex<BTreeSet<Digest>>,
}

impl<'a> Near<'a> {
    /// The source `far`, with a layout that may have some of it, and where what is received waits to become part of that.
    pub fn new(far: Box<dyn Source + 'a>, layout: Option<Layout>, staging: PathBuf) -> Self {
        Self { far, layout, staging: Some(staging), received: AtomicU64::new(0), staged: Mutex::default() }
    }

    /// Keeps nothing that it reads.
    pub fn keep_nothing(&mut self) {
        self.staging = None;
    }

    /// Bytes of manifests that came from the source.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Blobs that came from the source and wait in the staging folder.
    pub fn staged(&self) -> BTreeSet<Digest> {
        self.staged.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Source for Near<'_> {
    async fn document(&self, descriptor: &Descriptor) -> Result<Bytes, ClientError> {
        if let Some(Ok(bytes)) = self.layout.as_ref().map(|layout| layout.read(descriptor)) {
            return Ok(bytes.into());
        }
        let bytes = self.far.document(descriptor).await?;
        if media_type::is_manifest(&descriptor.media_type) {
            self.received.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        } else if let Some(staging) = &self.staging
            && fs::write(staging.join(partial(&descriptor.digest)), &bytes).is_ok()
        {
            // A configuration is one of the blobs that are fetched later. Where this fails, so does that, and tells why.
            self.staged.lock().unwrap_or_else(PoisonError::into_inner).insert(descriptor.digest);
        }
        Ok(bytes)
    }

    async fn blob(&self, descriptor: &Descriptor, offset: u64) -> Result<Chunks, ClientError> {
        self.far.blob(descriptor, offset).await
    }

    fn check(&self, descriptor: &Descriptor) -> Result<(), ClientError> {
        self.far.check(descriptor)
    }

    async fn verify(&self, descriptor: &Descriptor) -> Result<(), ClientError> {
        self.far.verify(descriptor).await
    }
}
