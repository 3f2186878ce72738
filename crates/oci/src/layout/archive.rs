//! Layouts as one file.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use super::LayoutError;

/// Writes a layout's folder as an OCI archive: the files sorted by name, always the same for the same layout.
///
/// # Errors
/// What cannot be read, and [`LayoutError::Write`] for `name`, which is what `out` is called.
pub fn write_archive(folder: &Path, out: impl Write, name: &Path) -> Result<(), LayoutError> {
    let mut archive = tar::Builder::new(out);
    let mut open = vec![String::new()];
    while let Some(relative) = open.pop() {
        let path = folder.join(&relative);
        let metadata = fs::symlink_metadata(&path).map_err(LayoutError::io(&path))?;
        let mut header = tar::Header::new_ustar();
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        if metadata.is_dir() {
            let names = fs::read_dir(&path)
                .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect::<Result<Vec<_>, _>>());
            let mut names = names.map_err(LayoutError::io(&path))?;
            names.sort_by(|one, other| other.cmp(one));
            // A layout's own files have such names; others are none of its.
            let names = names.into_iter().filter_map(|name| name.into_string().ok()).filter(|name| !name.starts_with('.'));
            open.extend(names.map(|name| if relative.is_empty() { name } else { format!("{relative}/{name}") }));
            if !relative.is_empty() {
                header.set_entry_type(tar::EntryType::Directory);
                header.set_mode(0o755);
                header.set_size(0);
                archive.append_data(&mut header, format!("{relative}/"), std::io::empty()).map_err(LayoutError::write(name))?;
            }
        } else {
            let file = File::open(&path).map_err(LayoutError::io(&path))?;
            header.set_mode(0o644);
            header.set_size(metadata.len());
            archive.append_data(&mut header, &relative, file).map_err(LayoutError::write(name))?;
        }
    }
    let mut out = archive.into_inner().map_err(LayoutError::write(name))?;
    out.flush().map_err(LayoutError::write(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Layout, LayoutKind, LayoutWriter, media_type};

    #[test]
    fn an_archive_is_the_layout_that_it_was_made_of() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app-oci");
        let mut writer = LayoutWriter::open(&path).unwrap();
        let manifest = br#"{"schemaVersion":2,"config":{"mediaType":"a/b","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}"#;
        let digest = writer.add(manifest).unwrap();
        writer.list(crate::Descriptor::new(media_type::OCI_MANIFEST, digest, manifest.len() as u64), Some("latest"));
        writer.commit().unwrap();
        let file = folder.path().join("app-oci.tar");
        write_archive(&path, File::create(&file).unwrap(), &file).unwrap();
        let layout = Layout::open(&file).unwrap();
        assert_eq!((layout.kind(), layout.images()), (LayoutKind::Archive, Layout::open(&path).unwrap().images()));
        assert_eq!(layout.read(&layout.images()[0].descriptor).unwrap(), manifest);
        let again = folder.path().join("again.tar");
        write_archive(&path, File::create(&again).unwrap(), &again).unwrap();
        assert_eq!(fs::read(file).unwrap(), fs::read(again).unwrap());
    }
}
