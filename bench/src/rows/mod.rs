//! The rows of the table, each in its own file.

use crate::bench::Bench;
use crate::failure::Result;
use crate::report::Report;

mod attacks;
mod blob_get;
mod collection;
mod command_push;
mod image_pull;
mod image_push;
mod large_get;
mod large_get_tls;
mod listing;
mod manifest_get;
mod memory;
mod pack;
mod seed;
mod start;
mod update;
mod upload;
mod upstream;
mod vdkr_images;
mod vdkr_memory;
mod vdkr_pull;
mod vdkr_run;
mod versions;

/// One row.
pub struct Row {
    /// What `--only` knows it by.
    pub name: &'static str,
    /// What is measured.
    pub title: &'static str,
    /// Measures it.
    pub run: fn(&Bench) -> Result<Report>,
}

/// Every row, in the order of the table.
pub const ROWS: &[Row] = &[
    Row { name: "manifest-get", title: "manifest GET by tag, 900 bytes, 32 connections", run: manifest_get::run },
    Row { name: "blob-get", title: "4 KiB blob GET, 32 connections", run: blob_get::run },
    Row { name: "large-get", title: "256 MiB blob GET, 4 connections", run: large_get::run },
    Row { name: "large-get-tls", title: "256 MiB blob GET over TLS, 4 connections", run: large_get_tls::run },
    Row { name: "upload", title: "256 MiB upload of random bytes, synced", run: upload::on_disk },
    Row { name: "upload-tmpfs", title: "256 MiB upload of random bytes, on tmpfs", run: upload::on_tmpfs },
    Row { name: "image-push", title: "1 MiB image pushes, 4 at a time, synced", run: image_push::run },
    Row { name: "image-pull", title: "1 MiB image pulls, 4 at a time", run: image_pull::run },
    Row { name: "upstream-cached", title: "1 MiB image pulls, 4 at a time, pulled through and pushed", run: upstream::cached },
    Row { name: "upstream-cold", title: "first byte of what is not here yet", run: upstream::cold },
    Row { name: "listing", title: "page of 1,000 out of 100,000 tags, and out of 100,000 repositories", run: listing::run },
    Row { name: "start", title: "start of the process to the first answer", run: start::run },
    Row { name: "memory-idle", title: "anonymous memory (RssAnon), idle", run: memory::idle },
    Row {
        name: "memory-uploads",
        title: "anonymous memory (RssAnon), peak during 100 uploads of 100 MiB at once",
        run: memory::uploads,
    },
    Row { name: "collection", title: "99th percentile of a push while a collection frees 10,000 blobs", run: collection::run },
    Row { name: "attacks", title: "who is let in, while others try to hinder it", run: attacks::run },
    Row { name: "push-new", title: "`wharf push` of a new image, 10 layers, 500 MB", run: command_push::new },
    Row { name: "push-changed", title: "`wharf push` of the same with one small layer changed", run: command_push::changed },
    Row { name: "push-unchanged", title: "`wharf push` of the same, unchanged", run: command_push::unchanged },
    Row { name: "pack-gzip", title: "`wharf pack` of a 500 MB root file system, gzip", run: pack::gzip },
    Row { name: "pack-next", title: "the same of its next version, with the one before at hand", run: pack::next },
    Row { name: "pack-chunked", title: "`wharf pack` of it as zstd:chunked, and push", run: pack::chunked },
    Row {
        name: "versions",
        title: "11 versions of a 300 MB root file system, files that hold 2.5 % changed in each",
        run: versions::run,
    },
    Row { name: "update-podman", title: "podman's update from one version of it to the next", run: update::by_podman },
    Row { name: "update-pull", title: "the same by `wharf pull`, gzip", run: update::by_wharf },
    Row { name: "update-chunked", title: "the same by `wharf pull`, zstd:chunked", run: update::by_wharf_chunked },
    Row { name: "vdkr-run", title: "`vdkr run`, both architectures, without KVM", run: vdkr_run::run },
    Row { name: "vdkr-images", title: "`vdkr images` of 100 images", run: vdkr_images::run },
    Row { name: "vdkr-pull", title: "`vdkr pull` of a 100 MB image until it is ready to run", run: vdkr_pull::run },
    Row { name: "vdkr-memory", title: "vdkr's own memory beside QEMU", run: vdkr_memory::run },
];
