//! Names, manifests, layouts and archives of images.

use std::fs;
use std::str::FromStr;

use serde_json::Value;
use wharf_oci::{
    Digest, Document, ImageConfig, ImageReference, Layout, LayoutKind, Manifest, Platform, Reference, RepositoryName, Tag,
    media_type,
};
use wharf_tests::archive;

use super::{line, scratch, target};
use crate::{Feed, LONGEST, Target};

const IMAGE: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"a/b","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":2,"data":"e30="},"layers":[],"subject":{"mediaType":"x/y","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0},"annotations":{"a":"b"}}"#;
const INDEX: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0,"urls":["x"],"platform":{"architecture":"arm64","os":"linux"}}]}"#;
const CONFIG: &str = r#"{"created":"2026-01-12T14:30:22Z","architecture":"arm","variant":"v7","os":"linux","config":{"Labels":{"a":"b"},"Env":["A=b"]},"rootfs":{"type":"layers","diff_ids":["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]},"history":[{"created_by":"x","empty_layer":true}]}"#;

/// What is accepted is written as it was read.
fn reads_back<T: FromStr + ToString>(text: &str) {
    if let Ok(value) = T::from_str(text) {
        assert_eq!(value.to_string(), text);
    }
}

/// What is written is read as the same.
fn settles<T: FromStr + ToString>(text: &str) {
    if let Ok(value) = T::from_str(text) {
        let written = value.to_string();
        let again = T::from_str(&written).map(|again| again.to_string());
        assert_eq!(again.ok().as_ref(), Some(&written));
    }
}

pub(crate) const NAMES: Target = target!(
    "names",
    [
        "yocto/container-base",
        "a__b/c--d.e",
        "latest",
        "v1.2.3-rc_1",
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "localhost:5000/foo@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "registry.example/a/b:1",
        "[::1]:5000/a",
        "linux/arm/v7",
        "application/vnd.oci.image.index.v1+json",
    ],
    |data| {
        let Ok(text) = std::str::from_utf8(data) else { return };
        reads_back::<RepositoryName>(text);
        reads_back::<Tag>(text);
        reads_back::<Digest>(text);
        reads_back::<Reference>(text);
        settles::<ImageReference>(text);
        settles::<Platform>(text);
        assert!(!media_type::is_valid(text) || text.len() <= 255);
    }
);

pub(crate) const MANIFEST: Target = target!("manifest", [IMAGE, INDEX, "[[[[", "{\"a\":"], |data| {
    for declared in [media_type::OCI_MANIFEST, media_type::OCI_INDEX, "x/y"] {
        let _ = Manifest::parse(data, declared);
    }
});

/// Whether writing and reading keeps every number in it. Fractions, and what has more than 64 bits, may lose their last digit.
fn is_exact(bytes: &[u8]) -> bool {
    fn walk(value: &Value) -> bool {
        match value {
            Value::Number(number) => !number.is_f64(),
            Value::Array(items) => items.iter().all(walk),
            Value::Object(members) => members.values().all(walk),
            _ => true,
        }
    }
    serde_json::from_slice(bytes).is_ok_and(|value| walk(&value))
}

/// What a client reads, it can write, and reads again as the same.
pub(crate) const DOCUMENT: Target = target!("document", [IMAGE, INDEX, CONFIG], |data| {
    let _ = ImageConfig::parse(data);
    for given in ["", media_type::OCI_MANIFEST, media_type::OCI_INDEX] {
        match Document::parse(data, given) {
            Ok(_) if !is_exact(data) => {}
            Ok(Document::Image(image)) => {
                let again = Document::parse(&image.to_bytes(), media_type::OCI_MANIFEST);
                assert!(again.is_err() || again == Ok(Document::Image(image)));
            }
            Ok(Document::Index(index)) => {
                let again = Document::parse(&index.to_bytes(), media_type::OCI_INDEX);
                assert!(again.is_err() || again == Ok(Document::Index(index)));
            }
            Err(error) => assert!(error.to_string().len() < 2_000, "{error}"),
        }
    }
});

/// Whatever a layout lists, what is read of it has the digest that was asked for, and lies in a file of the layout.
fn look_through(layout: &Layout) {
    for image in layout.images() {
        if let Ok(place) = layout.place(&image.descriptor) {
            assert!(place.path.starts_with(layout.path()), "{}", place.path.display());
            let length = fs::metadata(&place.path).map(|status| status.len()).unwrap_or(0);
            assert!(place.offset.checked_add(place.length).is_some_and(|end| end <= length));
        }
        let whole = layout.verify(&image.descriptor).is_ok();
        if let Ok(bytes) = layout.read(&image.descriptor) {
            assert!(whole || layout.kind() == LayoutKind::DockerArchive);
            assert_eq!(Digest::of(image.descriptor.digest.algorithm(), &bytes), image.descriptor.digest);
            let _ = Document::parse(&bytes, &image.descriptor.media_type);
        }
    }
}

/// A folder: what stands in `oci-layout`, and a line further in `index.json`.
pub(crate) const LAYOUT: Target = Target {
    name: "layout",
    seeds: || vec![[b"{\"imageLayoutVersion\":\"1.0.0\"}\n", INDEX.as_bytes()].concat()],
    grow: None,
    longest: LONGEST,
    start: || {
        let folder = scratch();
        let blobs = folder.path().join("blobs/sha256");
        fs::create_dir_all(&blobs).expect("a folder");
        fs::write(blobs.join("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"), "").expect("a blob");
        Box::new(move |data| {
            let (version, index) = line(data);
            fs::write(folder.path().join("oci-layout"), version).expect("a file");
            fs::write(folder.path().join("index.json"), index).expect("a file");
            if let Ok(layout) = Layout::open(folder.path()) {
                look_through(&layout);
            }
        })
    },
};

/// An archive, OCI's or Docker's.
pub(crate) const ARCHIVE: Target = Target {
    name: "archive",
    seeds: || {
        let without_end = |name: &str, content: &str| {
            let mut bytes = archive(name, content.as_bytes());
            bytes.truncate(bytes.len() - 1024);
            bytes
        };
        let index = INDEX
            .replace("\"size\":0", "\"size\":1")
            .replace("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", X);
        let oci = [
            without_end("oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}"),
            without_end("index.json", &index),
            archive(&format!("blobs/sha256/{X}"), b"x"),
        ];
        let docker = [
            without_end("manifest.json", r#"[{"Config":"c.json","RepoTags":["a:b"],"Layers":["l"]}]"#),
            without_end("c.json", CONFIG),
            archive("l", b"layer"),
        ];
        vec![oci.concat(), docker.concat()]
    },
    grow: None,
    longest: 4 * LONGEST,
    start: archives,
};

/// The SHA-256 of `x`.
const X: &str = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";

fn archives() -> Feed {
    let folder = scratch();
    let file = folder.path().join("image.tar");
    Box::new(move |data| {
        let _folder = &folder;
        fs::write(&file, super::layers::with_checksums(data)).expect("a file");
        if let Ok(layout) = Layout::open(&file) {
            look_through(&layout);
        }
    })
}
