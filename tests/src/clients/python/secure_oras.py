"""Logs in at a registry with oras, pushes a file (unless it is only to pull) and pulls it: HOST AUTHORITY USER PASSWORD REFERENCE HOW; prints what
came of it as JSON."""

import json
import os
import sys
import tempfile

import oras.client

host, authority, user, password, reference, how = sys.argv[1:7]
os.environ["REQUESTS_CA_BUNDLE"] = authority
client = oras.client.OrasClient(hostname=host, insecure=False)
said = {"pushed": None, "pulled": None}
try:
    client.login(username=user, password=password, hostname=host)
    if how == "push":
        answer = client.push(target=f"{host}/{reference}", files=["notes.txt"], quiet=True)
        said["pushed"] = answer.status_code
except Exception as error:
    said["pushed"] = repr(error)
try:
    folder = tempfile.mkdtemp()
    for file in client.pull(target=f"{host}/{reference}", outdir=folder):
        said["pulled"] = open(file).read()
except Exception as error:
    said["pulled"] = repr(error)
print(json.dumps(said))
