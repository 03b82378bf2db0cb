"""Imports point one way: orchestrator -> pipelines -> prompts_store, tasks."""

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
OURS = {"orchestrator", "pipelines", "prompts_store", "tasks"}
FORBIDDEN = {
    "tasks": OURS - {"tasks"} | {"ray", "mlflow", "optuna", "torch", "transformers"},
    "prompts_store": OURS - {"prompts_store"} | {"ray", "optuna", "transformers"},
    "pipelines": {"orchestrator", "ray", "mlflow", "optuna"},
}


def imported(source: str) -> set[str]:
    """Top-level names of all modules that a source imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import():
                names |= {alias.name for alias in node.names}
            case ast.ImportFrom(level=0, module=str(module)):
                names.add(module)
            case ast.Call(func=ast.Name("import_module" | "__import__") | ast.Attribute(attr="import_module")):
                names |= {part.value for part in node.args[:1] if isinstance(part, ast.Constant)}
    return {str(name).split(".")[0] for name in names}


def test_imports_are_found_wherever_they_stand() -> None:
    source = (
        "import a.b, c\nfrom d.e import f\nfrom . import g\n"
        "def later():\n    import h\n    from i import j\n    import_module('k.l')\n    importlib.import_module('m')\n"
    )
    assert imported(source) == {"a", "c", "d", "h", "i", "k", "m"}


@pytest.mark.parametrize("package", FORBIDDEN)
def test_imports_point_one_way(package: str) -> None:
    files = sorted((REPOSITORY / package).rglob("*.py"))
    assert len(files) > 3
    wrong = {
        str(f.relative_to(REPOSITORY)): found for f in files if (found := imported(f.read_text()) & FORBIDDEN[package])
    }
    assert not wrong
