"""The deployment files of docs/cluster: by Ray's own schema, or what can be said of them without running them."""

import copy
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

FOLDER = Path(__file__).parents[1] / "docs" / "cluster"
PINNED = re.compile(r"^[\w./-]+:[\w.-]*\d[\w.-]*$")
FROM_ENVIRONMENT = re.compile(r"\$\{\w+:\?[^}]+\}")


def load(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text())


@pytest.mark.parametrize("name", ["on-premise.yaml", "aws.yaml"])
def test_ray_up_takes_it(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    config = load(name)
    prepared = prepare_config(copy.deepcopy(config))
    validate_config(prepared)
    assert prepared["available_node_types"]
    for command in (*config["head_start_ray_commands"], *config["worker_start_ray_commands"]):
        assert command == "ray stop" or command.startswith("RAY_AUTH_MODE=token ray start ")
    assert PINNED.match(config["docker"]["image"])
    with pytest.raises(Exception, match="no_such_field"):
        validate_config(prepared | {"no_such_field": 1})


def test_the_rayjob_has_what_kuberay_requires() -> None:
    job = load("rayjob.yaml")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec = job["spec"]
    assert spec.keys() <= {
        "entrypoint", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished", "activeDeadlineSeconds", "backoffLimit",
        "rayClusterSpec",
    }  # fmt: skip
    cluster = spec["rayClusterSpec"]
    assert cluster.keys() == {"rayVersion", "authOptions", "headGroupSpec", "workerGroupSpecs"}
    assert cluster["rayVersion"] == version("ray")
    assert cluster["authOptions"] == {"mode": "token"}
    (group,) = cluster["workerGroupSpecs"]
    assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for part in (cluster["headGroupSpec"], group):
        assert all(isinstance(value, str) for value in part["rayStartParams"].values())
        (container,) = part["template"]["spec"]["containers"]
        assert PINNED.match(container["image"])
        assert container["resources"]["limits"] == container["resources"]["requests"]
        for variable in container.get("env", []):
            assert "value" not in variable, "secrets come from the cluster's own"


def test_the_rayjob_runs_a_command_that_there_is() -> None:
    from typer.testing import CliRunner

    from orchestrator.cli import app

    program, command, *options = load("rayjob.yaml")["spec"]["entrypoint"].split()
    assert program == "orchestrator"
    text = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output
    assert all(option in text for option in options if option.startswith("--"))


def test_the_mlflow_server_is_closed_pinned_and_keeps_its_data() -> None:
    compose = load("mlflow/compose.yaml")
    volumes = set()
    for name, service in compose["services"].items():
        assert PINNED.match(service["image"]), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        volumes |= {volume.split(":")[0] for volume in service.get("volumes", [])}
        assert set(service.get("depends_on", {})) < set(compose["services"])
        for key, value in service["environment"].items():
            if re.search("PASSWORD|SECRET|KEY|MC_HOST|STORE_URI", key):
                assert FROM_ENVIRONMENT.search(value), f"{name}: {key}"
    assert volumes == set(compose["volumes"]), "every volume is named"


@pytest.mark.parametrize("name", ["Dockerfile", "mlflow/Dockerfile"])
def test_images_are_pinned_and_do_not_run_as_root(name: str) -> None:
    lines = (FOLDER / name).read_text().splitlines()
    words = [line.split() for line in lines]
    assert all(PINNED.match(line[1]) for line in words if line[:1] == ["FROM"])
    assert [line[1] for line in words if line[:1] == ["USER"]][-1] != "root"
    for library in ("mlflow", "ray[default]"):
        for found in re.findall(re.escape(library) + r"==([\w.]+)", "\n".join(lines)):
            assert found == version(library.split("[")[0])


def test_the_page_names_every_file() -> None:
    page = (FOLDER.parent / "cluster.md").read_text()
    files = [path.relative_to(FOLDER) for path in FOLDER.rglob("*") if path.is_file()]
    assert all(f"(cluster/{file})" in page for file in files if file != Path("mlflow/Dockerfile"))
