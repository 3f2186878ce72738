//! What layers change, read from wherever they are.

use std::io::{self, Read};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::StreamExt;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use wharf_client::{ClientError, Source};
use wharf_layers::listing::Changeset;
use wharf_layers::packages::Collector;
use wharf_layers::toc::TocPlace;
use wharf_layers::{Decoded, LayersError};
use wharf_oci::{Descriptor, Hasher};

use super::pieces::section;
use crate::picture::Picture;
use crate::remote;
use crate::ui::{self, Failure};

/// Pieces of a layer that are read ahead of the thread that decompresses it.
const AHEAD: usize = 8;
/// Attempts at a layer without any progress in between.
const ATTEMPTS: u32 = 5;
/// Pause before the second of them, and as much longer before each further one.
const PAUSE: Duration = Duration::from_millis(250);

/// Reads layers, and learns which packages they list.
#[derive(Default)]
pub struct Layers {
    /// What was learned of packages.
    pub collector: Collector,
}

impl Layers {
    /// Nothing was read yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What a layer changes: by its table of contents where it has one, else by reading it.
    pub async fn read(&mut self, picture: &Picture, descriptor: &Descriptor) -> Result<Changeset, Failure> {
        if let Some(place) = TocPlace::of(descriptor) {
            match self.by_toc(picture, descriptor, &place).await {
                Ok(changes) => return Ok(changes),
                Err(Unlisted::Damaged(error)) => {
                    ui::detail(format_args!("The layer {} is read whole: {error}", descriptor.digest));
                }
                Err(Unlisted::Client(error)) => return Err(remote::failure(&error)),
            }
        }
        self.whole(&*picture.source(), descriptor).await
    }

    async fn by_toc(&mut self, picture: &Picture, descriptor: &Descriptor, place: &TocPlace) -> Result<Changeset, Unlisted> {
        let table = section(picture, descriptor, place.range()).await?;
        let (changes, wanted) = Changeset::of_toc(place, &table, &self.collector)?;
        for file in wanted {
            let bytes = section(picture, descriptor, file.range.clone()).await?;
            let damaged = || LayersError::Toc(format!("{} is not what it says", file.path));
            let content = file.decode(&bytes).ok_or_else(damaged)?;
            self.collector.take(&file.path, file.content, &content)?;
        }
        Ok(changes)
    }

    /// Reads a layer to its end. It is not kept: it is decompressed in a thread of its own while it comes, and compared with its digest.
    async fn whole(&mut self, source: &dyn Source, descriptor: &Descriptor) -> Result<Changeset, Failure> {
        let (sender, receiver) = channel(AHEAD);
        let mut collector = std::mem::take(&mut self.collector);
        let work = tokio::task::spawn_blocking(move || {
            let pipe = Pipe { receiver, current: Bytes::new() };
            let layer = Decoded::new(pipe).and_then(|decoded| Changeset::scan(decoded, &mut collector));
            (collector, layer)
        });
        let digest = feed(source, descriptor, sender).await;
        let failed = |error: &dyn std::error::Error| {
            Failure::new(format!("the layer {} cannot be read", descriptor.digest)).because(error)
        };
        let (collector, layer) = work.await.map_err(|error| failed(&error))?;
        self.collector = collector;
        match digest.map_err(|error| remote::failure(&error))? {
            Fed::Whole => layer.map_err(|error| failed(&error)),
            Fed::InPart => match layer {
                Err(error) => Err(failed(&error)),
                Ok(_) => Err(failed(&LayersError::Compression("something follows its end".to_owned()))),
            },
            Fed::Other => Err(Failure::new(format!("the layer {} is not what its digest says", descriptor.digest))),
        }
    }
}

/// Why a table of contents was of no use.
enum Unlisted {
    Client(ClientError),
    Damaged(LayersError),
}

impl From<ClientError> for Unlisted {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

impl From<LayersError> for Unlisted {
    fn from(error: LayersError) -> Self {
        Self::Damaged(error)
    }
}

/// How far a layer got.
enum Fed {
    /// All of it was taken, and it is what its digest says.
    Whole,
    /// Whoever takes it wanted no more.
    InPart,
    /// It has another digest.
    Other,
}

/// Sends a layer piece by piece. A failure is sent as well, so that what came before it is not taken for all.
async fn feed(source: &dyn Source, descriptor: &Descriptor, sender: Sender<io::Result<Bytes>>) -> Result<Fed, ClientError> {
    let algorithm = descriptor.digest.algorithm();
    let mut flow = Flow { sender, hasher: Hasher::new(algorithm), offset: 0 };
    let (mut reached, mut attempts) = (0, 0);
    loop {
        let error = match flow.on(source, descriptor).await {
            Ok(false) => return Ok(Fed::InPart),
            Ok(true) => {
                let is_right = flow.hasher.digest(algorithm).as_ref() == Some(&descriptor.digest);
                return Ok(if is_right { Fed::Whole } else { Fed::Other });
            }
            Err(error) => error,
        };
        attempts = if flow.offset > reached { 1 } else { attempts + 1 };
        reached = flow.offset;
        if attempts >= ATTEMPTS || !error.is_passing() {
            // When nobody listens any more the error is told all the same.
            let _ = flow.sender.send(Err(io::Error::other("the rest of it did not come"))).await;
            return Err(error);
        }
        tokio::time::sleep(PAUSE * attempts).await;
    }
}

/// A layer on its way.
struct Flow {
    sender: Sender<io::Result<Bytes>>,
    hasher: Hasher,
    /// Bytes that are under way already.
    offset: u64,
}

impl Flow {
    /// Sends the rest; false when it is not wanted any more.
    async fn on(&mut self, source: &dyn Source, descriptor: &Descriptor) -> Result<bool, ClientError> {
        let mut chunks = source.blob(descriptor, self.offset).await?;
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk?;
            self.hasher.update(&chunk);
            self.offset += chunk.len() as u64;
            if self.sender.send(Ok(chunk)).await.is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The other end, for the thread that decompresses.
struct Pipe {
    receiver: Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.receiver.blocking_recv() {
                Some(chunk) => self.current = chunk?,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}
