"""The alert rules: promtool accepts them and their unit tests, each of them is made to fire by one, and what they ask for is
what a running gateway has in its `/metrics`."""

import re
import shutil
import subprocess
import unittest
from pathlib import Path

import yaml

from gateway import PROGRAM, Gateway

FOLDER = Path(__file__).resolve().parents[2] / "deploy/prometheus"
RULES = FOLDER / "darvazeh.rules.yaml"
TESTS = FOLDER / "darvazeh.rules.test.yaml"
CODES = Path(__file__).resolve().parents[2] / "src/words.rs"
# What Prometheus itself adds.
TARGET = {"job", "instance", "namespace", "pod"}


def alerts():
    [group] = yaml.safe_load(RULES.read_text())["groups"]
    return group["rules"]


class Rules(unittest.TestCase):
    @unittest.skipUnless(shutil.which("promtool"), "promtool is not installed")
    def test_promtool_accepts_the_rules_and_their_tests(self):
        for arguments in (["check", "rules", RULES.name], ["check", "config", "prometheus.yaml"], ["test", "rules", TESTS.name]):
            done = subprocess.run(["promtool", *arguments], cwd=FOLDER, capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_every_alert_is_made_to_fire(self):
        tests = TESTS.read_text()
        fired = set(re.findall(r'alertname="(\w+)", alertstate="firing"', tests)) | set(re.findall(r"alertname: (\w+)", tests))
        self.assertEqual({alert["alert"] for alert in alerts()}, fired)

    def test_every_alert_says_whom_it_wakes_and_what_to_do(self):
        for alert in alerts():
            self.assertIn(alert["labels"]["severity"], ("page", "ticket"), alert["alert"])
            self.assertEqual(set(alert["annotations"]), {"summary", "action"}, alert["alert"])

    def test_codes_are_the_gateways(self):
        known = set(re.findall(r'= "([a-z_]+)", \d{3}', CODES.read_text())) | {"admitted"}
        for alert in alerts():
            for values in re.findall(r'\b(?:code|outcome)=~?"([^"]*)"', alert["expr"]):
                self.assertLessEqual(set(values.split("|")), known, alert["alert"])


@unittest.skipUnless(PROGRAM, "DARVAZEH_BIN is not set")
class Metrics(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        gateway = Gateway()
        cls.addClassCleanup(gateway.stop)
        assert gateway.get(gateway.plain, "/open")[0] == 502
        assert gateway.get(gateway.plain, "/known")[0] == 401
        cls.labels = {}
        for line in gateway.get(gateway.admin, "/metrics")[1].splitlines():
            if not line.startswith("#"):
                name, labels = re.match(r"(\w+)(?:\{(.*)\})? ", line).groups()
                cls.labels.setdefault(name, set()).update(re.findall(r'(\w+)="', labels or ""))

    def selectors(self):
        """Every `metric{…}` of the rules, the autoscaler's adapter included, with the labels it is chosen by."""
        exprs = [alert["expr"] for alert in alerts()]
        exprs += [rule["seriesQuery"] for rule in yaml.safe_load((FOLDER / "adapter.yaml").read_text())["rules"]]
        for expr in exprs:
            for name, labels in re.findall(r"(darvazeh_\w+)(?:\{([^}]*)\})?", expr):
                yield name, set(re.findall(r"(\w+)(?:=|!=)", labels))

    def test_every_metric_exists_with_the_labels_it_is_chosen_by(self):
        asked = list(self.selectors())
        self.assertGreater(len(asked), 15)
        for name, labels in asked:
            self.assertIn(name, self.labels)
            self.assertLessEqual(labels, self.labels[name] | TARGET, name)

    def test_what_alerts_are_summed_by_and_speak_of_exists(self):
        for alert in alerts():
            metrics = re.findall(r"darvazeh_\w+", alert["expr"])
            known = TARGET.union(*(self.labels[metric] for metric in metrics))
            for group in re.findall(r"by \(([^)]*)\)", alert["expr"]):
                self.assertLessEqual(set(re.split(r",\s*", group)), known, alert["alert"])
            spoken = set(re.findall(r"\$labels\.(\w+)", str(alert["annotations"])))
            self.assertLessEqual(spoken, known, alert["alert"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
