"""Transfer, multi-task and few-shot orchestration for Decomposed Prompt Tuning."""

__version__ = "0.1.0"
