-- One row a repository that anything was ever pushed to. `collect_after`: when the collector should look at it (ms); NULL: not before something changes.
-- `held_bytes`: what waited in it for the end of a lease or the grace at its last look.
CREATE TABLE repositories (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    manifests INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    held_bytes INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    collect_after INTEGER
) STRICT;
CREATE INDEX repositories_listed ON repositories (name) WHERE manifests > 0;
CREATE INDEX repositories_collectable ON repositories (collect_after) WHERE collect_after IS NOT NULL;

-- Content, once. `location` is opaque here; it is NULL for content that `blob_contents` holds. An id is never used again: a verdict of the collector must not come to be about other content.
CREATE TABLE blobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sha256 BLOB NOT NULL UNIQUE,
    size INTEGER NOT NULL,
    location TEXT,
    created_at INTEGER NOT NULL,
    verified_at INTEGER NOT NULL,
    damaged INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX blobs_by_location ON blobs (location) WHERE location IS NOT NULL;
CREATE INDEX blobs_by_verification ON blobs (verified_at);

-- Apart from `blobs`, so that going through these reads little.
CREATE TABLE blob_contents (
    blob_id INTEGER PRIMARY KEY REFERENCES blobs (id) ON DELETE CASCADE,
    content BLOB NOT NULL
) STRICT;

-- Other digests of the same content.
CREATE TABLE blob_aliases (
    digest BLOB PRIMARY KEY,
    blob_id INTEGER NOT NULL REFERENCES blobs (id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX blob_aliases_by_blob ON blob_aliases (blob_id);

CREATE TABLE repository_blobs (
    repository_id INTEGER NOT NULL REFERENCES repositories (id),
    blob_id INTEGER NOT NULL REFERENCES blobs (id),
    linked_at INTEGER NOT NULL,
    PRIMARY KEY (repository_id, blob_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX repository_blobs_by_blob ON repository_blobs (blob_id);

-- `unheld_since`: since when no tag, held index or held subject keeps it (ms); NULL while something does, or nobody looked yet.
CREATE TABLE manifests (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    repository_id INTEGER NOT NULL REFERENCES repositories (id),
    sha256 BLOB NOT NULL,
    sha512 BLOB NOT NULL,
    media_type TEXT NOT NULL,
    subject BLOB,
    artifact_type TEXT,
    annotations TEXT,
    pushed_at INTEGER NOT NULL,
    unheld_since INTEGER,
    -- Last, so that whoever looks at the columns before it does not read over it.
    bytes BLOB NOT NULL,
    UNIQUE (repository_id, sha256)
) STRICT;
CREATE INDEX manifests_by_sha512 ON manifests (repository_id, sha512);
CREATE INDEX manifests_by_subject ON manifests (repository_id, subject, sha256) WHERE subject IS NOT NULL;

-- What manifests name, blobs and manifests alike: which of them it is, the repository's content decides.
CREATE TABLE manifest_references (
    repository_id INTEGER NOT NULL,
    digest BLOB NOT NULL,
    manifest_id INTEGER NOT NULL REFERENCES manifests (id) ON DELETE CASCADE,
    PRIMARY KEY (repository_id, digest, manifest_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX manifest_references_by_manifest ON manifest_references (manifest_id);

CREATE TABLE tags (
    repository_id INTEGER NOT NULL REFERENCES repositories (id),
    name TEXT NOT NULL,
    manifest_id INTEGER NOT NULL REFERENCES manifests (id),
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (repository_id, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX tags_by_manifest ON tags (manifest_id);

CREATE TABLE uploads (
    id TEXT PRIMARY KEY,
    repository TEXT NOT NULL,
    owner TEXT NOT NULL,
    location TEXT NOT NULL,
    offset INTEGER NOT NULL,
    sha256_state BLOB,
    sha512_state BLOB,
    created_at INTEGER NOT NULL,
    progressed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX uploads_by_progress ON uploads (progressed_at);
CREATE INDEX uploads_by_location ON uploads (location);

-- Bytes without a blob, to be deleted from the blob store.
CREATE TABLE doomed (
    location TEXT PRIMARY KEY,
    size INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE changes (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    repository TEXT NOT NULL,
    tag TEXT,
    digest BLOB
) STRICT;

-- Single values: `alive_at`, `collected_at` (ms).
CREATE TABLE facts (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
