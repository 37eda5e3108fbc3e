"""The manifests, checked with Kubernetes' schemas, and compared with the image, the command line and the metrics."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.dockerfile import instructions
from tests.deploy.files import DEPLOY, option, options, seconds
from tests.e2e.process import command, on_disk
from tests.e2e.support import Client

yaml = pytest.importorskip("yaml", reason="kubernetes-validate is not installed")
kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")

FILES = [path.name for path in sorted(DEPLOY.glob("kubernetes*.yaml"))]
#: the oldest version in common use, and the newest with schemas
VERSIONS = ["1.33", "1.37"]
IMAGE = instructions(DEPLOY / "Dockerfile")


def documents(name: str) -> dict[str, Any]:
    """Return the documents of a file by kind."""
    found = list(yaml.safe_load_all((DEPLOY / name).read_text()))
    return {document["kind"]: document for document in found}


DEPLOYMENT = documents("kubernetes.yaml")["Deployment"]
POD = DEPLOYMENT["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
(ENTRY,) = (step.exec_form for step in IMAGE if step.word == "ENTRYPOINT")
COMMAND = [*ENTRY, *CONTAINER["args"]]


def test_the_manifests_are_complete() -> None:
    assert {name: set(documents(name)) for name in FILES} == {
        "kubernetes.yaml": {"Deployment", "Service", "PodDisruptionBudget"},
        "kubernetes-hpa.yaml": {"HorizontalPodAutoscaler"},
        "kubernetes-keda.yaml": {"ScaledObject"},
    }


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", [name for name in FILES if "keda" not in name])
def test_the_schema(name: str, version: str) -> None:
    for document in documents(name).values():
        kubernetes_validate.validate(document, version, strict=True)


def test_the_schema_would_refuse_it() -> None:
    with pytest.raises(kubernetes_validate.ValidationError, match="terminationGracePeriod"):
        kubernetes_validate.validate(
            {**DEPLOYMENT, "spec": {**DEPLOYMENT["spec"], "terminationGracePeriod": 1}}, VERSIONS[-1], strict=True
        )


def test_the_autoscaler_behaviour_in_keda() -> None:
    """No package has the schema of a ScaledObject. Its behaviour is that of an autoscaler."""
    scaled = documents("kubernetes-keda.yaml")["ScaledObject"]
    assert scaled["apiVersion"] == "keda.sh/v1alpha1"
    spec = scaled["spec"]
    assert set(spec) == {
        "scaleTargetRef", "minReplicaCount", "maxReplicaCount", "pollingInterval", "advanced", "triggers",
    }  # fmt: skip
    autoscaler = documents("kubernetes-hpa.yaml")["HorizontalPodAutoscaler"]
    own = spec["advanced"]["horizontalPodAutoscalerConfig"]
    made = {**autoscaler, "spec": {**autoscaler["spec"], **own, "scaleTargetRef": spec["scaleTargetRef"]}}
    kubernetes_validate.validate(made, VERSIONS[-1], strict=True)
    asks, computes = spec["triggers"]
    assert set(asks["metadata"]) == {"serverAddress", "query", "threshold"}
    assert (computes["type"], set(computes["metadata"])) == ("cpu", {"value"})
    # KEDA requires strings under metadata.
    assert all(isinstance(value, str) for trigger in spec["triggers"] for value in trigger["metadata"].values())


def test_they_are_about_the_same_pods() -> None:
    kinds = {kind: document for name in FILES for kind, document in documents(name).items()}
    labels = DEPLOYMENT["spec"]["template"]["metadata"]["labels"]
    assert DEPLOYMENT["spec"]["selector"]["matchLabels"] == labels
    assert kinds["Service"]["spec"]["selector"] == labels
    assert kinds["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    target = {"apiVersion": DEPLOYMENT["apiVersion"], "kind": "Deployment", "name": DEPLOYMENT["metadata"]["name"]}
    assert kinds["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"] == target
    assert kinds["ScaledObject"]["spec"]["scaleTargetRef"] == target


def test_the_pod_is_that_of_the_image() -> None:
    (user,) = (step.text for step in IMAGE if step.word == "USER")
    assert user == "{runAsUser}:{runAsGroup}".format(**POD["securityContext"])
    ports = {port["name"]: str(port["containerPort"]) for port in CONTAINER["ports"]}
    assert ports == {
        name: option(ENTRY, flag).rsplit(":", 1)[1] for name, flag in (("http", "--addr"), ("admin", "--admin-addr"))
    }
    (port,) = documents("kubernetes.yaml")["Service"]["spec"]["ports"]
    assert port["targetPort"] == "http"
    annotations = DEPLOYMENT["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == ports["admin"]


def test_the_termination_grace_period_suffices() -> None:
    delay = seconds(option(COMMAND, "--drain-delay"))
    ready = CONTAINER["readinessProbe"]
    assert delay >= ready["periodSeconds"] * ready["failureThreshold"] + ready["timeoutSeconds"]
    assert POD["terminationGracePeriodSeconds"] > delay + seconds(option(COMMAND, "--drain-timeout"))
    start = CONTAINER["startupProbe"]
    assert start["periodSeconds"] * start["failureThreshold"] > 120  # --compile-timeout


async def test_replicas_meet_the_manifests(tmp_path: Path) -> None:
    """Run a replica with its command line, its probes, its end, and the metrics for scaling."""
    component = on_disk(tmp_path, "hello")
    async with command(tmp_path, component, *options(COMMAND)) as server:

        async def asked(path: str) -> tuple[int, str]:
            async with Client(server.admin_port) as client:
                answer = await client.ask(path)
            return answer.status, answer.body.decode()

        probes = {name: CONTAINER[name]["httpGet"] for name in ("startupProbe", "readinessProbe", "livenessProbe")}
        assert {probe["port"] for probe in probes.values()} == {"admin"}
        while (await asked(probes["startupProbe"]["path"]))[0] != 200:
            assert server.process.poll() is None, server.stderr
        assert (await server.ask()).status == 200
        for probe in probes.values():
            assert (await asked(probe["path"]))[0] == 200
        annotations = DEPLOYMENT["spec"]["template"]["metadata"]["annotations"]
        status, metrics = await asked(annotations["prometheus.io/path"])
        while "wasi_trio_requests_total" not in metrics:  # a worker reports every second
            status, metrics = await asked(annotations["prometheus.io/path"])
        assert status == 200
        known = set(re.findall(r"^# TYPE (\w+)", metrics, re.MULTILINE))
        metric = documents("kubernetes-hpa.yaml")["HorizontalPodAutoscaler"]["spec"]["metrics"][0]["pods"]["metric"]
        query = documents("kubernetes-keda.yaml")["ScaledObject"]["spec"]["triggers"][0]["metadata"]["query"]
        assert metric["name"] in known
        assert set(re.findall(r"wasi_trio_\w+", query)) == {metric["name"]}
        server.signal(signal.SIGTERM)
        while (await asked(probes["readinessProbe"]["path"]))[0] == 200:
            pass
        # The liveness probe must not kill a draining replica.
        assert (await asked(probes["livenessProbe"]["path"]))[0] == 200
        assert (await server.ask()).status == 200
        server.signal(signal.SIGTERM)
        await server.ended()
