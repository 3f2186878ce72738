//! A root file system as an image of one layer.

use serde_json::{Map, Value, json};
use wharf_layers::tree::Tree;
use wharf_layers::{Form, LayerWriter};
use wharf_oci::{Descriptor, ImageManifest, LayoutError, LayoutWriter, Platform, media_type};
use wharf_terminal::ui::{self, Failure};

/// Packs a tree into a store that is being written to, and returns the descriptor of its manifest.
pub fn pack(
    tree: &Tree,
    writer: &mut LayoutWriter,
    platform: &Platform,
    execution: &Map<String, Value>,
    comment: &str,
) -> Result<Descriptor, Failure> {
    for socket in tree.sockets() {
        ui::warn(&format!("{socket} is left out: a socket cannot be packed"));
    }
    let failed = |error: LayoutError| Failure::of(&error);
    let mut staged = writer.stage().map_err(failed)?;
    // It stays on this machine: what is not compressed is ready sooner.
    let form = Form::Plain;
    let out = LayerWriter::new(staged.file(), form, form.cut(), 0).map_err(|error| Failure::of(&error))?;
    let nodes: Vec<usize> = (0..tree.nodes().len()).collect();
    let layer = wharf_layers::pack(tree, &nodes, out).map_err(|error| Failure::of(&error))?;
    writer.adopt(staged, &layer.descriptor.digest).map_err(failed)?;
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut config = json!({
        "created": now,
        "architecture": platform.architecture,
        "os": platform.os,
        "config": execution,
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
        "history": [{"created": now, "created_by": "vdkr", "comment": comment}],
    });
    if let Some(variant) = &platform.variant {
        config["variant"] = variant.clone().into();
    }
    let bytes = config.to_string().into_bytes();
    let config = Descriptor::new(media_type::OCI_CONFIG, writer.add(&bytes).map_err(failed)?, bytes.len() as u64);
    let media_type = media_type::OCI_MANIFEST.to_owned();
    let layers = vec![layer.descriptor];
    let bytes = ImageManifest { media_type, artifact_type: None, config, layers, subject: None, annotations: None }.to_bytes();
    let mut image = Descriptor::new(media_type::OCI_MANIFEST, writer.add(&bytes).map_err(failed)?, bytes.len() as u64);
    image.platform = Some(platform.clone());
    Ok(image)
}
