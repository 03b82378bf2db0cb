"""Some hundreds of broken inputs for each reader; `python -m tests.bench.fuzz` tries thousands."""

import pytest

from tests.fuzzing import TARGETS, run

EXAMPLES = 200


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_a_result_or_an_error_of_ours(target: str) -> None:
    counts = run(target, EXAMPLES)
    assert min(counts["read"], counts["refused"]) > EXAMPLES / 100, f"nearly all one way tries little: {counts}"
