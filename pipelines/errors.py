"""The one error of this package that a person is meant to read."""


class PipelineError(ValueError):
    """Something the user gave cannot be trained or used; the message says what, its value and what to do."""
