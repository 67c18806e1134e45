"""A gateway that runs, for the tests beside: in the clear, with a key set in a file and an agency that nobody listens for."""

import json
import os
import re
import socket
import subprocess
import tempfile
import threading
import urllib.error
import urllib.request
from pathlib import Path

PROGRAM = os.environ.get("DARVAZEH_BIN")

# The public key of RFC 7517, appendix A.1.
KEYS = {"keys": [{"kty": "EC", "crv": "P-256", "kid": "1", "use": "sig", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
                  "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}  # fmt: skip

CONFIG = """
version: 1
state_dir: var
drain: 20s
listeners: [{{ name: public, address: "127.0.0.1:0", tls: {{ certificates: [{{ cert: gateway.pem, key: gateway.key }}] }} }},
            {{ name: plain, address: "127.0.0.1:0" }}]
admin: {{ address: "127.0.0.1:0" }}
issuers:
  sso: {{ issuer: "https://sso.example.ir", audiences: [api], jwks: {{ file: keys.json }}, levels: {{ values: {{ one: 1 }} }} }}
agencies:
  tax: {{ title: {{ fa: مالیات, en: Tax }}, scope: national, endpoints: ["http://127.0.0.1:{closed}"] }}
routes:
  - {{ name: open, agency: tax, match: {{ prefix: /open }}, require: {{ level: 0 }} }}
  - {{ name: known, agency: tax, match: {{ prefix: /known }}, require: {{ level: 1 }} }}
"""


class Gateway:
    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        folder = Path(self.folder.name)
        subprocess.run([PROGRAM, "certs", "dev", "--out", folder, "--host", "api.example.ir"], check=True, capture_output=True)
        (folder / "keys.json").write_text(json.dumps(KEYS))
        # Bound and never listened to: connecting is refused, and nobody else can have the port.
        self.closed = socket.socket()
        self.closed.bind(("127.0.0.1", 0))
        (folder / "routes.yaml").write_text(CONFIG.format(closed=self.closed.getsockname()[1]))
        self.process = subprocess.Popen(
            [PROGRAM, "run", "--config", folder / "routes.yaml"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        said = []
        for line in self.process.stderr:
            said.append(line)
            ready = re.search(r"ready listeners=.*plain=(\S+) admin=(\S+)", line)
            if ready:
                self.plain, self.admin = ready.groups()
                break
        else:
            raise RuntimeError("".join(said))
        # Somebody has to read on, or the gateway stands still when the pipe is full.
        self.reader = threading.Thread(target=self.process.stderr.read)
        self.reader.start()

    def get(self, address, path, **headers):
        """Status and text, whatever the status is."""
        request = urllib.request.Request(f"http://{address}{path}", headers=headers)
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.reader.join()
        self.process.stderr.close()
        self.closed.close()
        self.folder.cleanup()
