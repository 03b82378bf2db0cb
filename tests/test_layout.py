"""Imports point one way: orchestrator -> pipelines -> prompts_store, tasks."""

import ast
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]
MAY_IMPORT = {
    "orchestrator": {"orchestrator", "pipelines", "prompts_store", "tasks"},
    "pipelines": {"pipelines", "prompts_store", "tasks"},
    "prompts_store": {"prompts_store"},
    "tasks": {"tasks"},
}
KEPT_OUT = {
    "pipelines": {"ray", "mlflow", "optuna"},
    "prompts_store": {"ray", "optuna"},
    "tasks": {"ray", "mlflow", "optuna"},
}


def imported(path: Path) -> set[str]:
    """Top-level names that a file imports anywhere, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names.add(str(node.module).split(".")[0])
    return names


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_point_one_way(package: str) -> None:
    forbidden = (set(MAY_IMPORT) - MAY_IMPORT[package]) | KEPT_OUT.get(package, set()) | {"tests"}
    files = sorted((TOP / package).rglob("*.py"))
    assert files
    wrong = {str(f.relative_to(TOP)): found for f in files if (found := imported(f) & forbidden)}
    assert not wrong
