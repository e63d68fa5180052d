"""What users get when they install Tailrace."""

import re
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
NOT_IN_PLAIN_INSTALL = (
    "click",
    "google.rpc",
    "grpc_health",
    "grpc_reflection",
    "grpc_status",
    "opentelemetry",
    "prometheus_client",
    "redis",
    "rich",
    "structlog",
)
PORTIONS = ("cli", "client", "server", "testing", "v1", "worker")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    directory = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=60,
    )
    return zipfile.ZipFile(next(directory.glob("*.whl")))


def test_no_root_claims_the_namespace_for_itself() -> None:
    roots = [ROOT / "client", ROOT / "proto/gen/python", ROOT / "server", ROOT / "worker"]

    assert all((root / "tailrace").is_dir() for root in roots)
    assert [str(root) for root in roots if (root / "tailrace/__init__.py").exists()] == []


def test_wheel_holds_only_the_namespace(wheel: zipfile.ZipFile) -> None:
    tops = {name.partition("/")[0] for name in wheel.namelist()}

    assert {top for top in tops if not top.endswith(".dist-info")} == {"tailrace"}


def test_wheel_marks_every_portion_as_typed(wheel: zipfile.ZipFile) -> None:
    assert {f"tailrace/{portion}/py.typed" for portion in PORTIONS} <= set(wheel.namelist())


@pytest.mark.parametrize("suffix", [".lua", ".sql", ".py", ".pyi"])
def test_wheel_ships_every_file_of_the_sources(wheel: zipfile.ZipFile, suffix: str) -> None:
    roots = [ROOT / "client", ROOT / "proto/gen/python", ROOT / "server", ROOT / "worker"]
    sources = {path.relative_to(root).as_posix() for root in roots for path in root.rglob(f"*{suffix}")}

    assert sources != set()
    assert sources <= set(wheel.namelist())


def test_plain_install_brings_grpcio_and_protobuf_only(wheel: zipfile.ZipFile) -> None:
    name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    requirements = Parser().parsestr(wheel.read(name).decode()).get_all("Requires-Dist")

    assert requirements is not None
    plain = [requirement for requirement in requirements if "extra ==" not in requirement]
    assert sorted(requirement.partition(">=")[0] for requirement in plain) == ["grpcio", "protobuf"]


def test_client_and_worker_import_with_nothing_but_the_plain_install() -> None:
    script = f"""
import sys


class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.startswith({NOT_IN_PLAIN_INSTALL}):
            raise ModuleNotFoundError(name)


sys.meta_path.insert(0, Missing())
import tailrace.client, tailrace.worker, tailrace.worker.__main__
"""

    completed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)

    assert (completed.returncode, completed.stderr) == (0, "")


def test_stubs_are_generated_with_the_oldest_release_that_is_supported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    generated = (ROOT / "proto/gen/python/tailrace/v1/task_service_pb2_grpc.py").read_text(encoding="utf-8")

    floor = next(d.partition(">=")[2] for d in project["project"]["dependencies"] if d.startswith("grpcio"))
    assert f"GRPC_GENERATED_VERSION = '{floor}.0'" in generated


def test_pinned_versions_satisfy_the_project() -> None:
    pins = {
        line.partition("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = list(project["project"]["dependencies"])
    for extra in ("server", "otel"):
        wanted += project["project"]["optional-dependencies"][extra]
    for group in project["dependency-groups"].values():
        wanted += [requirement for requirement in group if isinstance(requirement, str)]

    names = {re.split("[<>=!]", requirement)[0].lower() for requirement in wanted}
    assert {name.partition("[")[0] for name in names} - pins == {"tailrace"}
