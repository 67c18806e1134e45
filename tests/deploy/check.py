"""What can be known of deploy/ without deploying it: the unit is hardened, the image is static and not root, the
manifests are Kubernetes' and fit together, and the config they carry is one that the gateway accepts.

    python3 -m unittest discover -s tests/deploy -p '*.py'        # with DARVAZEH_BIN the program has its say too
"""

import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import kubernetes_validate
import yaml

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "deploy/systemd/darvazeh.service"
SOCKET = ROOT / "deploy/systemd/darvazeh.socket"
PROGRAM = os.environ.get("DARVAZEH_BIN")


def seconds(text):
    number, unit = re.fullmatch(r"(\d+)(ms|s|m)", text).groups()
    return int(number) * {"ms": 0.001, "s": 1, "m": 60}[unit]


@unittest.skipUnless(shutil.which("systemd-analyze"), "systemd-analyze is not installed")
class Unit(unittest.TestCase):
    def setUp(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.unit = Path(folder, UNIT.name)
        # `verify` looks for the program, which is not installed here.
        self.unit.write_text(UNIT.read_text().replace("/usr/local/bin/darvazeh", shutil.which("true")))
        self.socket = Path(folder, SOCKET.name)
        self.socket.write_text(SOCKET.read_text())

    def analyze(self, *arguments):
        done = subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True)
        return done.stdout + done.stderr

    def test_verify_has_nothing_to_say(self):
        self.assertEqual(self.analyze("verify", self.unit, self.socket).strip(), "")

    def test_exposure_is_under_two(self):
        report = self.analyze("security", "--offline=true", "--no-pager", self.unit)
        level = re.search(r"Overall exposure level for \S+: ([\d.]+)", report)
        self.assertTrue(level, report)
        self.assertLess(float(level[1]), 2.0, report)

    def test_stopping_waits_longer_than_the_drain(self):
        stop = re.search(r"^TimeoutStopSec=(\S+)", UNIT.read_text(), re.M)
        self.assertGreater(seconds(stop[1]), 30)

    def test_the_service_says_when_it_is_ready_and_that_it_is_alive(self):
        unit = UNIT.read_text()
        self.assertRegex(unit, r"(?m)^Type=notify$")
        self.assertRegex(unit, r"(?m)^WatchdogSec=\d+s$")

    def test_the_thread_that_reloads_may_be_nicer(self):
        filters = re.findall(r"^SystemCallFilter=(.+)$", UNIT.read_text(), re.M)
        taken = max(at for at, calls in enumerate(filters) if calls.startswith("~"))
        self.assertIn("setpriority", filters[taken + 1 :], "@resources takes it away")

    def test_the_socket_is_the_example_listeners(self):
        name = re.search(r"^FileDescriptorName=(\S+)", SOCKET.read_text(), re.M)
        listeners = yaml.safe_load((ROOT / "routes.yaml").read_text())["listeners"]
        self.assertIn(name[1], [listener["name"] for listener in listeners])


class Image(unittest.TestCase):
    def setUp(self):
        lines = (ROOT / "deploy/Dockerfile").read_text().replace("\\\n", " ").splitlines()
        self.steps = [line.split(None, 1) for line in lines if line.strip() and not line.startswith("#")]

    def of(self, word):
        return [rest for step, rest in self.steps if step == word]

    def test_the_last_stage_is_empty_and_not_root(self):
        self.assertEqual(self.of("FROM")[-1], "scratch")
        user = self.of("USER")[-1]
        self.assertRegex(user, r"^[1-9]\d*:[1-9]\d*$", "a number: there is no /etc/passwd to look a name up in")

    def test_the_base_is_pinned(self):
        base = self.of("ARG")[0]
        self.assertRegex(base, r"^BASE=rust:\d+\.\d+\.\d+-alpine\d+\.\d+$")
        minor = re.search(r'rust-version = "1\.(\d+)', (ROOT / "Cargo.toml").read_text())
        self.assertGreaterEqual(int(base.split(".")[1]), int(minor[1]))

    def test_the_program_is_started_without_a_shell(self):
        self.assertTrue(self.of("ENTRYPOINT")[-1].startswith("["))
        self.assertTrue(self.of("CMD")[-1].startswith("["))

    def test_what_is_copied_exists_and_reaches_the_builder(self):
        allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
        for copy in self.of("COPY"):
            words = copy.split()
            if words[0].startswith("--from"):
                continue
            for source in words[:-1]:
                self.assertTrue((ROOT / source).exists(), source)
                self.assertIn(source, allowed)

    def test_what_the_source_includes_reaches_the_builder(self):
        copied = {source for copy in self.of("COPY") if "--from" not in copy for source in copy.split()[:-1]}
        built = [file for file in (ROOT / "src").rglob("*.rs") if file.stem != "tests" and "tests" not in file.parts]
        for file in built:
            for included in re.findall(r'include_(?:str|bytes)!\("([^"]+)"', file.read_text()):
                path = (file.parent / included).resolve().relative_to(ROOT)
                self.assertIn(path.parts[0], {Path(source).parts[0] for source in copied}, f"{file} includes {path}")


class Kubernetes(unittest.TestCase):
    def setUp(self):
        documents = list(yaml.safe_load_all((ROOT / "deploy/kubernetes/darvazeh.yaml").read_text()))
        self.objects = {document["kind"]: document for document in documents}
        self.assertEqual(len(self.objects), len(documents))
        self.pod = self.objects["Deployment"]["spec"]["template"]["spec"]
        [self.container] = self.pod["containers"]
        self.config_text = self.objects["ConfigMap"]["data"]["routes.yaml"]
        self.config = yaml.safe_load(self.config_text)

    def test_every_object_is_what_kubernetes_knows(self):
        # The oldest that has the `sleep` of preStop, and the newest there is.
        for version in ("1.30", kubernetes_validate.latest_version()):
            for document in self.objects.values():
                kubernetes_validate.validate(document, version, strict=True)

    def test_a_misspelt_key_would_be_seen(self):
        self.container["lifecycle"]["preStop"]["sleeep"] = {"seconds": 5}
        with self.assertRaises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(self.objects["Deployment"], "1.30", strict=True)

    def test_everything_is_named_and_selects_the_pods(self):
        labels = self.objects["Deployment"]["spec"]["template"]["metadata"]["labels"]
        for kind, document in self.objects.items():
            self.assertEqual(document["metadata"]["name"], "darvazeh", kind)
        spec = {kind: document.get("spec") for kind, document in self.objects.items()}
        for selector in (
            spec["Deployment"]["selector"]["matchLabels"],
            spec["Service"]["selector"],
            spec["NetworkPolicy"]["podSelector"]["matchLabels"],
            spec["PodDisruptionBudget"]["selector"]["matchLabels"],
            *(spread["labelSelector"]["matchLabels"] for spread in self.pod["topologySpreadConstraints"]),
        ):
            self.assertLessEqual(selector.items(), labels.items())
        target = spec["HorizontalPodAutoscaler"]["scaleTargetRef"]
        self.assertEqual((target["kind"], target["name"]), ("Deployment", "darvazeh"))

    def test_one_gateway_is_always_there(self):
        scale = self.objects["HorizontalPodAutoscaler"]["spec"]
        budget = self.objects["PodDisruptionBudget"]["spec"]
        self.assertGreater(scale["minReplicas"], budget["maxUnavailable"])
        self.assertEqual(self.objects["Deployment"]["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"], 0)
        self.assertNotIn("replicas", self.objects["Deployment"]["spec"], "an apply would undo what the autoscaler did")
        self.assertEqual(
            [spread["topologyKey"] for spread in self.pod["topologySpreadConstraints"]],
            ["topology.kubernetes.io/zone", "kubernetes.io/hostname"],
        )

    def test_the_autoscalers_metric_is_given_by_the_adapter(self):
        metrics = self.objects["HorizontalPodAutoscaler"]["spec"]["metrics"]
        [wanted] = [metric["pods"]["metric"]["name"] for metric in metrics if metric["type"] == "Pods"]
        [rule] = yaml.safe_load((ROOT / "deploy/prometheus/adapter.yaml").read_text())["rules"]
        self.assertEqual(rule["name"]["matches"], wanted)
        self.assertTrue(rule["seriesQuery"].startswith(wanted + "{"))

    def test_the_monitor_scrapes_the_admin_port_of_the_pods(self):
        monitor = yaml.safe_load((ROOT / "deploy/kubernetes/monitoring.yaml").read_text())
        labels = self.objects["Deployment"]["spec"]["template"]["metadata"]["labels"]
        self.assertLessEqual(monitor["spec"]["selector"]["matchLabels"].items(), labels.items())
        [endpoint] = monitor["spec"]["podMetricsEndpoints"]
        self.assertIn(endpoint["port"], [port["name"] for port in self.container["ports"]])
        self.assertEqual(labels[monitor["spec"]["jobLabel"]], "darvazeh", "the alerts look for job=\"darvazeh\"")

    def test_the_container_may_do_nothing(self):
        self.assertTrue(self.pod["securityContext"]["runAsNonRoot"])
        self.assertGreater(self.pod["securityContext"]["runAsUser"], 0)
        self.assertEqual(self.pod["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
        self.assertFalse(self.pod["automountServiceAccountToken"])
        context = self.container["securityContext"]
        self.assertTrue(context["readOnlyRootFilesystem"])
        self.assertFalse(context["allowPrivilegeEscalation"])
        self.assertEqual(context["capabilities"], {"drop": ["ALL"]})
        self.assertNotIn("latest", self.container["image"])
        self.assertIn("memory", self.container["resources"]["limits"])

    def test_probes_ask_the_admin_listener(self):
        ports = {port["name"]: port["containerPort"] for port in self.container["ports"]}
        self.assertEqual(ports["admin"], int(self.config["admin"]["address"].rsplit(":", 1)[1]))
        self.assertEqual(ports["https"], int(self.config["listeners"][0]["address"].rsplit(":", 1)[1]))
        for probe, path in {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}.items():
            self.assertEqual(self.container[probe]["httpGet"], {"path": path, "port": "admin"})
        for port in self.objects["Service"]["spec"]["ports"]:
            self.assertNotEqual(port["targetPort"], "admin", "the admin listener is not for the world")

    def test_termination_waits_longer_than_the_drain(self):
        pause = self.container["lifecycle"]["preStop"]["sleep"]["seconds"]
        self.assertGreater(self.pod["terminationGracePeriodSeconds"], pause + seconds(self.config["drain"]))

    def test_every_mount_has_a_volume_and_state_can_be_written(self):
        mounts = {mount["name"]: mount for mount in self.container["volumeMounts"]}
        self.assertEqual(set(mounts), {volume["name"] for volume in self.pod["volumes"]})
        paths = [mount["mountPath"] for mount in self.container["volumeMounts"]]
        for key in ("assertion.key", "pairwise.key"):
            self.assertIn(f"{self.config['state_dir']}/{key}", paths, "the pods would not agree on it")
        self.assertEqual(mounts["state"]["mountPath"], self.config["state_dir"])
        self.assertFalse(mounts["state"].get("readOnly", False))

    @unittest.skipUnless(PROGRAM, "DARVAZEH_BIN is not set")
    def test_the_gateway_accepts_the_config_map(self):
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        subprocess.run([PROGRAM, "certs", "dev", "--out", folder, "--host", "api.example.ir"], check=True, capture_output=True)
        text = self.config_text.replace("/etc/darvazeh/tls/tls.crt", "gateway.pem").replace("/etc/darvazeh/tls/tls.key", "gateway.key")
        (folder / "routes.yaml").write_text(text.replace("/var/lib/darvazeh", str(folder / "var")))
        done = subprocess.run([PROGRAM, "check", "--config", folder / "routes.yaml"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


class Integrations(unittest.TestCase):
    """What cannot be run here: every other example is, by tests/integrations."""

    FOLDER = ROOT / "deploy/integrations"

    def filters(self, listener):
        return listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]

    def test_envoy_asks_before_it_forwards_and_fails_closed(self):
        envoy = yaml.safe_load((self.FOLDER / "envoy/envoy.yaml").read_text())["static_resources"]
        over_grpc = self.filters(envoy["listeners"][0])
        self.assertEqual([each["name"].rsplit(".", 1)[1] for each in over_grpc], ["ext_authz", "router"])
        over_http = yaml.safe_load((self.FOLDER / "envoy/http_service.yaml").read_text())
        self.assertEqual([each["name"].rsplit(".", 1)[1] for each in over_http], ["header_mutation", "ext_authz"])
        for asking in (over_grpc[0]["typed_config"], over_http[1]["typed_config"]):
            self.assertIs(asking["failure_mode_allow"], False)
            self.assertEqual(asking["transport_api_version"], "V3")
        self.assertEqual(over_http[1]["typed_config"]["http_service"]["path_prefix"], "/.gateway/verify")
        clusters = {cluster["name"] for cluster in envoy["clusters"]}
        self.assertIn(over_grpc[0]["typed_config"]["grpc_service"]["envoy_grpc"]["cluster_name"], clusters)
        self.assertIn(over_http[1]["typed_config"]["http_service"]["server_uri"]["cluster"], clusters)

    def test_envoy_sends_no_field_that_tells_of_another_request(self):
        asking = yaml.safe_load((self.FOLDER / "envoy/http_service.yaml").read_text())[1]["typed_config"]
        sent = [pattern.get("exact", pattern.get("prefix")) for pattern in asking["allowed_headers"]["patterns"]]
        self.assertFalse([name for name in sent if name.startswith(("x-original", "x-forwarded-m", "x-forwarded-u", "x-gateway"))])


if __name__ == "__main__":
    unittest.main(verbosity=2)
