import subprocess
import sys

import tasks

HEAVY = ("torch", "datasets", "transformers", "numpy", "sklearn", "pyarrow", "ray", "mlflow", "yaml")
ABOVE = ("orchestrator", "pipelines", "prompts_store")


def test_import_is_light_and_points_no_way_up() -> None:
    code = f"import sys, tasks; print([m for m in {HEAVY + ABOVE!r} if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_generating_and_drawing_need_nothing_heavy() -> None:
    code = (
        "import sys, tasks; s = tasks.open_data('sample', ['cb']); r = s.load(s.task('cb'), 'train');"
        f"tasks.draw_fewshot(r, 16, 0); print([m for m in {HEAVY[:-1] + ABOVE!r} if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_all_names_are_there() -> None:
    assert all(hasattr(tasks, name) for name in tasks.__all__)
