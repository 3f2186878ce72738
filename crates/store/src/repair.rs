//! Mending what a check has found. Each step looks again before it acts, and takes nothing away that is whole: a damaged file goes to the quarantine, and
//! so does one that nothing names.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use wharf_oci::{Digest, RepositoryName, Tag};

use crate::index::{BlobRecord, Mend, NewBlob, Place};
use crate::scrub::Scrub;
use crate::{Location, Result, Store, StoreError};

/// One thing to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Repair {
    /// Put a blob aside whose file, or whose bytes in the index, are not what they should be: it answers 404 until it is pushed again.
    PutAside {
        /// SHA-256.
        digest: Digest,
        /// Its file's place; `None`: in the index.
        location: Option<String>,
        /// Its length in bytes.
        size: u64,
    },
    /// Take a file that nothing names for the blob that it is, and that manifests name.
    Adopt {
        /// SHA-256.
        digest: Digest,
        /// Its place.
        location: String,
        /// Its length in bytes.
        size: u64,
        /// Repositories whose manifests name it.
        repositories: Vec<RepositoryName>,
    },
    /// Move a file that nothing names to the quarantine.
    MoveAway {
        /// Its place.
        location: String,
    },
    /// Let a repository hold a blob that its manifests name.
    Link {
        /// The repository.
        repository: RepositoryName,
        /// The blob.
        digest: Digest,
    },
    /// Remove a manifest whose bytes are wrong, with its tags.
    RemoveManifest {
        /// The repository.
        repository: RepositoryName,
        /// What it should be.
        digest: Digest,
    },
    /// Note anew what a manifest names.
    Derive {
        /// The repository.
        repository: RepositoryName,
        /// The manifest.
        digest: Digest,
    },
    /// Remove a tag that leads nowhere.
    RemoveTag {
        /// The repository.
        repository: RepositoryName,
        /// The tag.
        tag: Tag,
    },
    /// Remove rows that belong to rows that are gone, and give names to repositories that have lost them.
    RemoveOrphans,
    /// Count again what repositories hold.
    Recount,
    /// Build the lookup tables of the index anew.
    Reindex,
}

impl Store {
    /// Does one thing that a check has found to be needed. Answers what was done, in words, or `None` when another look showed that it is not needed (any more).
    /// It may run beside requests.
    pub async fn repair(&self, repair: Repair) -> Result<Option<String>> {
        let done = self.repair_once(repair).await;
        // What is remembered may be what was wrong.
        self.hot.clear();
        done
    }

    /// Places that uploads are writing to, of which the index may not know yet.
    pub fn writing(&self) -> HashSet<Location> {
        self.uploads.locations()
    }

    async fn repair_once(&self, repair: Repair) -> Result<Option<String>> {
        let mend = match repair {
            Repair::PutAside { digest, location: Some(location), size } => return self.put_aside(digest, location, size).await,
            Repair::Adopt { digest, location, size, repositories } => {
                return self.adopt(digest, location, size, repositories).await;
            }
            Repair::MoveAway { location } => return self.move_away(Location(location)).await,
            Repair::PutAside { digest, location: None, .. } => Mend::PutAside { digest },
            Repair::Link { repository, digest } => Mend::Link { repository, digest },
            Repair::RemoveManifest { repository, digest } => Mend::RemoveManifest { repository, digest },
            Repair::Derive { repository, digest } => Mend::Derive { repository, digest },
            Repair::RemoveTag { repository, tag } => Mend::RemoveTag { repository, tag },
            Repair::RemoveOrphans => Mend::RemoveOrphans,
            Repair::Recount => Mend::Recount,
            Repair::Reindex => Mend::Reindex,
        };
        self.index.mend(mend).await
    }

    async fn move_away(&self, location: Location) -> Result<Option<String>> {
        if !self.is_stray(&location).await? {
            return Ok(None);
        }
        self.blobs.quarantine(&location).await?;
        Ok(Some(format!("moved the file blobs/{} to the quarantine", location.0)))
    }

    async fn put_aside(&self, digest: Digest, location: String, size: u64) -> Result<Option<String>> {
        let record = BlobRecord { sha256: digest, size, place: Place::Store(Location(location)), cached: false };
        match self.scrub(&record, u64::MAX).await? {
            Scrub::Damaged => Ok(Some(format!("put blob {digest} aside: it is not here until it is pushed again"))),
            Scrub::Sound | Scrub::Gone => Ok(None),
        }
    }

    /// Whether a file is nobody's: no upload writes it, and the index does not know it.
    async fn is_stray(&self, location: &Location) -> Result<bool> {
        // In this order: an upload that ends goes from the one to the other.
        if self.writing().contains(location) {
            return Ok(false);
        }
        Ok(!self.index.unknown_locations(vec![location.clone()]).await?.is_empty())
    }

    async fn adopt(
        &self,
        digest: Digest,
        location: String,
        size: u64,
        repositories: Vec<RepositoryName>,
    ) -> Result<Option<String>> {
        let location = Location(location);
        let record = BlobRecord { sha256: digest, size, place: Place::Store(location.clone()), cached: false };
        if !self.is_stray(&location).await? || !self.is_sound(&record, u64::MAX).await? {
            return Ok(None);
        }
        // Whoever left it may not have come to this.
        match self.blobs.stage(&location, size).await? {
            Some(mut staging) => staging.sync().await?,
            None => return Err(StoreError::Damaged { digest, what: "its file is gone".to_owned() }),
        }
        let mut held_by = Vec::new();
        for repository in repositories {
            let place = record.place.clone();
            let actor = "".into();
            let name = repository.to_string();
            let new = NewBlob { repository, sha256: digest, alias: None, size, place, upload: None, actor, origin: None };
            self.index.commit_blob(new).await?;
            held_by.push(name);
        }
        Ok(Some(format!("put blob {digest} into the index again, for {}", held_by.join(", "))))
    }
}
