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

/// An index of the first schema is brought to the newest, with all that is in it.
#[tokio::test]
async fn an_older_index_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.sqlite");
    let old = rusqlite::Connection::open(&path).unwrap();
    let first = include_str!("../src/index/sqlite/schema/1.sql");
    old.execute_batch(&format!(
        "PRAGMA journal_mode = WAL; {first} PRAGMA application_id = 0x57687266; PRAGMA user_version = 1;"
    ))
    .unwrap();
    old.execute_batch("INSERT INTO repositories (name, created_at) VALUES ('kept', 1)").unwrap();
    drop(old);
    let index = Sqlite::open(folder.path()).unwrap();
    assert!(index.repository_exists(&"kept".parse().unwrap()).await.unwrap());
    assert_eq!(index.cached_bytes().await.unwrap(), 0);
    index.close().await;
    let newer = rusqlite::Connection::open(&path).unwrap();
    newer.execute_batch("PRAGMA user_version = 99").unwrap();
    drop(newer);
    let refused = Sqlite::open(folder.path()).map(drop).unwrap_err();
    assert!(std::error::Error::source(&refused).unwrap().to_string().contains("schema version 99"), "{refused:?}");
}
