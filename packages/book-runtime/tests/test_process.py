"""The life of a process."""

import gc
import subprocess
import sys
import weakref

import pytest
from book_runtime.process import freeze_gc, loading


class _Thing:
    """Something that refers to itself: only garbage collection takes it."""

    def __init__(self) -> None:
        self.itself = self


class TestLoading:
    def test_looks_for_no_garbage_meanwhile(self) -> None:
        with loading():
            assert not gc.isenabled()
        assert gc.isenabled()

    def test_ends_when_something_cannot_be_loaded(self) -> None:
        with pytest.raises(ImportError), loading():
            raise ImportError
        assert gc.isenabled()

    def test_what_is_loaded_is_left_out_of_garbage_collection(self) -> None:
        with loading():
            thing = _Thing()

        assert not any(each is thing for each in gc.get_objects())

    def test_leaves_out_what_libraries_take_without_need_and_gives_it_to_who_asks_later(self) -> None:
        script = (
            "import sys\n"
            "from book_runtime.process import loading\n"
            "with loading():\n"
            "    from book_runtime import logs, redis, telemetry\n"
            "    import httpx\n"
            "print({'rich', 'pygments', 'psutil', 'opentelemetry.sdk.metrics'} & {*sys.modules})\n"
            "import rich, opentelemetry.sdk.metrics\n"
        )
        printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
        assert printed == "set()\n"


class TestFreezingGc:
    def test_what_is_there_already_is_left_out_of_garbage_collection(self) -> None:
        thing = _Thing()

        freeze_gc()

        assert not any(each is thing for each in gc.get_objects())

    def test_what_is_garbage_already_is_not_kept(self) -> None:
        thing = weakref.ref(_Thing())

        freeze_gc()

        assert thing() is None

    def test_what_is_made_later_is_collected_as_ever(self) -> None:
        freeze_gc()
        thing = weakref.ref(_Thing())

        gc.collect()

        assert thing() is None
