import ast
import subprocess
import sys
from pathlib import Path

import pytest

import prompts_store

HEAVY = ("torch", "mlflow", "safetensors", "pydantic", "numpy")
ABOVE = ("ray", "orchestrator", "pipelines", "tasks")


def test_import_is_light() -> None:
    code = f"import sys, prompts_store; print([m for m in {HEAVY} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert out.stdout.strip() == "[]"


def test_nothing_is_imported_from_above() -> None:
    for path in Path(prompts_store.__file__).parent.glob("**/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [n for n in names if n.split(".")[0] in ABOVE], path


@pytest.mark.parametrize("name", prompts_store.__all__)
def test_public_names_exist_and_are_documented(name: str) -> None:
    assert getattr(prompts_store, name).__doc__
    assert name in dir(prompts_store)


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = prompts_store.nonsense  # type: ignore[attr-defined]
