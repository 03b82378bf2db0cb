"""Tiny backbones, as the tests of pipelines have them."""

from tests.pipelines.conftest import one_thread as one_thread
from tests.pipelines.conftest import tiny as tiny
from tests.pipelines.conftest import tiny_folder as tiny_folder
