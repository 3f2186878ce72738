//! The difference as JSON.
//!
//! Keys are never renamed, and new ones may come: `a` and `b` are the two sides everywhere, what one of them has not is null, sizes are bytes.

use serde_json::{Value, json};
use wharf_layers::EntryPath;
use wharf_layers::compare::{Altered, Aspect, Comparison};
use wharf_layers::listing::{File, FileKind};
use wharf_layers::packages::PackageName;

use super::image::{Image, Pairs, Side};
use super::report::Report;

/// All of it.
pub fn document(before: &Side<'_>, after: &Side<'_>, pairs: &Pairs<'_>, is_same: bool, images: &[Value]) -> Value {
    let side = |side: &Side<'_>| json!({"name": side.picture.shown, "digest": side.picture.root.digest.to_string()});
    let platforms = |images: &[&Image]| images.iter().map(|image| image.platform_text()).collect::<Vec<_>>();
    json!({
        "a": side(before),
        "b": side(after),
        "differ": !is_same,
        "platforms_added": platforms(&pairs.added),
        "platforms_removed": platforms(&pairs.removed),
        "images": images,
    })
}

/// The images of one platform.
pub fn image(report: &Report<'_>, files: &Comparison<'_>) -> Value {
    let side =
        |image: &Image| json!({"digest": image.digest.to_string(), "size": image.size(), "layers": image.manifest.layers.len()});
    let config: Vec<_> = report
        .config
        .iter()
        .map(|change| json!({"what": change.what, "name": change.name, "a": change.before, "b": change.after}))
        .collect();
    let update = &report.update;
    json!({
        "platform": report.after.platform.as_ref().map(ToString::to_string),
        "a": side(report.before),
        "b": side(report.after),
        "config": config,
        "packages": packages(report),
        "files": self::files(files),
        "update": {
            "layers_shared": update.shared,
            "layers_shared_size": update.shared_bytes,
            "layers_new": update.new,
            "layers_new_size": update.new_bytes,
            "pieces_new_size": update.piece_bytes,
        },
    })
}

fn packages(report: &Report<'_>) -> Value {
    let changes = &report.packages;
    let [before, after] =
        changes.lists.map(|list| list.map(|(source, count)| json!({"source": source.as_str(), "count": count})));
    let one = |(name, version): &(PackageName, String)| json!({"name": name.name, "architecture": name.architecture, "version": version});
    let changed = |(name, old, new): &(PackageName, String, String)| json!({"name": name.name, "architecture": name.architecture, "a": old, "b": new});
    json!({
        "a": before,
        "b": after,
        "added": changes.added.iter().map(one).collect::<Vec<_>>(),
        "removed": changes.removed.iter().map(one).collect::<Vec<_>>(),
        "changed": changes.changed.iter().map(changed).collect::<Vec<_>>(),
        "problems": report.problems(),
    })
}

fn files(files: &Comparison<'_>) -> Value {
    let one =
        |(path, file): &(&EntryPath, &File)| json!({"path": path.to_string(), "kind": file.kind.as_str(), "size": file.size()});
    let (before, after) = files.altered_bytes();
    json!({
        "added": files.added.iter().map(one).collect::<Vec<_>>(),
        "removed": files.removed.iter().map(one).collect::<Vec<_>>(),
        "altered": files.altered.iter().map(altered).collect::<Vec<_>>(),
        "added_size": files.added_bytes(),
        "removed_size": files.removed_bytes(),
        "altered_size": {"a": before, "b": after},
    })
}

fn altered(altered: &Altered<'_>) -> Value {
    let aspects: Vec<_> = altered.aspects.iter().copied().map(Aspect::as_str).collect();
    json!({"path": altered.path.to_string(), "what": aspects, "a": facts(altered.before), "b": facts(altered.after)})
}

fn facts(file: &File) -> Value {
    let target = match &file.kind {
        FileKind::Symlink(target) => Some(String::from_utf8_lossy(target)),
        _ => None,
    };
    json!({
        "kind": file.kind.as_str(),
        "size": file.size(),
        "mode": format!("{:04o}", file.mode),
        "uid": file.uid,
        "gid": file.gid,
        "target": target,
    })
}
