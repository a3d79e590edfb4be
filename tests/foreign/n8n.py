"""Sets up a new n8n as examples/n8n says: python3 n8n.py ADDRESS PROGRAM WORKFLOW KEY; the environment is n8n's.

Makes the owner and the data table, chooses the table and puts the key into the workflow, imports it with n8n's own command, and
activates it.
"""

import json
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from http.cookiejar import CookieJar

address, program, workflow, key = sys.argv[1:]
browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))


def rest(method, path, body=None):
    request = urllib.request.Request(f"http://{address}/rest{path}", method=method)
    request.add_header("Content-Type", "application/json")
    data = None if body is None else json.dumps(body).encode()
    try:
        with browser.open(request, data, timeout=60) as answer:
            return json.load(answer)["data"]
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{method} {path}: {error.code} {error.read().decode()[:500]}") from error


# The routes come some time after n8n says that it is ready.
for _ in range(600):
    try:
        rest("GET", "/settings")
        break
    except (SystemExit, ValueError, OSError):
        time.sleep(0.2)

owner = {"email": "ada@example.org", "firstName": "Ada", "lastName": "Lovelace", "password": "Correct-horse-1"}
rest("POST", "/owner/setup", owner)
project = rest("GET", "/projects/personal")["id"]
columns = [{"name": "webhook_id", "type": "string"}]
table = rest("POST", f"/projects/{project}/data-tables", {"name": "webhook_inbox", "columns": columns})["id"]

with open(workflow, encoding="utf-8") as file:
    definition = json.load(file)
chosen = 0
for node in definition["nodes"]:
    if node["type"] == "n8n-nodes-base.dataTable":
        node["parameters"]["dataTableId"]["value"] = table
        chosen += 1
    if node["type"] == "n8n-nodes-base.crypto":
        node["parameters"]["secret"] = key
assert chosen == 3, chosen
with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
    json.dump(definition, file)
    file.flush()
    subprocess.run([*program.split(), "import:workflow", f"--input={file.name}"], check=True, stdout=sys.stderr)
imported = rest("GET", f"/workflows/{definition['id']}")
active = rest("PATCH", f"/workflows/{definition['id']}", {"active": True, "versionId": imported["versionId"]})["active"]
print("active" if active else "not active")
