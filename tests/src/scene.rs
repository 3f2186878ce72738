//! A stage for bad input: what was there before it must be all that is there after it.

use std::path::PathBuf;

use serde_json::json;

use crate::{Config, Program, Repo, Server, eventually};

/// A fresh server, and what its storage held before anything was sent.
pub struct Scene {
    /// The server. It keeps a file for every blob, so that what is left behind can be seen.
    pub server: Server,
    before: Vec<PathBuf>,
}

impl Scene {
    /// Starts it.
    #[expect(clippy::new_without_default, reason = "it starts a process")]
    pub fn new() -> Self {
        let server = Server::launch(Program::Wharf, Config::default().with_files());
        let before = server.content_files();
        Self { server, before }
    }

    /// The repository that is used throughout.
    pub fn repo(&self) -> Repo<'_> {
        self.server.repo("app")
    }

    /// No repository, no tag, no file, and the server answers. Files may go a moment after the answer.
    #[track_caller]
    pub fn expect_nothing_left(&self) {
        let catalog = self.server.get("/v2/_catalog").send().expect(200);
        assert_eq!(catalog.json(), json!({"repositories": []}));
        let tags = self.repo().tags("");
        assert!(tags.status == 404 || tags.json()["tags"] == json!([]), "{}", tags.describe());
        eventually("no file is left", || self.server.content_files() == self.before);
        let beside: Vec<_> =
            std::fs::read_dir(self.server.root().parent().expect("a folder")).expect("list it").flatten().collect();
        assert_eq!(beside.len(), 3, "beside the storage there are only the configuration and the log: {beside:?}");
    }

    /// The session is gone.
    #[track_caller]
    pub fn expect_no_session(&self, location: &str) {
        self.repo().upload_status(location).expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    }

    /// Cancels a session.
    #[track_caller]
    pub fn cancel(&self, location: &str) {
        self.server.delete(location).send().expect(204);
    }
}
