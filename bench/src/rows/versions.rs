//! Eleven versions of a root file system: what storing them all takes, and what goes from one to the next.

use std::collections::HashSet;
use std::fs;

use crate::bench::Bench;
use crate::failure::Result;
use crate::layer::{self, Form, Layer};
use crate::report::{Report, Target};
use crate::rootfs::RootFs;
use crate::stats::{highest, median};

use super::pack::MEMORY;

const VERSIONS: usize = 11;
/// Bytes of the root file system.
const SIZE: u64 = 300_000_000;

/// Measures the row.
pub fn run(bench: &Bench) -> Result<Report> {
    let mut report = Report::new("distinct pieces of 11 versions / one version; % of a layer that the next one lacks");
    let mut peaks = Vec::new();
    for touched in [false, true] {
        let folder = bench.folder("versions")?;
        let mut root = RootFs::sample(&bench.options.rootfs, &folder.join("root"), bench.size(SIZE, SIZE / 10))?;
        let mut forms = [Form::Gzip, Form::Chunked].map(|form| (form, Versions::default()));
        for version in 0..VERSIONS {
            if version > 0 {
                root.rebuild()?;
                if touched {
                    root.touch()?;
                }
            }
            for (form, versions) in &mut forms {
                let layout = folder.join("layout-oci");
                peaks.push(layer::pack(bench, &root.folder, &layout, *form, None)?.peak);
                versions.add(&Layer::of(&layout)?)?;
                fs::remove_dir_all(&layout)?;
            }
        }
        for (form, versions) in forms {
            let label = if touched { format!("{}, every time changed", form.name()) } else { form.name().to_owned() };
            report.check(&label, versions.stored as f64 / median(&versions.sizes), "", Target::AtMost(1.2));
            report.series(format!("{label}, % lacking"), versions.lacking);
        }
        fs::remove_dir_all(folder)?;
    }
    report.check("highest memory (VmHWM)", highest(&peaks), " MB", Target::AtMost(MEMORY));
    Ok(report)
}

/// What some versions of a layer have in common.
#[derive(Default)]
struct Versions {
    known: HashSet<[u8; 32]>,
    /// Bytes of the distinct pieces, and of all that belongs to none.
    stored: u64,
    sizes: Vec<f64>,
    /// Per cent of each version's layer that is in no piece of the one before.
    lacking: Vec<f64>,
    before: HashSet<[u8; 32]>,
}

impl Versions {
    fn add(&mut self, layer: &Layer) -> Result<()> {
        let (pieces, rest) = layer.pieces()?;
        let mut lacking = rest;
        self.stored += rest;
        for piece in &pieces {
            if self.known.insert(piece.hash) {
                self.stored += piece.length;
            }
            if !self.before.contains(&piece.hash) {
                lacking += piece.length;
            }
        }
        if !self.before.is_empty() {
            self.lacking.push(lacking as f64 * 100.0 / layer.size() as f64);
        }
        self.before = pieces.into_iter().map(|piece| piece.hash).collect();
        self.sizes.push(layer.size() as f64);
        Ok(())
    }
}
