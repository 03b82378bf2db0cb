"""What a task is: the catalogue, where rows come from, few-shot draws and metrics.

Importing this package is light: nothing heavy is imported before rows are asked for.
"""

from tasks._bag_of_words import bag_of_words
from tasks._catalogue import load_task, task_names
from tasks._draw import Dev, FewShotDraw, Protocol, draw_fewshot
from tasks._errors import TaskError
from tasks._forms import ENCODER_FORMS, FORMS, Form
from tasks._guess import Guess, guess_task
from tasks._hub import why_no_hub
from tasks._labels import LabelMap, label_map, match_labels
from tasks._metrics import METRICS, gold_of_metric, primary_metric, score, score_answers, score_values
from tasks._reading import RowStream, read_rows, stream_rows
from tasks._rows import BadRows, Example, Rows, find_leaks
from tasks._sources import SAMPLE_PREFIX, DataSource, open_data
from tasks._split import Selection, hold_out
from tasks._task import SPLITS, HubSource, LabelWords, Task

__all__ = [
    "ENCODER_FORMS",
    "FORMS",
    "METRICS",
    "SAMPLE_PREFIX",
    "SPLITS",
    "BadRows",
    "DataSource",
    "Dev",
    "Example",
    "FewShotDraw",
    "Form",
    "Guess",
    "HubSource",
    "LabelMap",
    "LabelWords",
    "Protocol",
    "RowStream",
    "Rows",
    "Selection",
    "Task",
    "TaskError",
    "bag_of_words",
    "draw_fewshot",
    "find_leaks",
    "gold_of_metric",
    "guess_task",
    "hold_out",
    "label_map",
    "load_task",
    "match_labels",
    "open_data",
    "primary_metric",
    "read_rows",
    "score",
    "score_answers",
    "score_values",
    "stream_rows",
    "task_names",
    "why_no_hub",
]
