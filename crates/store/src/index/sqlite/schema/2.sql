-- What came from an upstream registry, and from where. Content with a row here was pulled by somebody and goes when the room is needed for newer; content
-- without one was pushed. A pushed manifest takes the rows off what it names, so what has one is named by no pushed manifest of its repository.
CREATE TABLE origins (
    id INTEGER PRIMARY KEY,
    upstream TEXT NOT NULL,
    repository TEXT NOT NULL,
    UNIQUE (upstream, repository)
) STRICT;

CREATE TABLE cached_manifests (
    manifest_id INTEGER PRIMARY KEY REFERENCES manifests (id) ON DELETE CASCADE,
    repository_id INTEGER NOT NULL,
    origin_id INTEGER NOT NULL REFERENCES origins (id),
    fetched_at INTEGER NOT NULL,
    used_at INTEGER NOT NULL
) STRICT;
CREATE INDEX cached_manifests_by_repository ON cached_manifests (repository_id);
CREATE INDEX cached_manifests_by_use ON cached_manifests (used_at);

CREATE TABLE cached_blobs (
    repository_id INTEGER NOT NULL,
    blob_id INTEGER NOT NULL,
    origin_id INTEGER NOT NULL REFERENCES origins (id),
    fetched_at INTEGER NOT NULL,
    used_at INTEGER NOT NULL,
    PRIMARY KEY (repository_id, blob_id),
    FOREIGN KEY (repository_id, blob_id) REFERENCES repository_blobs (repository_id, blob_id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX cached_blobs_by_blob ON cached_blobs (blob_id);
CREATE INDEX cached_blobs_by_use ON cached_blobs (used_at);

-- `checked_at`: when the upstream last said that the tag leads there (ms).
CREATE TABLE cached_tags (
    repository_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    origin_id INTEGER NOT NULL REFERENCES origins (id),
    checked_at INTEGER NOT NULL,
    PRIMARY KEY (repository_id, name),
    FOREIGN KEY (repository_id, name) REFERENCES tags (repository_id, name) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
