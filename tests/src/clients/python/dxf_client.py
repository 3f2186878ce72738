"""Pushes blobs, an image and an index with python-dxf and pulls them back: HOST REPOSITORY FOLDER-OF-A-LAYOUT."""

import json
import os
import sys

from dxf import DXF

host, repository, layout = sys.argv[1:]
blobs = os.path.join(layout, "blobs", "sha256")


def read(digest):
    with open(os.path.join(blobs, digest.removeprefix("sha256:")), "rb") as file:
        return file.read()


with open(os.path.join(layout, "index.json")) as file:
    entries = {e["annotations"]["org.opencontainers.image.ref.name"]: e for e in json.load(file)["manifests"]}

client = DXF(host, repository, insecure=True)
checked = []
for name in ("amd64", "arm64"):
    manifest = read(entries[name]["digest"]).decode()
    parsed = json.loads(manifest)
    for blob in [parsed["config"], *parsed["layers"]]:
        path = os.path.join(blobs, blob["digest"].removeprefix("sha256:"))
        assert client.push_blob(path, check_exists=True) == blob["digest"]
        assert client.blob_size(blob["digest"]) == blob["size"]
        assert b"".join(client.pull_blob(blob["digest"])) == read(blob["digest"])
        checked.append(blob["digest"])
    client.set_manifest(name, manifest)
    assert client.get_manifest(name) == manifest

client.set_manifest("multi", read(entries["multi"]["digest"]).decode())
for name in ("amd64", "arm64"):
    manifest = read(entries[name]["digest"]).decode()
    assert client.get_manifest("multi", platform=f"linux/{name}") == manifest

other = DXF(host, repository + "/mounted", insecure=True)
assert other.mount_blob(repository, checked[0]) == checked[0]
assert other.blob_size(checked[0]) > 0

print(json.dumps({"tags": sorted(client.list_aliases()), "blobs": len(checked)}))
