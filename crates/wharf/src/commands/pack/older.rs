//! What an earlier version of the image has compressed already.

use std::fs::File;
use std::path::Path;

use wharf_layers::{Form, OlderPieces};
use wharf_oci::{Found, Layout, NamedImage, look};

use crate::cli::Pack;
use crate::layout_path;
use crate::ui::{self, Failure};

/// The pieces of the layers that `--older` names.
pub fn named(options: &Pack, form: Form) -> Result<OlderPieces, Failure> {
    let mut older = OlderPieces::new(form);
    if let Some(text) = options.older.as_deref().map(layout_path::bare).filter(|text| !text.is_empty()) {
        let Some((path, pick)) = layout_path::find(text) else {
            return Err(Failure::new(format!("{text} not found"))
                .hint("--older takes a layout on disk; without it, everything is compressed anew"));
        };
        let layout = Layout::open(&path).map_err(|error| Failure::of(&error))?;
        add(&mut older, &layout, |image| pick.as_ref().is_some_and(|pick| pick.is(image)));
    }
    Ok(older)
}

/// Adds those of the layout that is written to, the image that gives way first.
pub fn add_present(older: &mut OlderPieces, folder: &Path, tag: &str) {
    let has_images = look(&folder.join("index.json")).is_ok_and(|found| matches!(found, Found::File(_)));
    if has_images && let Ok(layout) = Layout::open(folder) {
        add(older, &layout, |image| image.name.as_deref() == Some(tag));
    }
}

/// Adds what the layers of a layout have. What cannot be read is compressed anew.
fn add(older: &mut OlderPieces, layout: &Layout, near: impl Fn(&NamedImage) -> bool) {
    for layer in wharf_pull::older_layers::of(layout, near, |_| true) {
        let Ok(place) = layout.place(&layer) else { continue };
        let added = File::open(&place.path).and_then(|file| older.add(&layer, file, place.offset));
        if let Err(error) = added {
            ui::warn(&format!("{} is compressed anew: {error}", layer.digest));
        }
    }
}
