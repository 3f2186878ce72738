//! Where an image comes from: a layout or archive of this machine, or another registry.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use wharf_oci::{Descriptor, Layout, Place, Reference, RepositoryName};

use crate::body::Chunks;
use crate::{ClientError, Registry};

/// Bytes of a local blob that are read at once.
const PIECE: usize = 256 << 10;
/// Pieces that are read ahead of the network.
const AHEAD: usize = 2;

/// Content by descriptor.
#[async_trait]
pub trait Source: Send + Sync {
    /// A manifest or configuration, compared with its digest.
    async fn document(&self, descriptor: &Descriptor) -> Result<Bytes, ClientError>;

    /// A blob's bytes from `offset` on. They are compared with the digest by who receives them in the end.
    async fn blob(&self, descriptor: &Descriptor, offset: u64) -> Result<Chunks, ClientError>;

    /// All of a blob that fits into memory easily.
    async fn whole(&self, descriptor: &Descriptor) -> Result<Bytes, ClientError> {
        let mut bytes = BytesMut::new();
        let mut chunks = self.blob(descriptor, 0).await?;
        while let Some(chunk) = chunks.next().await {
            bytes.extend_from_slice(&chunk?);
        }
        Ok(bytes.freeze())
    }

    /// Looks whether a blob is there and as long as it should be, as far as that costs nothing.
    fn check(&self, descriptor: &Descriptor) -> Result<(), ClientError>;

    /// Reads a blob that the receiver says differs from its digest; an error when it does so here.
    async fn verify(&self, descriptor: &Descriptor) -> Result<(), ClientError>;

    /// The repository of the same registry that holds the content already.
    fn repository(&self) -> Option<&RepositoryName> {
        None
    }
}

#[async_trait]
impl<T: Source + ?Sized> Source for &T {
    async fn document(&self, descriptor: &Descriptor) -> Result<Bytes, ClientError> {
        (**self).document(descriptor).await
    }

    async fn blob(&self, descriptor: &Descriptor, offset: u64) -> Result<Chunks, ClientError> {
        (**self).blob(descriptor, offset).await
    }

    async fn whole(&self, descriptor: &Descriptor) -> Result<Bytes, ClientError> {
        (**self).whole(descriptor).await
    }

    fn check(&self, descriptor: &Descriptor) -> Result<(), ClientError> {
        (**self).check(descriptor)
    }

    async fn verify(&self, descriptor: &Descriptor) -> Result<(), ClientError> {
        (**self).verify(descriptor).await
    }

    fn repository(&self) -> Option<&RepositoryName> {
        (**self).repository()
    }
}

#[async_trait]
impl Source for Layout {
    async fn document(&self, descriptor: &Descriptor) -> Result<Bytes, ClientError> {
        Ok(self.read(descriptor)?.into())
    }

    async fn blob(&self, descriptor: &Descriptor, offset: u64) -> Result<Chunks, ClientError> {
        let place = self.place(descriptor)?;
        let (sender, receiver) = tokio::sync::mpsc::channel(AHEAD);
        // Reading a file blocks, mostly for no time at all; a thread of its own for each blob is what the runtime would do as well.
        tokio::task::spawn_blocking(move || {
            let read = pieces(&place, offset, |piece| sender.blocking_send(Ok(piece)).is_ok());
            if let Err(source) = read {
                // Whoever does not listen any more does not miss it.
                let _ = sender.blocking_send(Err(ClientError::Read { what: place.path.display().to_string(), source }));
            }
        });
        Ok(Box::pin(futures_util::stream::unfold(receiver, |mut receiver| async {
            receiver.recv().await.map(|piece| (piece, receiver))
        })))
    }

    /// Read at once: a thread for it would take longer to come about.
    async fn whole(&self, descriptor: &Descriptor) -> Result<Bytes, ClientError> {
        let place = self.place(descriptor)?;
        let failed = |source| ClientError::Read { what: place.path.display().to_string(), source };
        let mut bytes = vec![0; usize::try_from(place.length).map_err(|error| failed(std::io::Error::other(error)))?];
        File::open(&place.path).and_then(|file| file.read_exact_at(&mut bytes, place.offset)).map_err(failed)?;
        Ok(bytes.into())
    }

    fn check(&self, descriptor: &Descriptor) -> Result<(), ClientError> {
        Ok(self.place(descriptor).map(|_| ())?)
    }

    async fn verify(&self, descriptor: &Descriptor) -> Result<(), ClientError> {
        Ok(Layout::verify(self, descriptor)?)
    }
}

/// Hands the bytes of a place from `offset` on to `take`, until it wants no more.
fn pieces(place: &Place, offset: u64, mut take: impl FnMut(Bytes) -> bool) -> std::io::Result<()> {
    let mut file = File::open(&place.path)?;
    file.seek(SeekFrom::Start(place.offset + offset))?;
    let mut left = place.length - offset;
    while left > 0 {
        let length = PIECE.min(usize::try_from(left).unwrap_or(PIECE));
        let mut piece = vec![0; length];
        file.read_exact(&mut piece)?;
        left -= length as u64;
        if !take(piece.into()) {
            break;
        }
    }
    Ok(())
}

/// A repository of another registry.
pub struct RepositorySource<'a> {
    /// The registry.
    pub registry: &'a Registry,
    /// The repository.
    pub repository: RepositoryName,
    /// It is the registry that the content goes to, too: blobs can be mounted.
    pub is_destination: bool,
}

#[async_trait]
impl Source for RepositorySource<'_> {
    async fn document(&self, descriptor: &Descriptor) -> Result<Bytes, ClientError> {
        let origin = || self.registry.address().origin();
        if descriptor.size > wharf_oci::MAX_MANIFEST as u64 {
            return Err(ClientError::Protocol { origin: origin(), what: format!("{} is too long", descriptor.digest) });
        }
        let bytes = if wharf_oci::media_type::is_manifest(&descriptor.media_type) {
            let reference = Reference::Digest(descriptor.digest);
            let found = self.registry.manifest(&self.repository, &reference).await?;
            found.map(|found| found.bytes)
        } else {
            self.registry.small_blob(&self.repository, descriptor).await?
        };
        let what = || format!("{} is missing in {}", descriptor.digest, self.repository);
        bytes.ok_or_else(|| ClientError::Protocol { origin: origin(), what: what() })
    }

    async fn blob(&self, descriptor: &Descriptor, offset: u64) -> Result<Chunks, ClientError> {
        self.registry.blob(&self.repository, descriptor, offset).await
    }

    fn check(&self, _: &Descriptor) -> Result<(), ClientError> {
        Ok(())
    }

    fn repository(&self) -> Option<&RepositoryName> {
        self.is_destination.then_some(&self.repository)
    }

    async fn verify(&self, descriptor: &Descriptor) -> Result<(), ClientError> {
        Err(ClientError::Content { origin: self.registry.address().origin(), digest: descriptor.digest })
    }
}
