use std::fs;
use std::os::unix::fs::symlink;

use proptest::prelude::*;
use tar::{EntryType, Header};
use tempfile::TempDir;

use super::*;
use crate::{Algorithm, ImageConfig, ImageManifest};

const VERSION: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
const CONFIG: &str = r#"{"architecture":"arm64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;

/// A folder that goes away with the test.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }
}

fn name_of(digest: &Digest) -> String {
    format!("blobs/{}", digest.to_string().replace(':', "/"))
}

fn described(media_type: &str, content: &[u8]) -> Descriptor {
    Descriptor::new(media_type, Digest::sha256(content), content.len() as u64)
}

/// A manifest of a configuration and one layer.
fn manifest(config: &[u8], layer: &[u8]) -> Vec<u8> {
    let manifest = ImageManifest {
        media_type: media_type::OCI_MANIFEST.to_owned(),
        artifact_type: None,
        config: described(media_type::OCI_CONFIG, config),
        layers: vec![described(media_type::OCI_LAYER, layer)],
        subject: None,
        annotations: None,
    };
    manifest.to_bytes()
}

/// The files of a layout with an image for each name.
fn files(names: &[Option<&str>], pretty: bool) -> Vec<(String, Vec<u8>)> {
    let mut files = vec![("oci-layout".to_owned(), VERSION.as_bytes().to_vec())];
    let mut manifests = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let layer = format!("layer {number}").into_bytes();
        let manifest = manifest(CONFIG.as_bytes(), &layer);
        let mut descriptor = described(media_type::OCI_MANIFEST, &manifest);
        descriptor.annotations = name.map(|name| [(REF_NAME.to_owned(), name.to_owned())].into());
        manifests.push(descriptor);
        files.extend([CONFIG.as_bytes().to_vec(), layer, manifest].map(|content| (name_of(&Digest::sha256(&content)), content)));
    }
    let index = crate::ImageIndex::new(manifests).to_bytes();
    let index = if pretty {
        serde_json::to_vec_pretty(&serde_json::from_slice::<serde_json::Value>(&index).unwrap()).unwrap()
    } else {
        index
    };
    files.push(("index.json".to_owned(), index));
    files
}

fn folder(names: &[Option<&str>], pretty: bool) -> Folder {
    let folder = Folder::new();
    for (name, content) in files(names, pretty) {
        folder.write(&name, content);
    }
    folder
}

enum Member<'a> {
    File(&'a str, &'a [u8]),
    Link(EntryType, &'a str, &'a str),
}

fn archive(members: &[Member]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for member in members {
        let mut header = Header::new_gnu();
        header.set_mode(0o644);
        match member {
            Member::File(name, content) => {
                header.set_size(content.len() as u64);
                builder.append_data(&mut header, name, *content).unwrap();
            }
            Member::Link(kind, name, target) => {
                header.set_size(0);
                header.set_entry_type(*kind);
                builder.append_link(&mut header, name, target).unwrap();
            }
        }
    }
    builder.into_inner().unwrap()
}

fn archive_of(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    archive(&files.iter().map(|(name, content)| Member::File(name, content)).collect::<Vec<_>>())
}

/// Bytes of a place.
fn at(place: &Place) -> Vec<u8> {
    fs::read(&place.path).unwrap()[place.offset as usize..][..place.length as usize].to_vec()
}

/// Reads everything that an image names.
fn walk(layout: &Layout, image: &NamedImage) -> (ImageManifest, Vec<Vec<u8>>) {
    let bytes = layout.read(&image.descriptor).unwrap();
    let Ok(Document::Image(manifest)) = Document::parse(&bytes, &image.descriptor.media_type) else { panic!("{bytes:?}") };
    let blobs = [&manifest.config].into_iter().chain(&manifest.layers);
    let contents = blobs.map(|blob| {
        layout.verify(blob).unwrap();
        at(&layout.place(blob).unwrap())
    });
    let contents = contents.collect();
    (manifest, contents)
}

#[test]
fn folders_and_archives_list_their_images_in_order() {
    let names = [Some("v1"), None, Some("host/name:tag")];
    for pretty in [false, true] {
        let folder = folder(&names, pretty);
        let archive = folder.write("x-oci.tar", archive_of(&files(&names, pretty)));
        for (path, kind) in [(folder.path(), LayoutKind::Folder), (archive.as_path(), LayoutKind::Archive)] {
            let layout = Layout::open(path).unwrap();
            assert_eq!((layout.kind(), layout.path()), (kind, path));
            assert_eq!(layout.images().iter().map(|image| image.name.as_deref()).collect::<Vec<_>>(), names);
            for (number, image) in layout.images().iter().enumerate() {
                let (_, contents) = walk(&layout, image);
                assert_eq!(contents, [CONFIG.as_bytes().to_vec(), format!("layer {number}").into_bytes()]);
            }
        }
    }
}

#[test]
fn digests_of_the_other_algorithm_are_read() {
    let folder = folder(&[None], false);
    let digest = Digest::of(Algorithm::Sha512, b"long");
    folder.write(&name_of(&digest), "long");
    let layout = Layout::open(folder.path()).unwrap();
    let descriptor = Descriptor::new("a/b", digest, 4);
    assert_eq!(layout.read(&descriptor).unwrap(), b"long");
    layout.verify(&descriptor).unwrap();
}

#[test]
fn a_missing_a_cut_and_an_altered_blob_are_told_apart() {
    let folder = folder(&[None], false);
    let of = |content: &[u8]| described("a/b", content);
    folder.write(&name_of(&of(b"whole").digest), "who");
    folder.write(&name_of(&of(b"right").digest), "wrong");
    fs::create_dir_all(folder.path().join(name_of(&of(b"folder").digest))).unwrap();
    let mut contents = files(&[None], false);
    contents.push((name_of(&of(b"whole").digest), b"who".to_vec()));
    contents.push((name_of(&of(b"right").digest), b"wrong".to_vec()));
    let archive = folder.write("x.tar", archive_of(&contents));
    for path in [folder.path(), &archive] {
        let layout = Layout::open(path).unwrap();
        for content in [&b"none"[..], b"folder"] {
            for error in [layout.read(&of(content)).map(drop), layout.verify(&of(content)), layout.place(&of(content)).map(drop)]
            {
                assert!(matches!(error, Err(LayoutError::MissingBlob { .. })), "{error:?}");
            }
        }
        let cut = layout.place(&of(b"whole")).unwrap_err();
        assert!(matches!(cut, LayoutError::WrongLength { expected: 5, found: 3, .. }), "{cut}");
        assert!(cut.to_string().contains(path.file_name().unwrap().to_str().unwrap()), "{cut}");
        assert!(matches!(layout.read(&of(b"whole")), Err(LayoutError::WrongLength { .. })));
        assert!(layout.place(&of(b"right")).is_ok());
        assert!(matches!(layout.read(&of(b"right")), Err(LayoutError::Altered { .. })));
        assert!(matches!(layout.verify(&of(b"right")), Err(LayoutError::Altered { .. })));
    }
}

#[test]
fn blobs_may_be_links() {
    let folder = folder(&[None], false);
    let blob = described("a/b", b"shared");
    symlink(folder.write("elsewhere", "shared"), folder.path().join(name_of(&blob.digest))).unwrap();
    assert_eq!(Layout::open(folder.path()).unwrap().read(&blob).unwrap(), b"shared");

    let (name, hard) = (name_of(&blob.digest), name_of(&Digest::of(Algorithm::Sha512, b"shared")));
    let index = crate::ImageIndex::new(Vec::new()).to_bytes();
    let members = [
        Member::File("./index.json", &index),
        Member::File("./x", b"shared"),
        Member::Link(EntryType::Symlink, &name, "../../x"),
        Member::Link(EntryType::Link, &hard, "./x"),
    ];
    let layout = Layout::open(&folder.write("x.tar", archive(&members))).unwrap();
    for digest in [blob.digest, Digest::of(Algorithm::Sha512, b"shared")] {
        assert_eq!(layout.read(&Descriptor::new("a/b", digest, 6)).unwrap(), b"shared");
    }
}

#[test]
fn long_blobs_are_placed_and_verified_but_not_read() {
    let folder = folder(&[None], false);
    let content: Vec<u8> = (0..MAX_MANIFEST + 1).map(|place| (place % 251) as u8).collect();
    let blob = described("a/b", &content);
    folder.write(&name_of(&blob.digest), &content);
    let layout = Layout::open(folder.path()).unwrap();
    layout.verify(&blob).unwrap();
    assert_eq!(at(&layout.place(&blob).unwrap()), content);
    assert!(matches!(layout.read(&blob), Err(LayoutError::TooLarge { .. })));
    folder.write("index.json", &content);
    assert!(matches!(Layout::open(folder.path()), Err(LayoutError::TooLarge { .. })));
}

#[test]
fn what_is_no_layout_is_said_to_be_none() {
    let folder = Folder::new();
    let message = |path: &Path| Layout::open(path).unwrap_err().to_string();
    assert!(message(folder.path()).ends_with("it has no index.json"));
    assert!(matches!(Layout::open(&folder.path().join("none")), Err(LayoutError::Io { .. })));
    assert!(message(Path::new("/dev/null")).ends_with("neither a folder nor a file"));
    assert!(message(&folder.write("text", "x".repeat(4096))).ends_with("neither a folder nor a tar archive"));
    assert!(message(&folder.write("short", "x")).contains("is damaged"));
    assert!(message(&folder.write("empty", "")).ends_with("neither index.json nor manifest.json"));
    let rootfs = archive(&[Member::File("etc/passwd", b"root")]);
    assert!(message(&folder.write("rootfs.tar", rootfs)).ends_with("neither index.json nor manifest.json"));
    let old = archive(&[Member::File("repositories", b"{}")]);
    assert!(message(&folder.write("old.tar", old)).ends_with("a Docker older than 1.10 saved it"));
    for (magic, format) in
        [(&b"\x1f\x8b\x08"[..], "gzip"), (b"\xfd7zXZ\0", "xz"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"BZh9", "bzip2")]
    {
        assert!(message(&folder.write("packed", magic)).contains(&format!("is compressed with {format}; decompress it first")));
    }

    folder.write("index.json", "[]");
    assert!(matches!(Layout::open(folder.path()), Err(LayoutError::Json { .. })));
    folder.write("index.json", manifest(b"{}", b""));
    assert!(matches!(Layout::open(folder.path()), Err(LayoutError::Json { .. })));
    folder.write("index.json", crate::ImageIndex::new(Vec::new()).to_bytes());
    assert!(Layout::open(folder.path()).unwrap().images().is_empty());
    folder.write("oci-layout", r#"{"imageLayoutVersion":"2.0.0"}"#);
    assert!(message(folder.path()).ends_with("its layout version \"2.0.0\" is not supported"));
}

/// A configuration whose layers are `layers` when unpacked.
fn config_of(layers: &[&[u8]]) -> String {
    let diff_ids: Vec<_> = layers.iter().map(|layer| Digest::sha256(layer)).collect();
    let diff_ids = serde_json::to_string(&diff_ids).unwrap();
    format!(r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":{diff_ids}}}}}"#)
}

#[test]
fn docker_archives_become_layouts() {
    let folder = Folder::new();
    let zipped = b"\x1f\x8b\x08 as if compressed";
    let config = config_of(&[b"first", b"unpacked", b"first"]);
    let index = r#"[{"Config":"c.json","RepoTags":["app:1","host:5000/app:2"],"Layers":["1/layer.tar","2/layer.tar","3/layer.tar"]},
        {"Config":"c.json","RepoTags":null,"Layers":["1/layer.tar","2/layer.tar","4/layer.tar"]}]"#;
    let members = [
        Member::File("manifest.json", index.as_bytes()),
        Member::File("c.json", config.as_bytes()),
        Member::File("1/layer.tar", b"first"),
        Member::File("2/layer.tar", zipped),
        Member::Link(EntryType::Symlink, "3/layer.tar", "../1/layer.tar"),
        Member::Link(EntryType::Link, "4/layer.tar", "1/layer.tar"),
    ];
    let path = folder.write("docker.tar", archive(&members));
    let layout = Layout::open(&path).unwrap();
    assert_eq!(layout.kind(), LayoutKind::DockerArchive);
    let names: Vec<_> = layout.images().iter().map(|image| image.name.as_deref()).collect();
    assert_eq!(names, [Some("app:1"), Some("host:5000/app:2"), None]);
    for image in layout.images() {
        let (manifest, contents) = walk(&layout, image);
        assert_eq!(contents, [config.as_bytes(), b"first", zipped, b"first"]);
        let types: Vec<_> = manifest.layers.iter().map(|layer| layer.media_type.as_str()).collect();
        assert_eq!(types, [media_type::OCI_LAYER, media_type::OCI_LAYER_GZIP, media_type::OCI_LAYER]);
        assert!(manifest.is_image());
        let platform = ImageConfig::parse(config.as_bytes()).unwrap().platform;
        assert!(platform.is_some() && image.descriptor.platform == platform);
        layout.verify(&image.descriptor).unwrap();
        let longer = Descriptor { size: image.descriptor.size + 1, ..image.descriptor.clone() };
        assert!(matches!(layout.read(&longer), Err(LayoutError::WrongLength { .. })));
        assert!(matches!(layout.place(&image.descriptor), Err(LayoutError::MissingBlob { .. })));
    }
    assert_eq!(layout.images(), Layout::open(&path).unwrap().images());
}

#[test]
fn an_archive_of_both_forms_is_an_oci_layout() {
    let folder = Folder::new();
    let mut files = files(&[Some("latest")], false);
    files.insert(0, ("manifest.json".to_owned(), br#"[{"Config":"none","RepoTags":["a:b"],"Layers":[]}]"#.to_vec()));
    let layout = Layout::open(&folder.write("x.tar", archive_of(&files))).unwrap();
    assert_eq!((layout.kind(), layout.images()[0].name.as_deref()), (LayoutKind::Archive, Some("latest")));
    walk(&layout, &layout.images()[0]);
}

#[test]
fn an_archive_may_hold_the_layouts_folder() {
    let inside = |folder: &str| -> Vec<_> {
        files(&[Some("v1")], false).into_iter().map(|(name, content)| (format!("{folder}/{name}"), content)).collect()
    };
    let open = |files: Vec<(String, Vec<u8>)>| {
        let folder = Folder::new();
        let layout = Layout::open(&folder.write("x.tar", archive_of(&files)))?;
        walk(&layout, &layout.images()[0]);
        Ok::<_, LayoutError>(layout.images()[0].name.clone())
    };
    assert_eq!(open(inside("app-oci")).unwrap().as_deref(), Some("v1"));
    assert_eq!(open(inside("./app-oci")).unwrap().as_deref(), Some("v1"));
    // Which of two is meant, and one further down, nobody can tell.
    assert!(matches!(open([inside("a"), inside("b")].concat()), Err(LayoutError::NotALayout { .. })));
    assert!(matches!(open(inside("a/b")), Err(LayoutError::NotALayout { .. })));
}

#[test]
fn docker_archives_that_contradict_themselves_are_refused() {
    let folder = Folder::new();
    let error = |index: &str| {
        let config = config_of(&[b"layer"]);
        let members = [
            Member::File("manifest.json", index.as_bytes()),
            Member::File("c.json", config.as_bytes()),
            Member::File("l", b"layer"),
            Member::File("bad.json", b"no"),
        ];
        Layout::open(&folder.write("x.tar", archive(&members))).unwrap_err()
    };
    for (index, what) in [
        (r#"[{"Config":"c.json","Layers":["m"]}]"#, "it names `m`, which is not there"),
        (r#"[{"Config":"d.json","Layers":["l"]}]"#, "it names `d.json`, which is not there"),
        (r#"[{"Config":"c.json","Layers":["l","l"]}]"#, "it lists 2 layers for `c.json`, which knows 1"),
        (r#"[{"Config":"c.json"}]"#, "it lists 0 layers for `c.json`, which knows 1"),
    ] {
        assert!(error(index).to_string().ends_with(what), "{}", error(index));
    }
    for index in ["{}", "[1]", r#"[{"Config":1}]"#, r#"[{"Config":"bad.json","Layers":[]}]"#] {
        assert!(matches!(error(index), LayoutError::Json { .. }), "{index}");
    }
    let tags = vec!["\"a\""; 5_000].join(",");
    let many = error(&format!(r#"[{{"Config":"c.json","RepoTags":[{tags}],"Layers":["l"]}}]"#));
    assert!(matches!(many, LayoutError::Inconsistent { .. }), "{many}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn damaged_archives_are_read_or_refused(flips in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..12), cut in any::<u16>(), docker in any::<bool>()) {
        let config = config_of(&[b"layer"]);
        let index = br#"[{"Config":"c.json","RepoTags":["a:b"],"Layers":["l"]}]"#;
        let mut bytes = if docker {
            archive(&[Member::File("manifest.json", index), Member::File("c.json", config.as_bytes()), Member::File("l", b"layer")])
        } else {
            archive_of(&files(&[Some("x"), None], true))
        };
        for (place, byte) in flips {
            let length = bytes.len();
            bytes[usize::from(place) % length] = byte;
        }
        bytes.truncate(usize::from(cut));
        let folder = Folder::new();
        if let Ok(layout) = Layout::open(&folder.write("x.tar", &bytes)) {
            for image in layout.images() {
                let _ = layout.verify(&image.descriptor);
                if let Ok(read) = layout.read(&image.descriptor) {
                    prop_assert_eq!(Digest::of(image.descriptor.digest.algorithm(), &read), image.descriptor.digest);
                }
            }
        }
    }
}
