use serde_json::json;
use wharf_oci::{ImageManifest, media_type};

use super::*;
use crate::settings::RegistryPrefix;

fn store(folder: &Path) -> Store {
    Store { folder: folder.join("images") }
}

/// An image that no other has `n` of.
fn add(writer: &mut LayoutWriter, n: usize) -> Descriptor {
    let created = format!("2026-01-01T00:00:{n:02}Z");
    let layer = format!("layer {n}").into_bytes();
    let diff_id = writer.add(&layer).unwrap();
    let config =
        json!({"created": created, "architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [diff_id]}});
    let config = config.to_string().into_bytes();
    let manifest = ImageManifest {
        media_type: media_type::OCI_MANIFEST.to_owned(),
        artifact_type: None,
        config: Descriptor::new(media_type::OCI_CONFIG, writer.add(&config).unwrap(), config.len() as u64),
        layers: vec![Descriptor::new(media_type::OCI_LAYER, diff_id, layer.len() as u64)],
        subject: None,
        annotations: None,
    };
    let bytes = manifest.to_bytes();
    Descriptor::new(media_type::OCI_MANIFEST, writer.add(&bytes).unwrap(), bytes.len() as u64)
}

fn list(store: &Store, n: usize, names: &[&str]) -> Descriptor {
    let mut writer = store.writer().unwrap();
    let image = add(&mut writer, n);
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    Store::list(&mut writer, &image, &Listing { names, repository_digest: None });
    Store::commit(writer).unwrap();
    image
}

#[test]
fn what_loses_its_name_stays_without_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    assert!(store.images().unwrap().is_empty() && !store.folder().exists());
    let first = list(&store, 1, &["docker.io/library/a:latest", "docker.io/library/b:1"]);
    let second = list(&store, 2, &["docker.io/library/a:latest"]);
    let names =
        || store.images().unwrap().into_iter().map(|image| (image.descriptor.digest, image.names)).collect::<BTreeMap<_, _>>();
    assert_eq!(names()[&first.digest], ["docker.io/library/b:1"]);
    assert_eq!(names()[&second.digest], ["docker.io/library/a:latest"]);
    list(&store, 3, &["docker.io/library/b:1"]);
    assert!(names()[&first.digest].is_empty(), "{:?}", names());
    // With a name again it is there once.
    list(&store, 1, &["docker.io/library/c:1"]);
    assert_eq!(names()[&first.digest], ["docker.io/library/c:1"]);
    assert_eq!(store.layout().unwrap().unwrap().images().len(), 3);
}

#[test]
fn images_are_found_by_name_by_prefix_and_by_id() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    list(&store, 1, &["docker.io/library/alpine:latest"]);
    list(&store, 2, &["10.0.2.2:5000/yocto/alpine:latest"]);
    let images = store.images().unwrap();
    let registry: RegistryPrefix = "10.0.2.2:5000/yocto".parse().unwrap();
    let created =
        |registry: Option<&RegistryPrefix>, text: &str| find(&images, registry, text).unwrap().map(|found| found.image.created);
    let (one, two) = (Some("2026-01-01T00:00:01Z".to_owned()), Some("2026-01-01T00:00:02Z".to_owned()));
    assert_eq!(created(None, "alpine"), one);
    assert_eq!(created(Some(&registry), "alpine"), two);
    assert_eq!(created(Some(&registry), "docker.io/library/alpine:latest"), one);
    assert_eq!(created(None, "10.0.2.2:5000/yocto/alpine"), two);
    let id = images[0].full_id();
    for text in [id.as_str(), &images[0].short_id(), &id["sha256:".len()..], &id[..20]] {
        assert_eq!(created(Some(&registry), text), two, "{text}");
    }
    assert_eq!(created(None, "alpine:other"), None);
    assert_eq!(created(None, "000000000000"), None);
    assert!(find(&images, None, "Not A Name").is_err());
}

#[test]
fn names_are_shown_as_docker_does() {
    for (full, shown) in [
        ("docker.io/library/alpine:latest", ("alpine", "latest")),
        ("docker.io/user/app:1", ("user/app", "1")),
        ("10.0.2.2:5000/yocto/x:2", ("10.0.2.2:5000/yocto/x", "2")),
    ] {
        assert_eq!(parts(full), shown);
    }
}
