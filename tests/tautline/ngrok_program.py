"""A program that stands in for ngrok: says and answers what pyngrok expects of it, and leads nowhere.

What it does besides is told by variables: NGROK_FAILS has it refuse its token, NGROK_SILENT say nothing and end after a
while.
"""

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

PUBLIC_URL = "https://stand-in.ngrok.example"


class Api(BaseHTTPRequestHandler):
    """The part of the agent's local API that is used."""

    def do_GET(self) -> None:
        self._answer(200, {"tunnels": []})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"] or 0)))
        Path(os.environ["NGROK_ASKED"]).write_text(json.dumps({"asked": asked, "command": sys.argv[1:]}))
        tunnel = {"name": asked["name"], "uri": f"/api/tunnels/{asked['name']}", "proto": "https"}
        self._answer(201, tunnel | {"public_url": PUBLIC_URL, "config": {"addr": asked["addr"]}})

    def log_message(self, *_: Any) -> None:
        """It has other things to say."""

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


def say(line: str) -> None:
    sys.stdout.write(f"t=2026-03-02T10:00:00+0000 {line}\n")
    sys.stdout.flush()


def main() -> None:
    if "NGROK_SILENT" in os.environ:
        time.sleep(1)
        sys.exit(1)
    config = json.loads(Path(sys.argv[sys.argv.index("--config") + 1]).read_text())
    if "NGROK_FAILS" in os.environ:
        token = config["authtoken"]
        say(f'lvl=eror msg="failed to auth" obj=tunnels err="Your authtoken: {token}\\r\\n\\r\\nERR_NGROK_105\\r\\n"')
        sys.exit(1)
    server = HTTPServer(("127.0.0.1", 0), Api)
    say(f'lvl=info msg="starting web service" obj=web addr=127.0.0.1:{server.server_port}')
    say('lvl=info msg="client session established" obj=tunnels.session')
    say('lvl=info msg="tunnel session started" obj=tunnels.session')
    server.serve_forever()


if __name__ == "__main__":
    main()
