//! `wharf push` beside `skopeo copy`, from a layout on disk to the same wharf: what a developer waits for after a build.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::bench::{Bench, settle};
use crate::failure::{Failure, Result};
use crate::peer::{Peer, Server};
use crate::program::{self, Took};
use crate::registry::{MANIFEST_TYPE, digest, random_bytes};
use crate::report::{Report, Target};
use crate::stats::{highest, median, ratio};

const LAYERS: usize = 10;
const LAYER: usize = 50 << 20;
/// The layer that a rebuild changes.
const SMALL: usize = 256 << 10;

/// An image that the registry has never seen.
pub fn new(bench: &Bench) -> Result<Report> {
    measure(bench, Before::Nothing)
}

/// An image of which the registry has all but one small layer.
pub fn changed(bench: &Bench) -> Result<Report> {
    measure(bench, Before::AllButOneLayer)
}

/// An image that the registry has under the same tag.
pub fn unchanged(bench: &Bench) -> Result<Report> {
    measure(bench, Before::Everything)
}

/// What the registry has of an image before it is pushed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    AllButOneLayer,
    Everything,
}

/// What pushes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tool {
    Wharf,
    Skopeo,
}

fn measure(bench: &Bench, before: Before) -> Result<Report> {
    let mut report = Report::new("milliseconds for the whole command");
    let name = match before {
        Before::Nothing => "push-new",
        Before::AllButOneLayer => "push-changed",
        Before::Everything => "push-unchanged",
    };
    let folder = bench.folder(name)?;
    let start = || Server::start(Peer::Wharf, &folder.join("server"), &bench.settings(name));
    let mut server = start()?;
    let mut random = fastrand::Rng::with_seed(7);
    let (mut ours, mut theirs, mut peaks) = (Vec::new(), Vec::new(), Vec::new());
    let size = bench.size(LAYER, LAYER / 10);
    // A short command is measured more often.
    let rounds = if before == Before::Nothing { bench.options.rounds } else { bench.options.rounds * 5 };
    // Each its own content: what one has pushed would be there already for the other.
    let mut layouts = Vec::new();
    for tool in [Tool::Wharf, Tool::Skopeo] {
        let layout = Layout::make(&folder.join(format!("{name}-{}-oci", tool.label())), &mut random, size)?;
        if before != Before::Nothing {
            push(bench, tool, server.address, &layout)?;
        }
        layouts.push((tool, layout));
    }
    for _ in 0..rounds {
        layouts.reverse();
        for (tool, layout) in &mut layouts {
            match before {
                // The same memory serves again for the files that go and come: new memory would be counted against whoever gets it.
                Before::Nothing => {
                    drop(server);
                    fs::remove_dir_all(folder.join("server"))?;
                    server = start()?;
                }
                Before::AllButOneLayer => layout.change(&mut random)?,
                Before::Everything => {}
            }
            settle(&folder)?;
            let pushed = push(bench, *tool, server.address, layout)?;
            match tool {
                Tool::Wharf => {
                    ours.push(pushed.seconds * 1e3);
                    peaks.push(pushed.peak);
                }
                Tool::Skopeo => theirs.push(pushed.seconds * 1e3),
            }
        }
    }
    let target = match before {
        Before::Nothing => Target::AtLeast(2.0),
        Before::AllButOneLayer => Target::AtLeast(5.0),
        Before::Everything => Target::None,
    };
    report.check("skopeo copy / wharf push", ratio(&theirs, &ours), "", target);
    if before == Before::Everything {
        report.check("wharf push", median(&ours), " ms", Target::AtMost(50.0));
    }
    report.check("highest memory (VmHWM)", highest(&peaks), " MB", Target::AtMost(64.0));
    report.series("wharf push", ours);
    report.series("skopeo copy", theirs);
    drop(server);
    fs::remove_dir_all(folder)?;
    Ok(report)
}

impl Tool {
    fn label(self) -> &'static str {
        match self {
            Self::Wharf => "wharf",
            Self::Skopeo => "skopeo",
        }
    }
}

fn push(bench: &Bench, tool: Tool, address: SocketAddr, layout: &Layout) -> Result<Took> {
    let mut command = match tool {
        Tool::Wharf => {
            let mut command = program::wharf(bench)?;
            command.arg("push").arg(&layout.folder).args(["--tag", "latest", "--quiet"]);
            command.env("CONTAINER_REGISTRY_URL", address.to_string());
            command
        }
        Tool::Skopeo => {
            let mut command = Command::new("skopeo");
            command.args(["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"]);
            command.arg(format!("oci:{}:latest", layout.folder.display()));
            command.arg(format!("docker://{address}/yocto/skopeo:latest"));
            command
        }
    };
    program::run(&mut command)
}

/// An OCI layout with one image of ten layers and a small one.
struct Layout {
    folder: PathBuf,
    layers: Vec<(String, usize)>,
}

impl Layout {
    fn make(folder: &Path, random: &mut fastrand::Rng, size: usize) -> Result<Self> {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        fs::create_dir_all(folder.join("blobs/sha256"))?;
        fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
        let mut layout = Self { folder: folder.to_owned(), layers: Vec::new() };
        for _ in 1..LAYERS {
            let layer = layout.layer(random, size)?;
            layout.layers.push(layer);
        }
        let small = layout.layer(random, SMALL)?;
        layout.layers.push(small);
        layout.write()?;
        Ok(layout)
    }

    /// Puts another small layer in the place of the last one.
    fn change(&mut self, random: &mut fastrand::Rng) -> Result<()> {
        self.layers.pop();
        let small = self.layer(random, SMALL)?;
        self.layers.push(small);
        self.write()
    }

    /// A layer that no tool takes for an uncompressed one, which skopeo would compress.
    fn layer(&self, random: &mut fastrand::Rng, size: usize) -> Result<(String, usize)> {
        let mut bytes = random_bytes(random, size);
        bytes[..10].copy_from_slice(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]);
        Ok((self.blob(&bytes)?, size))
    }

    fn blob(&self, bytes: &[u8]) -> Result<String> {
        let digest = digest(bytes);
        let (_, hash) = digest.split_once(':').ok_or_else(|| Failure::new("a digest without an algorithm"))?;
        fs::write(self.folder.join("blobs/sha256").join(hash), bytes)?;
        Ok(digest)
    }

    fn write(&self) -> Result<()> {
        let diff_ids: Vec<_> = self.layers.iter().map(|(digest, _)| digest).collect();
        let config =
            json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}}).to_string();
        let layer = |(digest, size): &(String, usize)| json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest, "size": size});
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": self.blob(config.as_bytes())?,
                "size": config.len(),
            },
            "layers": self.layers.iter().map(layer).collect::<Vec<_>>(),
        })
        .to_string();
        let entry = json!({
            "mediaType": MANIFEST_TYPE,
            "digest": self.blob(manifest.as_bytes())?,
            "size": manifest.len(),
            "annotations": {"org.opencontainers.image.ref.name": "latest"},
        });
        fs::write(self.folder.join("index.json"), json!({"schemaVersion": 2, "manifests": [entry]}).to_string())?;
        Ok(())
    }
}
