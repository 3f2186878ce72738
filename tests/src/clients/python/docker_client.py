"""Tags, pushes, removes and pulls an image through the Docker engine's own Python client: ID REPOSITORY TAG."""

import json
import sys

import docker

image_id, repository, tag = sys.argv[1:]
engine = docker.from_env()
assert engine.images.get(image_id).tag(repository, tag)
digest = None
for line in engine.images.push(repository, tag, stream=True, decode=True):
    assert "error" not in line, line
    digest = line.get("aux", {}).get("Digest", digest)
engine.images.remove(image_id, force=True)
assert engine.images.list(all=True) == []
data = engine.images.get_registry_data(f"{repository}:{tag}")
pulled = engine.images.pull(repository, tag)
print(json.dumps({"pushed": digest, "known": data.id, "pulled": pulled.id}))
