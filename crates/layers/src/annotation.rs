//! Annotations on the descriptors of layers that were cut.

/// How the layer was cut: `files+fastcdc2020` with the parameters in bytes, as `Cut` writes them. Two layers with the same
/// value, by the same version of the encoder, share the pieces of the files that they share.
pub const CUT: &str = "dev.wharf.layer.cut";

/// Where in the layer the list of its pieces lies, `OFFSET:LENGTH` in bytes; see [`piece`](crate::piece).
pub const PIECES: &str = "dev.wharf.layer.pieces";

/// Prefixes under which readers look for the positions in a zstd:chunked layer: the older one, of podman up to 4, and the newer.
pub const CHUNKED_PREFIXES: [&str; 2] = ["io.containers.zstd-chunked.", "io.github.containers.zstd-chunked."];
/// After the prefix: SHA-256 of the compressed table of contents, `sha256:…`.
pub const MANIFEST_CHECKSUM: &str = "manifest-checksum";
/// After the prefix: `OFFSET:COMPRESSED:LENGTH:1` of the table of contents, in bytes.
pub const MANIFEST_POSITION: &str = "manifest-position";
/// After the prefix: `OFFSET:COMPRESSED:LENGTH` of the tar-split, in bytes.
pub const TARSPLIT_POSITION: &str = "tarsplit-position";
