"""Stands in for Windmill: python windmill.py SCRIPT; PORT, WEBHOOK_SECRET_FILE and DATABASE_URL are set.

Calls `preprocessor` and `main` of a script as Windmill's synchronous webhook does with `raw=true`, in a process of its own for each worker, and
answers as it does: 200 with the error if the script fails, else the script's own status. The real client of PyPI, `wmill`, asks it for
the variable and the resource.
"""

import importlib.util
import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PORT = int(os.environ["PORT"])
# Windmill's own limit, unless it was configured otherwise.
LARGEST_BODY = 2 * 1024 * 1024
WORKSPACE = "test"
KNOWN = {
    "/variables/get_value/f/openregister/webhook_secret": Path(os.environ["WEBHOOK_SECRET_FILE"]).read_text(encoding="ascii").strip(),
    "/resources/get_value_interpolated/f/openregister/database": os.environ["DATABASE_URL"],
}
os.environ.update(BASE_URL=f"http://127.0.0.1:{PORT}", BASE_INTERNAL_URL=f"http://127.0.0.1:{PORT}", WM_TOKEN="token", WM_WORKSPACE=WORKSPACE)


def script():
    spec = importlib.util.spec_from_file_location("script", sys.argv[1])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Windmill(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        path = self.path.split("?")[0].removeprefix(f"/api/w/{WORKSPACE}")
        if path in KNOWN:
            self.answer(200, KNOWN[path])
        else:
            if path.startswith(("/variables", "/resources")):
                print("asked for", self.path, flush=True)
            self.answer(404, "not found")

    def do_POST(self):
        length = int(self.headers.get("Content-Length", 0))
        if length > LARGEST_BODY:
            self.close_connection = True
            self.answer(413, "too large")
            return
        raw = self.rfile.read(length).decode()
        headers = {name.lower(): value for name, value in self.headers.items()}
        event = {"kind": "webhook", "body": None, "raw_string": raw, "query": {"raw": "true"}, "headers": headers}
        try:
            result = SCRIPT.main(**SCRIPT.preprocessor(event))
        except Exception as error:
            self.answer(200, {"error": {"name": type(error).__name__, "message": str(error)}})
            return
        if isinstance(result, dict) and "windmill_status_code" in result:
            print(result["result"], headers.get("webhook-id"), flush=True)
            self.answer(result["windmill_status_code"], result["result"])
        else:
            self.answer(200, result)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128


SERVER = Server(("127.0.0.1", PORT), Windmill)
SCRIPT = script()
SERVER.serve_forever()
