//! The embedded engines, SQLite and files, against the suites that every engine must pass.

use std::sync::Arc;

use wharf_store::{Files, Index, Sqlite, conformance};

#[tokio::test]
async fn files_are_a_blob_store() {
    let folder = tempfile::tempdir().unwrap();
    conformance::blob_store(&Files::open(folder.path(), false).unwrap()).await;
}

// With threads, so that those who race do.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sqlite_is_an_index() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Arc::new(Sqlite::open(folder.path()).unwrap()) as Arc<dyn Index>;
    let reopen = |old: Arc<dyn Index>| async move {
        old.close().await;
        open()
    };
    conformance::index(open(), reopen).await;
}

#[tokio::test]
async fn a_foreign_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("index.sqlite"), b"this is no database at all, but somebody's notes").unwrap();
    assert!(Sqlite::open(folder.path()).is_err());
}
