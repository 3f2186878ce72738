//! From a request line to one typed value.

use std::fmt;

use http::{Method, Version, header, request};
use percent_encoding::percent_decode_str;
use wharf_oci::{Algorithm, Digest, DigestError, Reference, ReferenceError, RepositoryName, Tag};
use wharf_store::UploadId;

use crate::error::ApiError;
use crate::paging::PageQuery;
use crate::query::Query;

/// Tags in one push (distribution-spec, "Pushing Manifests": at least ten should be possible).
const TAGS_MAX: usize = 64;

/// What a request asks for. Every part of it is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `GET /v2/` (end-1).
    Base,
    /// `GET /v2/_catalog`.
    Catalog(PageQuery),
    /// `GET /v2/<name>/tags/list` (end-8).
    Tags(RepositoryName, PageQuery),
    /// `GET /v2/<name>/referrers/<digest>` (end-12).
    Referrers {
        /// Where.
        repository: RepositoryName,
        /// About which manifest.
        subject: Digest,
        /// Only these.
        artifact_type: Option<String>,
        /// Only those after this one: the next page.
        after: Option<Digest>,
    },
    /// `GET` or `HEAD /v2/<name>/manifests/<reference>` (end-3).
    ReadManifest(RepositoryName, Reference),
    /// `PUT /v2/<name>/manifests/<reference>` (end-7).
    PutManifest {
        /// Where.
        repository: RepositoryName,
        /// Under which tag or digest.
        reference: Reference,
        /// Tags besides, on a push by digest.
        tags: Vec<Tag>,
    },
    /// `DELETE /v2/<name>/manifests/<reference>` (end-9).
    DeleteManifest(RepositoryName, Reference),
    /// `GET` or `HEAD /v2/<name>/blobs/<digest>` (end-2).
    ReadBlob(RepositoryName, Digest),
    /// `DELETE /v2/<name>/blobs/<digest>` (end-10).
    DeleteBlob(RepositoryName, Digest),
    /// `POST /v2/<name>/blobs/uploads/` (end-4, end-11).
    BeginUpload(RepositoryName, Begin),
    /// `GET` or `HEAD <upload>` (end-13).
    UploadStatus(RepositoryName, UploadId),
    /// `PATCH <upload>` (end-5).
    AppendUpload(RepositoryName, UploadId),
    /// `PUT <upload>?digest=<digest>` (end-6).
    FinishUpload(RepositoryName, UploadId, Digest),
    /// `DELETE <upload>` (end-14).
    CancelUpload(RepositoryName, UploadId),
    /// `GET` or `POST /token`: a bearer token (the Docker token protocol).
    Token(TokenRequest),
    /// `GET /metrics`, for administrators.
    Metrics,
    /// `GET /healthz`: the process answers.
    Health,
    /// `GET /readyz`: the store can be read and written.
    Ready,
}

/// How a token is asked for.
#[derive(Clone, PartialEq, Eq)]
pub enum TokenRequest {
    /// With this query, the credentials in a header.
    Query(String),
    /// With a form in the body.
    Form,
}

impl fmt::Debug for TokenRequest {
    /// Some clients put secrets where they do not belong.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self, Self::Form) { "Form" } else { "Query" })
    }
}

/// How an upload begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begin {
    /// A session; its hash answers for this algorithm.
    Session(Algorithm),
    /// The body is the whole blob.
    Whole(Digest),
    /// The blob is elsewhere in the registry.
    Mount {
        /// Which.
        digest: Digest,
        /// In which repository; anywhere when not said.
        from: Option<RepositoryName>,
    },
}

/// Kinds of endpoints, for counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Base,
    Listing,
    Manifest,
    Blob,
    Upload,
    Token,
    Health,
    Invalid,
}

impl Kind {
    pub(crate) const ALL: [Self; 8] =
        [Self::Base, Self::Listing, Self::Manifest, Self::Blob, Self::Upload, Self::Token, Self::Health, Self::Invalid];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Listing => "listing",
            Self::Manifest => "manifest",
            Self::Blob => "blob",
            Self::Upload => "upload",
            Self::Token => "token",
            Self::Health => "health",
            Self::Invalid => "invalid",
        }
    }
}

impl Endpoint {
    /// Reads the head of a request. One that does not say whom it is for, or says it twice, may mean something else to a proxy in between (RFC 9112, section
    /// 3.2).
    pub(crate) fn of(head: &request::Parts) -> Result<Self, ApiError> {
        match head.headers.get_all(header::HOST).iter().count() {
            1 => {}
            0 if head.version == Version::HTTP_10 => {}
            // There it is part of the address (RFC 9113, section 8.3.1).
            0 if head.version == Version::HTTP_2 && head.uri.authority().is_some() => {}
            _ => return Err(ApiError::Host),
        }
        Self::parse(&head.method, head.uri.path(), head.uri.query())
    }

    /// Reads method, path and query.
    ///
    /// # Errors
    ///
    /// The error answers for a path that is no endpoint (404), a method that it does not have (405), and parts of it that are wrong (400, 414).
    pub fn parse(method: &Method, path: &str, query: Option<&str>) -> Result<Self, ApiError> {
        if path.contains('%') {
            let decoded = percent_decode_str(path).decode_utf8().map_err(|_| ApiError::NotFound)?;
            return Self::parse_decoded(method, &decoded, query.unwrap_or_default());
        }
        Self::parse_decoded(method, path, query.unwrap_or_default())
    }

    fn parse_decoded(method: &Method, path: &str, query: &str) -> Result<Self, ApiError> {
        let read = |endpoint: Self| if is_read(method) { Ok(endpoint) } else { Err(ApiError::Method("GET, HEAD")) };
        let Some(rest) = path.strip_prefix("/v2") else {
            return match path {
                "/token" => match *method {
                    Method::GET => Ok(Self::Token(TokenRequest::Query(query.to_owned()))),
                    Method::POST => Ok(Self::Token(TokenRequest::Form)),
                    _ => Err(ApiError::Method("GET, POST")),
                },
                "/metrics" => read(Self::Metrics),
                "/healthz" => read(Self::Health),
                "/readyz" => read(Self::Ready),
                _ => Err(ApiError::NotFound),
            };
        };
        let rest = match rest {
            "" | "/" => return read(Self::Base),
            _ => rest.strip_prefix('/').ok_or(ApiError::NotFound)?,
        };
        if rest == "_catalog" {
            return read(Self::Catalog(PageQuery::parse(query)?));
        }
        // A name holds slashes and may hold any of the words below, so an address is read from its end.
        let mut parts = rest.rsplitn(3, '/');
        let (Some(last), Some(kind), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(ApiError::NotFound);
        };
        match (kind, last) {
            ("blobs", "uploads") => Self::begin(method, name, query),
            ("uploads", id) => match (name.strip_suffix("/blobs"), id) {
                (Some(name), "") => Self::begin(method, name, query),
                (Some(name), id) => Self::upload(method, name, id, query),
                (None, _) => Err(ApiError::NotFound),
            },
            ("blobs", digest) => {
                let (name, digest) = (repository(name)?, blob_digest(digest)?);
                match *method {
                    Method::GET | Method::HEAD => Ok(Self::ReadBlob(name, digest)),
                    Method::DELETE => Ok(Self::DeleteBlob(name, digest)),
                    _ => Err(ApiError::Method("GET, HEAD, DELETE")),
                }
            }
            ("manifests", reference) => Self::manifest(method, name, reference, query),
            ("tags", "list") => read(Self::Tags(repository(name)?, PageQuery::parse(query)?)),
            ("referrers", digest) => {
                let (name, subject) = (repository(name)?, blob_digest(digest)?);
                let query = Query::parse(query);
                let after = query.get("last").map(|last| blob_digest(&last)).transpose()?;
                let artifact_type = query.get("artifactType").filter(|text| !text.is_empty()).map(Into::into);
                read(Self::Referrers { repository: name, subject, artifact_type, after })
            }
            _ => Err(ApiError::NotFound),
        }
    }

    fn manifest(method: &Method, name: &str, reference: &str, query: &str) -> Result<Self, ApiError> {
        let name = repository(name)?;
        let reference = match reference.parse() {
            Ok(reference) => reference,
            Err(ReferenceError::Digest(error)) => return Err(ApiError::Digest { digest: reference.to_owned(), error }),
            // A tag that cannot exist is one that does not, to who asks for it, and a bad request to who wants to make it.
            Err(ReferenceError::Tag(_)) if *method == Method::PUT => return Err(ApiError::Tag(reference.to_owned())),
            Err(ReferenceError::Tag(_)) => return Err(ApiError::ManifestUnknown(reference.to_owned())),
        };
        match *method {
            Method::GET | Method::HEAD => Ok(Self::ReadManifest(name, reference)),
            Method::DELETE => Ok(Self::DeleteManifest(name, reference)),
            Method::PUT => {
                let mut tags: Vec<Tag> = Vec::new();
                for tag in Query::parse(query).all("tag") {
                    if !matches!(reference, Reference::Digest(_)) {
                        return Err(ApiError::Unsupported("`tag` parameters need a push by digest"));
                    }
                    let tag = tag.parse().map_err(|_| ApiError::Tag(tag.into_owned()))?;
                    if !tags.contains(&tag) {
                        tags.push(tag);
                    }
                    if tags.len() > TAGS_MAX {
                        return Err(ApiError::TooManyTags(TAGS_MAX));
                    }
                }
                Ok(Self::PutManifest { repository: name, reference, tags })
            }
            _ => Err(ApiError::Method("GET, HEAD, PUT, DELETE")),
        }
    }

    fn begin(method: &Method, name: &str, query: &str) -> Result<Self, ApiError> {
        let name = repository(name)?;
        if *method != Method::POST {
            return Err(ApiError::Method("POST"));
        }
        let query = Query::parse(query);
        if let Some(digest) = query.get("mount") {
            let digest = blob_digest(&digest)?;
            match query.get("from").filter(|from| !from.is_empty()).map(|from| from.parse()).transpose() {
                Ok(from) => return Ok(Self::BeginUpload(name, Begin::Mount { digest, from })),
                // Nothing can be mounted from there; the upload goes on without (distribution-spec, "Mounting a blob from another repository").
                Err(_) => return Ok(Self::BeginUpload(name, Begin::Session(digest.algorithm()))),
            }
        }
        if let Some(digest) = query.get("digest") {
            return Ok(Self::BeginUpload(name, Begin::Whole(blob_digest(&digest)?)));
        }
        let algorithm = match query.get("digest-algorithm") {
            Some(algorithm) => algorithm.parse().map_err(|error| ApiError::Digest { digest: algorithm.into_owned(), error })?,
            None => Algorithm::Sha256,
        };
        Ok(Self::BeginUpload(name, Begin::Session(algorithm)))
    }

    fn upload(method: &Method, name: &str, id: &str, query: &str) -> Result<Self, ApiError> {
        let name = repository(name)?;
        let id = id.parse().map_err(|_| ApiError::UploadUnknown);
        match *method {
            Method::GET | Method::HEAD => Ok(Self::UploadStatus(name, id?)),
            Method::PATCH => Ok(Self::AppendUpload(name, id?)),
            Method::DELETE => Ok(Self::CancelUpload(name, id?)),
            Method::PUT => {
                let id = id?;
                let digest = Query::parse(query).get("digest").ok_or(ApiError::DigestMissing)?.into_owned();
                Ok(Self::FinishUpload(name, id, blob_digest(&digest)?))
            }
            _ => Err(ApiError::Method("GET, HEAD, PATCH, PUT, DELETE")),
        }
    }

    /// Whether answering it may change something.
    pub(crate) fn changes(&self) -> bool {
        match self {
            Self::Base
            | Self::Catalog(_)
            | Self::Tags(..)
            | Self::Referrers { .. }
            | Self::ReadManifest(..)
            | Self::ReadBlob(..)
            | Self::UploadStatus(..)
            | Self::Token(_)
            | Self::Metrics
            | Self::Health
            | Self::Ready => false,
            Self::PutManifest { .. }
            | Self::DeleteManifest(..)
            | Self::DeleteBlob(..)
            | Self::BeginUpload(..)
            | Self::AppendUpload(..)
            | Self::FinishUpload(..)
            | Self::CancelUpload(..) => true,
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Base => Kind::Base,
            Self::Token(_) => Kind::Token,
            Self::Catalog(_) | Self::Tags(..) | Self::Referrers { .. } => Kind::Listing,
            Self::ReadManifest(..) | Self::PutManifest { .. } | Self::DeleteManifest(..) => Kind::Manifest,
            Self::ReadBlob(..) | Self::DeleteBlob(..) => Kind::Blob,
            Self::BeginUpload(..)
            | Self::UploadStatus(..)
            | Self::AppendUpload(..)
            | Self::FinishUpload(..)
            | Self::CancelUpload(..) => Kind::Upload,
            Self::Metrics | Self::Health | Self::Ready => Kind::Health,
        }
    }
}

fn is_read(method: &Method) -> bool {
    *method == Method::GET || *method == Method::HEAD
}

fn repository(name: &str) -> Result<RepositoryName, ApiError> {
    name.parse().map_err(|error| ApiError::Name { name: name.to_owned(), error })
}

fn blob_digest(text: &str) -> Result<Digest, ApiError> {
    text.parse().map_err(|error: DigestError| ApiError::Digest { digest: text.to_owned(), error })
}

#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (path, query) = text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
    for method in [Method::GET, Method::HEAD, Method::PUT, Method::POST, Method::PATCH, Method::DELETE, Method::OPTIONS] {
        if let Ok(Endpoint::ReadManifest(name, _)) = Endpoint::parse(&method, path, query) {
            assert!(!name.as_str().contains("..") && !name.as_str().starts_with('/') && name.as_str().len() <= 255);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str) -> Result<Endpoint, ApiError> {
        Endpoint::parse(&Method::GET, path, None)
    }

    fn name(text: &str) -> RepositoryName {
        text.parse().unwrap()
    }

    #[test]
    fn names_may_hold_the_words_of_addresses() {
        let latest = || Reference::Tag("latest".parse().unwrap());
        assert_eq!(get("/v2/a/manifests/latest").unwrap(), Endpoint::ReadManifest(name("a"), latest()));
        assert_eq!(get("/v2/a/manifests/manifests/latest").unwrap(), Endpoint::ReadManifest(name("a/manifests"), latest()));
        assert_eq!(get("/v2/blobs/uploads/manifests/latest").unwrap(), Endpoint::ReadManifest(name("blobs/uploads"), latest()));
        assert!(matches!(get("/v2/tags/list/tags/list"), Ok(Endpoint::Tags(n, _)) if n == name("tags/list")));
        let id = "123e4567-e89b-42d3-a456-426614174000";
        assert!(matches!(get(&format!("/v2/a/blobs/uploads/{id}")), Ok(Endpoint::UploadStatus(n, _)) if n == name("a")));
    }

    #[test]
    fn an_encoded_path_is_the_same_path() {
        let digest = "0".repeat(64);
        assert_eq!(
            get(&format!("/v2/a%2fb/blobs/sha256%3A{digest}")).unwrap(),
            get(&format!("/v2/a/b/blobs/sha256:{digest}")).unwrap()
        );
        assert!(matches!(get("/v2/%2e%2e/manifests/x"), Err(ApiError::Name { .. })));
        assert!(matches!(get("/v2/a%00/manifests/x"), Err(ApiError::Name { .. })));
        assert!(matches!(get("/v2/%ff/manifests/x"), Err(ApiError::NotFound)));
    }

    #[test]
    fn wrong_methods_and_unknown_routes_are_told_apart() {
        assert!(matches!(Endpoint::parse(&Method::POST, "/v2/a/manifests/x", None), Err(ApiError::Method(_))));
        assert!(matches!(Endpoint::parse(&Method::GET, "/v2/a/blobs/uploads/", None), Err(ApiError::Method("POST"))));
        for path in ["/", "/v1/", "/v2x", "/v2/a", "/v2/a/b", "/v2/a/b/c", "/v2/a/tags/x", "/v2/uploads/x"] {
            assert!(matches!(get(path), Err(ApiError::NotFound)), "{path}");
        }
    }

    #[test]
    fn an_upload_begins_in_one_of_three_ways() {
        let digest = Digest::sha256(b"");
        let begin = |query: &str| match Endpoint::parse(&Method::POST, "/v2/a/blobs/uploads/", Some(query)) {
            Ok(Endpoint::BeginUpload(_, begin)) => begin,
            other => panic!("{other:?}"),
        };
        assert_eq!(begin(""), Begin::Session(Algorithm::Sha256));
        assert_eq!(begin("digest-algorithm=sha512"), Begin::Session(Algorithm::Sha512));
        assert_eq!(begin(&format!("digest={digest}")), Begin::Whole(digest));
        assert_eq!(begin(&format!("mount={digest}")), Begin::Mount { digest, from: None });
        assert_eq!(begin(&format!("mount={digest}&from=b%2Fc")), Begin::Mount { digest, from: Some(name("b/c")) });
        assert_eq!(begin(&format!("mount={digest}&from=B")), Begin::Session(Algorithm::Sha256));
        assert!(Endpoint::parse(&Method::POST, "/v2/a/blobs/uploads/", Some("digest-algorithm=md5")).is_err());
    }
}
