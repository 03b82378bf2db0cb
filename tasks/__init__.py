"""What a task is: the catalogue, where rows come from, few-shot draws and metrics.

Importing this package is light: nothing heavy is imported before rows are asked for.
"""

from tasks._catalogue import load_task, task_names
from tasks._draw import Dev, FewShotDraw, draw_fewshot, hold_out
from tasks._errors import TaskError
from tasks._hub import why_no_hub
from tasks._metrics import METRICS, primary_metric, score
from tasks._reading import read_rows
from tasks._rows import Example, Rows, find_leaks
from tasks._sources import SAMPLE_PREFIX, DataSource, open_data
from tasks._task import FORMS, SPLITS, HubSource, Task

__all__ = [
    "FORMS",
    "METRICS",
    "SAMPLE_PREFIX",
    "SPLITS",
    "DataSource",
    "Dev",
    "Example",
    "FewShotDraw",
    "HubSource",
    "Rows",
    "Task",
    "TaskError",
    "draw_fewshot",
    "find_leaks",
    "hold_out",
    "load_task",
    "open_data",
    "primary_metric",
    "read_rows",
    "score",
    "task_names",
    "why_no_hub",
]
