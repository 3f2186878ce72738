//! One repository of a server, with the steps that tests take again and again.

use serde_json::Value;

use crate::{DOCKER_LIST, DOCKER_MANIFEST, EMPTY_JSON, Image, OCI_INDEX, OCI_MANIFEST, Request, Response, Server, sha256};

/// A repository by name; it need not exist yet.
#[derive(Clone, Debug)]
pub struct Repo<'a> {
    server: &'a Server,
    /// The repository's name.
    pub name: String,
}

impl<'a> Repo<'a> {
    pub(crate) fn new(server: &'a Server, name: &str) -> Self {
        Self { server, name: name.to_owned() }
    }

    /// `/v2/<name>/blobs/<digest>`
    pub fn blob_path(&self, digest: &str) -> String {
        format!("/v2/{}/blobs/{digest}", self.name)
    }

    /// `/v2/<name>/manifests/<tag or digest>`
    pub fn manifest_path(&self, reference: &str) -> String {
        format!("/v2/{}/manifests/{reference}", self.name)
    }

    /// `/v2/<name>/blobs/uploads/` with a query, which may be empty.
    pub fn uploads_path(&self, query: &str) -> String {
        let mark = if query.is_empty() { "" } else { "?" };
        format!("/v2/{}/blobs/uploads/{mark}{query}", self.name)
    }

    /// `/v2/<name>/referrers/<digest>`
    pub fn referrers_path(&self, digest: &str) -> String {
        format!("/v2/{}/referrers/{digest}", self.name)
    }

    /// GET of a blob.
    pub fn blob(&self, digest: &str) -> Response {
        self.server.get(&self.blob_path(digest)).send()
    }

    /// Whether HEAD finds the blob.
    #[track_caller]
    pub fn has_blob(&self, digest: &str) -> bool {
        match self.server.head(&self.blob_path(digest)).send().status {
            200 => true,
            404 => false,
            other => panic!("HEAD of a blob: {other}"),
        }
    }

    /// A request for a manifest that takes every type in use, as clients ask.
    pub fn manifest_request<'b>(&self, method: &str, reference: &str) -> Request<'b> {
        let accept = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST, "*/*"].join(", ");
        self.server.request(method, &self.manifest_path(reference)).header("Accept", accept)
    }

    /// GET of a manifest.
    pub fn manifest(&self, reference: &str) -> Response {
        self.manifest_request("GET", reference).send()
    }

    /// HEAD of a manifest.
    pub fn head_manifest(&self, reference: &str) -> Response {
        self.manifest_request("HEAD", reference).send()
    }

    /// GET of the list of tags, with a query, which may be empty.
    pub fn tags(&self, query: &str) -> Response {
        let mark = if query.is_empty() { "" } else { "?" };
        self.server.get(&format!("/v2/{}/tags/list{mark}{query}", self.name)).send()
    }

    /// The tags of one answer with status 200.
    #[track_caller]
    pub fn tag_list(&self, query: &str) -> Vec<String> {
        strings(&self.tags(query).expect(200).json()["tags"])
    }

    /// GET of the referrers of a digest.
    pub fn referrers(&self, digest: &str) -> Response {
        self.server.get(&self.referrers_path(digest)).send()
    }

    /// Opens an upload session and returns its location as a path.
    #[track_caller]
    pub fn start_upload(&self) -> String {
        let answer = self.server.post(&self.uploads_path("")).send().expect(202);
        path_of(answer.header("Location"))
    }

    /// PATCH of one chunk with its place, `first-last` inclusive.
    pub fn patch(&self, location: &str, first: usize, chunk: &[u8]) -> Response {
        let range = format!("{first}-{}", first + chunk.len() - 1);
        self.patch_request(location, chunk).header("Content-Range", range).send()
    }

    /// A PATCH to be sent, without `Content-Range`.
    pub fn patch_request<'b>(&self, location: &str, chunk: &'b [u8]) -> Request<'b> {
        self.server.patch(location).header("Content-Type", "application/octet-stream").body(chunk)
    }

    /// Closes an upload session with a digest and, when `last` is not empty, the last bytes.
    pub fn finish(&self, location: &str, digest: &str, last: &[u8]) -> Response {
        let target = with_query(location, &format!("digest={digest}"));
        self.server.put(&target).header("Content-Type", "application/octet-stream").body(last).send()
    }

    /// GET of an upload's status.
    pub fn upload_status(&self, location: &str) -> Response {
        self.server.get(location).send()
    }

    /// Pushes a blob whole and returns its digest.
    #[track_caller]
    pub fn push_blob(&self, bytes: &[u8]) -> String {
        let digest = sha256(bytes);
        let location = self.start_upload();
        self.finish(&location, &digest, bytes).expect(201);
        digest
    }

    /// A PUT of a manifest, to be sent.
    pub fn put_request<'b>(&self, reference: &str, media_type: &str, manifest: &'b [u8]) -> Request<'b> {
        self.server.put(&self.manifest_path(reference)).header("Content-Type", media_type).body(manifest)
    }

    /// PUT of a manifest.
    pub fn put(&self, reference: &str, media_type: &str, manifest: &[u8]) -> Response {
        self.put_request(reference, media_type, manifest).send()
    }

    /// Pushes configuration and layers of an image.
    #[track_caller]
    pub fn push_blobs(&self, image: &Image) {
        for blob in image.blobs() {
            self.push_blob(blob);
        }
    }

    /// Pushes an image whole, under a tag or its digest.
    #[track_caller]
    pub fn push(&self, reference: &str, image: &Image) -> Response {
        self.push_blobs(image);
        self.put(reference, OCI_MANIFEST, &image.manifest).expect(201)
    }

    /// Pushes a small image that no other test has and returns it.
    #[track_caller]
    pub fn push_random(&self, tag: &str) -> Image {
        let image = Image::random();
        self.push(tag, &image);
        image
    }

    /// Pushes an artifact's manifest by its digest, with the empty configuration; returns the digest.
    #[track_caller]
    pub fn push_artifact(&self, manifest: &[u8]) -> String {
        self.push_blob(EMPTY_JSON);
        let digest = sha256(manifest);
        self.put(&digest, OCI_MANIFEST, manifest).expect(201);
        digest
    }

    /// DELETE of a tag or a manifest.
    pub fn delete(&self, reference: &str) -> Response {
        self.server.delete(&self.manifest_path(reference)).send()
    }

    /// DELETE of a blob.
    pub fn delete_blob(&self, digest: &str) -> Response {
        self.server.delete(&self.blob_path(digest)).send()
    }
}

/// A list of strings in JSON.
#[track_caller]
fn strings(value: &Value) -> Vec<String> {
    let list = value.as_array().unwrap_or_else(|| panic!("no list: {value}"));
    list.iter().map(|v| v.as_str().expect("a string").to_owned()).collect()
}

/// The path and query of a `Location`, which may be absolute or relative.
#[track_caller]
pub fn path_of(location: &str) -> String {
    let path = match location.split_once("://") {
        Some((_, rest)) => &rest[rest.find('/').expect("a path")..],
        None => location,
    };
    assert!(path.starts_with("/v2/"), "Location {location:?}");
    path.to_owned()
}

/// A location with a query parameter added to those it has.
pub fn with_query(location: &str, parameter: &str) -> String {
    let mark = if location.contains('?') { '&' } else { '?' };
    format!("{location}{mark}{parameter}")
}

/// The target of the `Link` to the next page, which must have the form of RFC 5988 with `rel="next"`; none on the last.
#[track_caller]
pub fn next_link(response: &Response) -> Option<String> {
    let link = response.get("Link")?;
    let (target, relation) = link.strip_prefix('<').and_then(|l| l.split_once('>')).unwrap_or_else(|| panic!("Link {link:?}"));
    assert_eq!(relation.replace(' ', ""), ";rel=\"next\"", "Link {link:?}");
    Some(path_of(target))
}

/// The UUID in an upload's location.
#[track_caller]
pub fn uuid_in(location: &str) -> String {
    let is_uuid = |s: &&str| {
        let groups: Vec<_> = s.split('-').map(str::len).collect();
        groups == [8, 4, 4, 4, 12] && s.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
    };
    let found = location.split(['/', '?', '&', '=']).find(is_uuid);
    found.unwrap_or_else(|| panic!("no UUID in {location}")).to_owned()
}
