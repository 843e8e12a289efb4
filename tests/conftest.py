"""Four CPU devices for every test, checked shapes, and one cache of compiled programs."""

import os
import signal
import subprocess
import sys

import jax
import pytest
from jaxtyping import config, install_import_hook

from tests.memory import forget_programs

jax.config.update("jax_num_cpu_devices", 4)
# The older code generator, and not in pieces: a third to two thirds of the time.
QUICK = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"


def pytest_configure():
    """Programs are made in a hurry, those of commands too, if this XLA has the flags: one that
    it does not know would end the process."""
    given = os.environ.get("XLA_FLAGS", "")
    if QUICK in given:
        return  # this is a worker
    flags = {"XLA_FLAGS": f"{given} {QUICK}".strip(), "JAX_PLATFORMS": "cpu"}
    start = [sys.executable, "-c", "import jax; jax.devices()"]
    if not subprocess.run(start, env=os.environ | flags, capture_output=True).returncode:
        os.environ["XLA_FLAGS"] = flags["XLA_FLAGS"]


checked = ["jaxgen.models", "jaxgen.losses", "jaxgen.metrics", "jaxgen.sample", "jaxgen.latents"]
install_import_hook(checked, "beartype.beartype")


@pytest.fixture
def traced_floats():
    """Where a float is checked, a traced one passes, as a sweep's."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


def pytest_collection_modifyitems(items):
    """The longest tests first, so that no worker is left alone with them at the end."""
    items.sort(key=lambda item: "test_contract" not in item.nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """One worker has a whole file, so that its fixtures and programs are made once; rows of the
    contract test are shared out one by one."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return nodeid if "test_contract" in nodeid else nodeid.partition("::")[0]

    if config.option.dist != "load":
        return None
    config.option.loadscopereorder = False  # the longest are first as it is
    return ByFile(config, log)


@pytest.fixture(scope="session", autouse=True)
def _programs(tmp_path_factory):
    """Programs that several tests compile are compiled once, also by the commands they start and
    by the other workers."""
    folder = tmp_path_factory.getbasetemp()
    workers = "PYTEST_XDIST_WORKER" in os.environ
    folder = str((folder.parent if workers else folder) / "programs")
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
    yield
    del os.environ["JAX_COMPILATION_CACHE_DIR"]


@pytest.fixture(scope="session", autouse=True)
def _memory_is_given_back():
    """Commands that tests call in this process do not make it keep what it frees."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxgen.commands.start.keep_memory", lambda: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _signals_are_heard():
    """Also where the tests run in the background or by nohup, which ignore some."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="module", autouse=True)
def _a_file_leaves_no_programs():
    yield
    forget_programs()
