//! The registry that serves in this process.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use wharf_registry::{Limits, Options, Policy, Running, Upstreams};
use wharf_store::Store;
use wharf_tests::{Connection, Image, OCI_MANIFEST, Request, path_of, sha256, with_query};

use super::UPLOAD;
use crate::targets::scratch;

/// Panics of all threads: those of the server's are nobody's to see but the hook's.
static PANICS: AtomicU64 = AtomicU64::new(0);

fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.fetch_add(1, Ordering::SeqCst);
            before(info);
        }));
    });
}

/// A registry with an image in it. Dropping it stops it and removes its storage.
pub(super) struct Host {
    address: SocketAddr,
    running: Option<Running>,
    runtime: Runtime,
    store: Arc<Store>,
    panics: u64,
    _folder: TempDir,
}

impl Host {
    pub(super) fn start() -> Self {
        count_panics();
        let folder = scratch();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let _inside = runtime.enter();
        // There are more uploads than anybody opens, for none of them is ever ended.
        let options = wharf_store::Options { uploads: 1 << 20, min_free: 0, ..Default::default() };
        let store = Arc::new(runtime.block_on(Store::open(folder.path(), options)).expect("a store"));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let running = wharf_registry::serve(store.clone(), options_of(listener)).expect("a server");
        drop(_inside);
        let host =
            Self { address, running: Some(running), runtime, store, panics: PANICS.load(Ordering::SeqCst), _folder: folder };
        host.push();
        host
    }

    /// The image that inputs may name: its configuration is `{}`, its one layer `abc`.
    fn push(&self) {
        let image = Image::of_config(b"{}".to_vec(), vec![b"abc".to_vec()]);
        for blob in image.blobs() {
            let target = format!("/v2/app/blobs/uploads/?digest={}", sha256(blob));
            assert_eq!(Request::new(self.address, "POST", &target).body(blob).send().status, 201);
        }
        let put = Request::new(self.address, "PUT", "/v2/app/manifests/v1").header("Content-Type", OCI_MANIFEST);
        assert_eq!(put.body(&image.manifest).send().status, 201);
    }

    pub(super) fn connect(&self) -> Connection {
        let mut connection = Connection::open(self.address).expect("connect");
        connection.accept_older();
        connection
    }

    /// The input with the place of an upload, begun for it, wherever it asks for one.
    pub(super) fn with_uploads(&self, data: &[u8]) -> Vec<u8> {
        let mut stream = data.to_vec();
        let Some(mut at) = find(&stream) else { return stream };
        let begun = Request::new(self.address, "POST", "/v2/app/blobs/uploads/").send();
        assert_eq!(begun.status, 202, "{}", begun.describe());
        let place = with_query(&path_of(begun.header("Location")), "");
        let place = place.trim_end_matches(['?', '&']).as_bytes();
        loop {
            stream.splice(at..at + UPLOAD.len(), place.iter().copied());
            match find(&stream) {
                Some(next) => at = next,
                None => return stream,
            }
        }
    }

    /// Nothing has broken, and others are answered.
    pub(super) fn check(&self) {
        let answer = Request::new(self.address, "GET", "/v2/").send();
        assert_eq!(answer.status, 200, "{}", answer.describe());
        assert_eq!(PANICS.load(Ordering::SeqCst), self.panics, "a panic in the server");
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            self.runtime.block_on(running.stop());
            self.runtime.block_on(self.store.close());
        }
    }
}

fn find(stream: &[u8]) -> Option<usize> {
    stream.windows(UPLOAD.len()).position(|found| found == UPLOAD)
}

fn options_of(listener: TcpListener) -> Options {
    let patience = Duration::from_secs(20);
    Options {
        listeners: vec![listener],
        tls: None,
        monitoring: None,
        owner: None,
        policy: Policy { read_only: false, deletes: true },
        guard: None,
        audit: None,
        upstreams: Upstreams::default(),
        limits: Limits { header_timeout: patience, body_timeout: patience, ..Default::default() },
        sparse_indexes: false,
        external: None,
        realm: None,
        extra_headers: Vec::new(),
        access_log: false,
        drain: Duration::from_secs(1),
        connections: 1000,
        workers: 1,
    }
}
