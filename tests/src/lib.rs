//! What the end-to-end tests share: a real registry process per test, an HTTP client that hides nothing, and builders
//! for the content that is pushed.
//!
//! Every test starts its own server on a port the kernel chose, in a temporary folder that disappears with it, so tests
//! may run side by side. With `WHARF_TESTS_AGAINST=docker-registry` in the environment the same tests run against CNCF
//! distribution instead: what fails there and not here is either a decision of ours or a fault of the harness.

mod bitbake;
mod build;
mod check;
pub mod clients;
mod command;
mod config;
mod content;
mod deploy;
mod guarded;
mod http;
mod machine;
mod multipart;
mod program;
mod proxy;
mod repo;
mod rootfs;
mod scene;
mod scripted;
mod server;
mod small_disk;
mod stage;
mod tls;
mod token_server;
mod trace;
mod upstream;
mod vm;

pub use bitbake::{BitBake, Plan};
pub use build::{Background, Build, pack};
pub use check::{CODES, eventually, within};
pub use command::{Ran, Wharf, run_tool};
pub use config::Config;
pub use content::{
    DOCKER_LIST, DOCKER_MANIFEST, EMPTY_JSON, Image, OCI_CONFIG, OCI_EMPTY, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, archive,
    artifact, descriptor, empty_index, index, random, sha256, sha512,
};
pub use deploy::{Deploy, image_for, image_of, write_blob, write_index, write_layout};
pub use guarded::{Guarded, SECRET, basic, bearer};
pub use http::{Connection, Framing, Request, Response};
pub use machine::{guests, vdkr};
pub use multipart::{Part, parts};
pub use program::{Launch, Program};
pub use proxy::{Fault, Proxy};
pub use repo::{Repo, next_link, path_of, uuid_in, with_query};
pub use rootfs::{CAP_NET_RAW, Facts, RootFs};
pub use scene::Scene;
pub use scripted::{Asked, Reply, Scripted};
pub use server::Server;
pub use small_disk::SmallDisk;
pub use stage::Stage;
pub use tls::{certify, certify_between};
pub use token_server::{Gate, IDENTITY, TokenServer, USER_SECRET, forward};
pub use trace::{Answer, Change, Trace};
pub use upstream::Upstream;
pub use vm::Vm;
