//! Duties of an index towards upload sessions.

use std::time::Duration;

use wharf_oci::{Digest, SavedState};

use super::content::{actor, name};
use crate::{Index, Location, NewBlob, Place, Timestamp, UploadId, UploadRow};

/// A session that was just opened, of no bytes.
pub(super) fn row(repository: &str) -> UploadRow {
    let id: UploadId = uuid::Uuid::new_v4().to_string().parse().unwrap();
    let now = Timestamp::now();
    UploadRow {
        id,
        repository: name(repository),
        owner: actor(),
        location: Location(format!("upload-{id}")),
        offset: 0,
        state: None,
        created: now,
        progressed: now,
    }
}

pub(super) async fn sessions_are_found_again(index: &dyn Index) {
    let mut upload = row("upload");
    index.save_upload(upload.clone()).await.unwrap();
    assert_eq!(index.upload(upload.id).await.unwrap(), None, "progress alone makes no session");
    index.open_upload(upload.clone()).await.unwrap();
    assert_eq!(index.upload(upload.id).await.unwrap(), Some(upload.clone()));
    index.open_upload(UploadRow { offset: 7, ..upload.clone() }).await.unwrap();
    assert_eq!(index.upload(upload.id).await.unwrap(), Some(upload.clone()), "it is opened once");
    upload.offset = 5_000_000_000;
    upload.state = Some(SavedState { sha256: vec![1, 2, 3], sha512: Some(vec![4]) });
    upload.progressed = upload.progressed.after(Duration::from_secs(10));
    index.save_upload(upload.clone()).await.unwrap();
    assert_eq!(index.upload(upload.id).await.unwrap(), Some(upload.clone()));

    let idle = async |before| index.idle_uploads(before, 10).await.unwrap();
    assert_eq!(idle(upload.progressed).await, []);
    assert_eq!(idle(upload.progressed.after(Duration::from_millis(1))).await, std::slice::from_ref(&upload));
    let later = upload.created.after(Duration::from_millis(1));
    assert_eq!(index.uploading(later, upload.created).await.unwrap(), [name("upload")]);
    assert_eq!(index.uploading(upload.created, upload.created).await.unwrap(), []);
    assert_eq!(index.uploading(later, upload.progressed).await.unwrap(), []);
    assert_eq!(index.unknown_locations(vec![upload.location.clone()]).await.unwrap(), []);
    assert!(index.delete_upload(upload.id).await.unwrap());
    assert!(!index.delete_upload(upload.id).await.unwrap());
    assert_eq!(index.upload(upload.id).await.unwrap(), None);
    assert_eq!(index.unknown_locations(vec![upload.location.clone()]).await.unwrap(), [upload.location]);
}

pub(super) async fn a_finished_session_is_gone(index: &dyn Index) {
    let upload = row("upload/finish");
    index.open_upload(upload.clone()).await.unwrap();
    let blob = NewBlob {
        repository: upload.repository.clone(),
        sha256: Digest::sha256(b"finished"),
        alias: None,
        size: 8,
        place: Place::Store(upload.location.clone()),
        upload: Some(upload.id),
        actor: actor(),
        origin: None,
    };
    let record = index.commit_blob(blob).await.unwrap();
    assert_eq!(record.place, Place::Store(upload.location.clone()));
    index.save_upload(upload.clone()).await.unwrap();
    assert_eq!(index.upload(upload.id).await.unwrap(), None, "a late note must not bring it back");
    assert!(!index.delete_upload(upload.id).await.unwrap(), "its bytes are the blob's now");
    assert_eq!(index.unknown_locations(vec![upload.location]).await.unwrap(), []);
}
