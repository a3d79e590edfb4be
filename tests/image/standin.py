"""A server that answers as Nextcloud does what the sidecar asks it, and prints what n8n would receive."""

import base64
import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def admin():
    with open(os.environ["NEXTCLOUD_ADMIN_PASSWORD_FILE"]) as file:
        entry = os.environ["NEXTCLOUD_ADMIN_USER"] + ":" + file.read()
    return "Basic " + base64.b64encode(entry.encode()).decode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, kind, body, user=None):
        self.send_response(status)
        if user:
            self.send_header("X-User-Id", user)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def ocs(self, status, data):
        meta = {"status": "ok" if status == 200 else "failure", "statuscode": status, "message": ""}
        user = os.environ["NEXTCLOUD_ADMIN_USER"] if status == 200 else None
        self.answer(status, "application/json", json.dumps({"ocs": {"meta": meta, "data": data}}).encode(), user)

    def do_GET(self):
        path = self.path.split("?")[0]
        if path == "/status.php":
            self.answer(200, "application/json", b'{"installed":true,"maintenance":false,"needsDbUpgrade":false}')
        elif path == "/ocs/v2.php/apps/webhook_listeners/api/v1/webhooks":
            self.ocs(200 if self.headers.get("Authorization") == admin() else 401, [])
        else:
            self.answer(200, "text/html", b"stand-in for Nextcloud\n")

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        print(self.command, self.path, body.decode(), flush=True)
        self.answer(200, "application/json", b"{}")

    def log_message(self, *args):
        pass


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
ThreadingHTTPServer(("", int(sys.argv[1])), Handler).serve_forever()
