"""The two-node example: keepalived accepts it for either node, and its check follows the gateway's readiness."""

import os
import re
import shutil
import socket
import subprocess
import tempfile
import unittest
from pathlib import Path

from gateway import PROGRAM, Gateway

FOLDER = Path(__file__).resolve().parents[2] / "deploy/keepalived"
CONFIG = FOLDER / "keepalived.conf"
CHECK = FOLDER / "darvazeh-ready"


@unittest.skipUnless(shutil.which("keepalived"), "keepalived is not installed")
class Config(unittest.TestCase):
    def judge(self, node, change=lambda text: text):
        """Its exit code and words. The check is looked for where it lies here; and run as root, because keepalived 2.2.7
        ends itself in a test of its configuration when it comes back from another account."""
        text = CONFIG.read_text().replace("/usr/local/libexec/darvazeh-ready", shutil.which("true"))
        text = text.replace("script_user nobody", "script_user root")
        with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
            file.write(change(text))
            file.flush()
            done = subprocess.run(["keepalived", "-t", "-f", file.name, "-i", node], capture_output=True, text=True)
        return done.returncode, (done.stdout + done.stderr).strip()

    @unittest.skipUnless(os.geteuid() == 0, "keepalived wants root")
    def test_keepalived_accepts_it_for_both_nodes(self):
        for node in ("node-a", "node-b"):
            self.assertEqual(self.judge(node), (0, ""), node)

    @unittest.skipUnless(os.geteuid() == 0, "keepalived wants root")
    def test_a_misspelt_key_would_be_seen(self):
        code, said = self.judge("node-a", lambda text: text.replace("advert_int", "advert_time"))
        self.assertNotEqual(code, 0)
        self.assertIn("advert_time", said)

    def test_each_node_owns_one_address_and_speaks_to_the_other(self):
        of = {node: re.sub(r"(?m)^\s*@(?!%s)\S+ .*$" % node, "", CONFIG.read_text()) for node in ("node-a", "node-b")}
        masters = {node: re.findall(r"state (\w+)", text) for node, text in of.items()}
        self.assertEqual(masters, {"node-a": ["MASTER", "BACKUP"], "node-b": ["BACKUP", "MASTER"]})
        source = {node: set(re.findall(r"unicast_src_ip (\S+)", text)) for node, text in of.items()}
        peers = {node: set(re.findall(r"unicast_peer \{\s*@\S+ (\S+)", re.sub(r"\n\s*\n", "\n", text))) for node, text in of.items()}
        self.assertEqual((source["node-a"], source["node-b"]), (peers["node-b"], peers["node-a"]))


@unittest.skipUnless(PROGRAM, "DARVAZEH_BIN is not set")
class Check(unittest.TestCase):
    def is_ready(self, admin):
        return subprocess.run([CHECK], env={**os.environ, "ADMIN": admin}).returncode == 0

    def test_it_follows_the_gateways_readiness(self):
        gateway = Gateway()
        self.addCleanup(gateway.stop)
        self.assertTrue(self.is_ready(gateway.admin))
        # A request that is under way keeps the gateway draining.
        host, port = gateway.plain.rsplit(":", 1)
        with socket.create_connection((host, int(port))) as caller:
            caller.sendall(b"POST /open HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
            gateway.process.terminate()
            while self.is_ready(gateway.admin):
                pass
        gateway.process.wait()
        self.assertFalse(self.is_ready(gateway.admin))


if __name__ == "__main__":
    unittest.main(verbosity=2)
