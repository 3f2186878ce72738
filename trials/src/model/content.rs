//! What is pushed in the trial: few blobs and manifests, the same in every run, so that clients meet in them.

use serde_json::{Value, json};
use wharf_tests::{EMPTY_JSON, Image, OCI_EMPTY, OCI_INDEX, OCI_MANIFEST, descriptor, index, sha256};

/// Lengths of the blobs: on both sides of what the index keeps itself (4 KiB), what is answered from memory (32 KiB), and of what one piece holds.
const LENGTHS: [usize; 12] = [10, 700, 3_000, 4_096, 4_097, 5_000, 20_000, 33_000, 70_000, 150_000, 300_000, 900_000];
/// Configuration and layers of each image. The first blob is the empty configuration of artifacts.
const IMAGES: [(usize, &[usize]); 6] = [(1, &[3, 5]), (1, &[4, 9]), (2, &[5, 8, 10]), (2, &[3]), (6, &[4, 5]), (7, &[11, 12, 3])];
/// What each index names, by number; the last names another index.
const INDEXES: [&[usize]; 4] = [&[0, 1], &[1, 2, 3], &[4], &[6, 5]];
/// What each artifact is about, by number, and its type. The last but one is about an artifact, and the last about something that is never pushed.
const ARTIFACTS: [(Option<usize>, usize); 5] = [(Some(0), 0), (Some(0), 1), (Some(6), 0), (Some(10), 1), (None, 0)];

/// Types of artifacts, by which referrers are filtered.
pub const TYPES: [&str; 2] = ["application/vnd.example.signature", "application/vnd.example.sbom+json"];
/// Blobs there are.
pub const BLOBS: usize = LENGTHS.len() + 1;
/// Manifests there are.
pub const MANIFESTS: usize = IMAGES.len() + INDEXES.len() + ARTIFACTS.len();

/// A blob.
pub struct Blob {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its digest.
    pub digest: String,
}

/// A manifest, and what it names, by number.
pub struct Manifest {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its digest.
    pub digest: String,
    /// Its media type.
    pub media_type: &'static str,
    /// Blobs that it names.
    pub blobs: Vec<usize>,
    /// Manifests that it names.
    pub children: Vec<usize>,
    /// The digest that it is about.
    pub subject: Option<String>,
    /// The manifest that it is about, when it is one of these.
    pub about: Option<usize>,
    /// How a list of referrers describes it.
    pub descriptor: Value,
}

/// All that can be pushed.
pub struct Content {
    /// The blobs.
    pub blobs: Vec<Blob>,
    /// The manifests: images, indexes, artifacts.
    pub manifests: Vec<Manifest>,
}

impl Content {
    /// The same content in every process.
    #[expect(clippy::new_without_default, reason = "it is work")]
    pub fn new() -> Self {
        let mut random = fastrand::Rng::with_seed(0x5768_7266);
        let filled = LENGTHS.iter().map(|length| {
            let mut bytes = vec![0; *length];
            random.fill(&mut bytes);
            bytes
        });
        let blobs = std::iter::once(EMPTY_JSON.to_vec()).chain(filled);
        let blobs = blobs.map(|bytes| Blob { digest: sha256(&bytes), bytes }).collect();
        let mut content = Self { blobs, manifests: Vec::new() };
        for (config, layers) in IMAGES {
            content.add_image(config, layers);
        }
        for children in INDEXES {
            content.add_index(children);
        }
        for (number, (about, kind)) in ARTIFACTS.into_iter().enumerate() {
            content.add_artifact(number, about, kind);
        }
        content
    }

    fn add_image(&mut self, config: usize, layers: &[usize]) {
        let bytes = layers.iter().map(|layer| self.blobs[*layer].bytes.clone()).collect();
        let image = Image::of_config(self.blobs[config].bytes.clone(), bytes);
        self.manifests.push(Manifest {
            descriptor: descriptor(OCI_MANIFEST, &image.manifest),
            bytes: image.manifest,
            digest: image.digest,
            media_type: OCI_MANIFEST,
            blobs: std::iter::once(config).chain(layers.iter().copied()).collect(),
            children: Vec::new(),
            subject: None,
            about: None,
        });
    }

    fn add_index(&mut self, children: &[usize]) {
        let bytes = index(&children.iter().map(|child| self.manifests[*child].descriptor.clone()).collect::<Vec<_>>());
        self.manifests.push(Manifest {
            digest: sha256(&bytes),
            descriptor: descriptor(OCI_INDEX, &bytes),
            bytes,
            media_type: OCI_INDEX,
            blobs: Vec::new(),
            children: children.to_vec(),
            subject: None,
            about: None,
        });
    }

    fn add_artifact(&mut self, number: usize, about: Option<usize>, kind: usize) {
        let subject = about.map_or_else(|| descriptor(OCI_MANIFEST, b"{}"), |about| self.manifests[about].descriptor.clone());
        let annotations = json!({"org.example.number": number.to_string()});
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": TYPES[kind],
            "config": descriptor(OCI_EMPTY, EMPTY_JSON),
            "layers": [descriptor("application/octet-stream", &self.blobs[number + 1].bytes)],
            "subject": subject,
            "annotations": annotations,
        });
        let bytes = manifest.to_string().into_bytes();
        let mut descriptor = descriptor(OCI_MANIFEST, &bytes);
        descriptor["artifactType"] = json!(TYPES[kind]);
        descriptor["annotations"] = annotations;
        self.manifests.push(Manifest {
            digest: sha256(&bytes),
            descriptor,
            bytes,
            media_type: OCI_MANIFEST,
            blobs: vec![0, number + 1],
            children: Vec::new(),
            subject: subject["digest"].as_str().map(str::to_owned),
            about,
        });
    }

    /// What has to be pushed before a manifest, itself last: blobs and manifests.
    pub fn needs(&self, manifest: usize) -> (Vec<usize>, Vec<usize>) {
        let (mut blobs, mut manifests) = (self.manifests[manifest].blobs.clone(), Vec::new());
        for child in &self.manifests[manifest].children {
            let (below, children) = self.needs(*child);
            blobs.extend(below);
            manifests.extend(children);
        }
        manifests.push(manifest);
        (blobs, manifests)
    }
}
