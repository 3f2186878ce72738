"""Calls of oras, one per run: STEP HOST ARGUMENTS as JSON; prints what it learned as JSON."""

import json
import os
import sys

import oras.client
from oras.oci import Subject

step, host, given = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
client = oras.client.OrasClient(hostname=host, insecure=True)
INDEX = "application/vnd.oci.image.index.v1+json"


def push():
    """Files with their media types, and perhaps a configuration, a subject, and chunks of a size."""
    os.chdir(given["folder"])
    subject = given.get("subject")
    answer = client.push(
        target=f"{host}/{given['reference']}",
        files=given["files"],
        manifest_config=given.get("config"),
        subject=Subject(**subject) if subject else None,
        do_chunked="chunk" in given,
        chunk_size=given.get("chunk", 1 << 20),
        quiet=True,
    )
    return {"status": answer.status_code, "digest": answer.headers["Docker-Content-Digest"]}


def pull():
    return client.pull(target=f"{host}/{given['reference']}", outdir=given["folder"])


def tags():
    return client.get_tags(f"{host}/{given['repository']}")


def delete():
    return client.delete_tags(f"{host}/{given['repository']}", given["tag"])


def push_index():
    """Not offered by the library as one call: its manifests are images'. Its requests do it."""
    url = f"{client.prefix}://{host}/v2/{given['repository']}/manifests/{given['tag']}"
    answer = client.do_request(url, "PUT", headers={"Content-Type": INDEX}, data=given["index"].encode())
    return {"status": answer.status_code, "digest": answer.headers["Docker-Content-Digest"]}


def manifest():
    return client.get_manifest(f"{host}/{given['reference']}", allowed_media_type=given.get("types"))


def discover():
    url = f"{client.prefix}://{host}/v2/{given['repository']}/referrers/{given['digest']}"
    return client.do_request(url, "GET").json()


print(json.dumps(globals()[step]()))
