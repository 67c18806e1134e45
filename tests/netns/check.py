"""The gateway between hosts, on wires that are slow, lose packets and break: a caller, the gateway and an agency, each in a
network namespace of its own.

    python3 tests/netns/check.py        # as root, with DARVAZEH_BIN; exit code 77 where the machine cannot do it
"""

import contextlib
import http.client
import http.server
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

from wires import Host, Wire, ip, why_not

PROGRAM = os.environ.get("DARVAZEH_BIN")
# How long an event may take on a busy machine; nothing waits so long when all is well.
PATIENCE = 30

CALLER, TO_CALLER = "10.78.1.1", "10.78.1.2"
TO_AGENCY, AGENCY = "10.78.2.1", "10.78.2.2"
TOP = """
version: 1
workers: 2
listeners: [{ name: public, address: "10.78.1.2:8080", limits: { idle: 2s, header_time: 2s } }]
admin: { address: "127.0.0.1:0" }
routes: [{ name: open, agency: tax, match: { prefix: / }, require: { level: 0 } }]
agencies:
  tax:
    title: { fa: مالیات, en: Tax }
    scope: national
    endpoints: ["http://10.78.2.2:8080"]
    outlier: off
"""
PATIENT = "    timeouts: { connect: 30s, response: 30s, idle: 30s }\n    health: off\n"
HASTY = "    timeouts: { connect: 1s, response: 1s, idle: 1s }\n    health: off\n"
CHECKED = "    timeouts: { connect: 1s, response: 1s, idle: 1s }\n"
CHECKED += "    health: { path: /health, interval: 200ms, timeout: 500ms, healthy_after: 1, unhealthy_after: 2 }\n"


class Agency(http.server.BaseHTTPRequestHandler):
    """Answers with what it was sent; `/slow` in two halves, the second when the test lets it."""

    protocol_version = "HTTP/1.1"
    asked = []
    go_on = threading.Event()

    def do_GET(self):
        length = int(self.headers.get("content-length", 0))
        body = self.rfile.read(length)
        if len(body) < length:
            return
        if self.path != "/health":
            self.asked.append(self.path)
        self.send_response(200)
        if self.path == "/slow":
            self.send_header("content-length", "8")
            self.end_headers()
            self.wfile.write(b"half")
            self.go_on.wait(PATIENCE)
            body = b"half"
        else:
            self.send_header("content-length", str(len(body)))
            self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 64

    def handle_error(self, *_):
        """A gateway that has given up is no error of the agency."""


class Connection(http.client.HTTPConnection):
    """From a host, also when it is opened anew because the last answer closed it."""

    def __init__(self, host, address, port):
        super().__init__(address, port, timeout=PATIENCE)
        self.home = host

    def connect(self):
        with self.home.inside():
            super().connect()


class Between(unittest.TestCase):
    """Three hosts and two wires, and a gateway for each test."""

    def setUp(self):
        hosts = [self.enterContext(Host(name)) for name in ("caller", "gateway", "agency")]
        self.caller, self.gateway, self.agency = hosts
        self.near = Wire(self.caller, CALLER, self.gateway, TO_CALLER)
        self.far = Wire(self.gateway, TO_AGENCY, self.agency, AGENCY)
        self.addCleanup(self.near.cut)
        self.addCleanup(self.far.cut)
        Agency.asked, Agency.go_on = [], threading.Event()
        with self.agency.inside():
            self.server = Server((AGENCY, 8080), Agency)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        self.addCleanup(Agency.go_on.set)

    def start(self, keys):
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        (folder / "routes.yaml").write_text(TOP + keys)
        command = [PROGRAM, "run", "--config", str(folder / "routes.yaml")]
        process = self.gateway.run(*command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        said = []
        for line in process.stderr:
            said.append(line)
            if ready := re.search(r"^ready .* admin=127\.0\.0\.1:(\d+)", line):
                self.admin = int(ready[1])
                break
        else:
            self.fail("".join(said))
        reader = threading.Thread(target=process.stderr.read)
        reader.start()

        def stop():
            process.kill()
            process.wait()
            reader.join()
            process.stderr.close()

        self.addCleanup(stop)

    def connect(self):
        connection = Connection(self.caller, TO_CALLER, 8080)
        connection.connect()
        self.addCleanup(connection.close)
        return connection

    def ask(self, method="GET", path="/", body=None, connection=None):
        """Status and code, and the body, on a connection that is kept or on a new one."""
        connection = connection or self.connect()
        connection.request(method, path, body)
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, answer.getheader("x-gateway-error"), b"" if answer.status != 200 else text

    def metric(self, name):
        with contextlib.closing(Connection(self.gateway, "127.0.0.1", self.admin)) as admin:
            admin.request("GET", "/metrics")
            text = admin.getresponse().read().decode()
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(f"darvazeh_{name}{{"))

    def until(self, what, holds):
        limit = time.monotonic() + PATIENCE
        while not holds():
            self.assertLess(time.monotonic(), limit, what)
            time.sleep(0.05)

    def test_delay_only_costs_time(self):
        self.start(PATIENT)
        self.near.delay = self.far.delay = 0.05
        connection = self.connect()
        began = time.monotonic()
        for n in range(5):
            body = b"x" * 10_000 * n
            self.assertEqual(self.ask("POST", f"/{n}", body, connection), (200, None, body))
        self.assertGreaterEqual(time.monotonic() - began, 5 * 4 * 0.05)
        self.assertEqual(Agency.asked, [f"/{n}" for n in range(5)])

    def test_loss_costs_nothing_but_time(self):
        self.start(PATIENT)
        self.near.loss = self.far.loss = 0.05
        paths = [f"/{n}" for n in range(20)]
        for path in paths:
            body = path.encode() * 5_000
            self.assertEqual(self.ask("POST", path, body), (200, None, body))
        self.assertEqual(Agency.asked, paths, "each was asked once, in its turn")

    def test_an_agency_beyond_a_broken_wire_is_waited_for_as_long_as_configured(self):
        self.start(HASTY)
        kept = self.connect()
        self.assertEqual(self.ask(connection=kept)[0], 200)
        self.far.up = False
        # On the connection that was kept, if this worker has it, or on a new one.
        outcomes = {self.ask(method, "/lost", body, kept)[:2] for method, body in [("POST", b"x"), ("GET", None), ("POST", b"x")]}
        self.assertLessEqual(outcomes, {(504, "upstream_timeout"), (504, "connect_failed")})
        self.far.up = True
        self.assertEqual(self.ask("POST", "/found", b"x", kept), (200, None, b"x"))
        self.assertNotIn("/lost", Agency.asked, "what was given up is not sent later")

    def test_checks_notice_a_broken_wire_and_a_mended_one(self):
        self.start(CHECKED)
        self.until("the agency to be well", lambda: self.ask()[0] == 200)
        self.far.up = False
        self.until("it to be called unwell", lambda: self.metric("upstream_endpoint_healthy") == 0)
        self.assertEqual(self.ask()[:2], (503, "no_healthy_endpoint"))
        self.far.up = True
        self.until("it to be called well", lambda: self.metric("upstream_endpoint_healthy") == 1)
        self.assertEqual(self.ask()[0], 200)

    def test_an_answer_that_a_break_ends_is_seen_to_be_cut(self):
        self.start(HASTY)
        connection = self.connect()
        connection.request("GET", "/slow")
        answer = connection.getresponse()
        self.assertEqual((answer.status, answer.read(4)), (200, b"half"))
        self.far.up = False
        with self.assertRaises((http.client.IncompleteRead, ConnectionError)):
            answer.read()

    def test_an_agency_to_which_no_way_leads_fails_at_once(self):
        self.start(PATIENT)
        ip("-n", self.gateway.name, "addr", "flush", "dev", "to-2-2")
        ip("-n", self.gateway.name, "route", "add", "unreachable", AGENCY)
        self.assertEqual(self.ask()[:2], (502, "connect_failed"))

    def test_callers_beyond_a_broken_wire_are_let_go(self):
        self.start(HASTY)
        idle, uploading, reading = self.connect(), self.connect(), self.connect()
        self.assertEqual(self.ask(connection=idle)[0], 200)
        uploading.putrequest("POST", "/upload")
        uploading.putheader("content-length", "10000")
        uploading.endheaders(b"x")
        reading.request("GET", "/slow")
        self.assertEqual(reading.getresponse().read(4), b"half")
        self.until("three connections", lambda: self.metric("connections_open") == 3)
        self.near.up = False
        self.until("nobody to be left", lambda: self.metric("connections_open") == self.metric("in_flight") == 0)
        self.near.up = True
        self.assertEqual(self.ask("POST", "/", b"x"), (200, None, b"x"))
        self.assertNotIn("/upload", Agency.asked)

    def test_a_short_break_is_noticed_by_nobody(self):
        self.start(PATIENT)
        kept = self.connect()
        for wire in (self.near, self.far):
            self.assertEqual(self.ask(connection=kept)[0], 200)
            wire.up = False
            threading.Timer(0.5, setattr, (wire, "up", True)).start()
            self.assertEqual(self.ask("POST", "/", b"x", kept), (200, None, b"x"))


if __name__ == "__main__":
    if not PROGRAM:
        sys.exit("DARVAZEH_BIN is not set")
    if reason := why_not():
        print(f"SKIPPED: {reason}")
        sys.exit(77)
    unittest.main(verbosity=2)
