# Logs a user in at an issuer as a program does, by the authorization code flow, and prints the ID token.
# Arguments: the issuer, the client's id, which becomes the audience, and the user.
import json
import sys
import urllib.parse

import httpx

issuer, client, user = sys.argv[1:4]
back = "http://localhost/back"
query = {"response_type": "code", "client_id": client, "redirect_uri": back, "scope": "openid", "state": "s"}
page = issuer + "/oauth2/authorize?" + urllib.parse.urlencode(query)
with httpx.Client() as http:
    # Whatever client asks is known there.
    sent = http.post(page, data={"sub": user})
    code = urllib.parse.parse_qs(urllib.parse.urlparse(sent.headers["location"]).query)["code"][0]
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": back}
    answer = http.post(issuer + "/oauth2/token", data=form, auth=(client, "secret"))
    print(json.dumps(answer.json()["id_token"]))
