"""Plans: of the devices at hand, and of devices that are not."""

import dataclasses
import importlib.util
import time
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax.experimental.compilation_cache import compilation_cache

import jaxgen as jg
from jaxgen.errors import UserError
from jaxgen.experiments import wgan
from jaxgen.planning import plan as planning
from jaxgen.planning import targets
from jaxgen.train import devices, nets
from tests.experiments import command

OPTIONS = {
    "precision": "float32",
    "seeds": 1,
    "accumulate": 1,
    "remat": False,
    "rounds_per_call": 1,
}
SMALL = [*command.TINY, "--data", "mnist5k", "--channels", "1", "--rounds", "20"]


@pytest.fixture(scope="module")
def small():
    data = jg.load_data("mnist5k", size=16, channels=1)
    args = wgan.Args(size=16, channels=1, width=4, batch_size=8)
    return wgan.system(args, data.info), data


@pytest.fixture(scope="module")
def at_hand(small):
    system, data = small
    one = devices.make_mesh(jax.devices()[:1])
    (plan,) = jg.plan(system, data, 50, batch_size=8, seconds=0.5, mesh=one)
    return plan


def test_a_plan_of_the_devices_at_hand(small, at_hand):
    (system, _), plan = small, at_hand
    states = nets.shapes(system)
    weights = {k: sum(x.size for x in jax.tree.leaves(s.params)) for k, s in states.items()}
    assert plan.parameters == weights
    assert plan.images_per_second
    assert plan.seconds
    images = sum(system.minibatches(system.plan(i)) for i in range(50)) * 8
    assert plan.seconds == pytest.approx(images / plan.images_per_second)
    assert plan.images == pytest.approx(images / 50)
    assert plan.floor is None
    assert plan.largest_batch is None
    assert plan.disk > 3 * 4 * sum(weights.values())
    assert f"generator {weights['generator']:,}" in str(plan)
    assert "images a second" in str(plan)
    assert plan.collectives == {}


def test_a_turn_counts_by_how_often_it_is_played(small):
    """The critic plays 100 steps in some rounds and 5 in the others. Products by hand."""
    system, data = small
    one = devices.make_mesh(jax.devices()[:1])
    d, g = 4096 + 8192 + 128, 12800 + 8192 + 4096  # of the layers, an image
    of_critic = g + 2 * (2 * d + d - 4096)  # forwards, gradients of weights, and of hidden layers
    of_generator = (2 * g + g - 12800) + 2 * d
    for rounds in 1, 200:
        (plan,) = jg.plan(system, data, rounds, batch_size=8, seconds=0, mesh=one)
        steps = sum(system.plan(i)[0] for i in range(rounds))
        work = 2 * 8 * (steps * of_critic + rounds * of_generator)
        assert plan.flops * 8 * steps == pytest.approx(work)
    (both,) = jg.plan(system, data, 200, batch_size=8, seconds=0, mesh=one, seeds=2)
    assert both.flops == pytest.approx(2 * plan.flops)
    assert both.bytes > 1.5 * plan.bytes


def test_memory_is_what_the_compiler_says(small):
    from jaxgen.planning.plan import _Planned

    system, data = small
    one = devices.make_mesh(jax.devices()[:1])
    planned = _Planned(lambda _: system, data, 50, 8, one, None, OPTIONS)
    compiled = planned.compile(planned.trace(system, 8)[0])
    stats = compiled.memory_analysis()
    (plan,) = jg.plan(system, data, 50, batch_size=8, seconds=0, mesh=one)
    results = stats.output_size_in_bytes - stats.alias_size_in_bytes
    assert plan.arguments == stats.argument_size_in_bytes + results
    assert plan.temporary == stats.temp_size_in_bytes
    states = sum(x.nbytes for x in jax.tree.leaves(nets.init(system, jax.random.key(0))))
    assert plan.arguments >= states + 4500 * 16 * 16  # the digits lie on the device


@pytest.mark.parametrize(
    ("has", "batch", "refused", "found"),
    [
        (2000.0, 8, 1e9, 176),  # 100 + 10 a batch: 95 % of 2,000 hold 180, whole eights 176
        (2000.0, 256, 1e9, 176),
        (2000.0, 8, 150, 144),  # the compiler refuses from 150 on
        (120.0, 8, 1e9, 0),
    ],
)
def test_the_largest_batch_is_found(small, has, batch, refused, found):
    from jaxgen.planning import plan

    class Planned(plan._Planned):
        memory = has

        def needs(self, batch):
            return 100 + 10 * batch if batch < refused else float("inf")

    system, data = small
    options = OPTIONS | {"accumulate": 8}
    one = devices.make_mesh(jax.devices()[:1])
    planned = Planned(lambda _: system, data, 50, batch, one, None, options)
    tried = planned.largest(100 + 10 * batch, 0.0, 600.0)
    assert tried is not None
    assert tried <= found
    assert tried >= 0.8 * found
    assert tried % 8 == 0


def test_the_largest_batch_is_a_multiple_where_all_fit(small, at_hand):
    system, data = small
    one = devices.make_mesh(jax.devices()[:1])

    class Planned(planning._Planned):
        memory = 1e12

        def needs(self, batch):
            devices.share(batch, self.mesh, self.options["accumulate"])
            return batch

    planned = Planned(lambda _: system, data, 50, 9, one, None, OPTIONS | {"accumulate": 3})
    assert planned.largest(9, 0.0, 600.0) == 65_535
    assert planned.limit == 65_535
    plan = dataclasses.replace(at_hand, limit=planned.limit)
    for batch, said in ((65_535, "65,535 or more"), (65_532, "65,532\n")):
        assert said in f"{dataclasses.replace(plan, largest_batch=batch)}\n"


def test_a_measurement_ends_soon_after_its_seconds(small, monkeypatch):
    """By a clock on which a round takes 0.05 s, one of 100 critic steps a second."""
    system, data = small
    now, calls = [0.0], []

    def play(system, data, rounds, *, batch_size, rounds_per_call, **options):
        done = 0
        for i in range(0, rounds, rounds_per_call):
            steps = [system.plan(i + k)[0] for k in range(rounds_per_call)]
            done += sum(steps) * batch_size
            now[0] += sum(steps) / 100
            calls.append(rounds_per_call)
            yield {"images": done}

    monkeypatch.setattr(planning, "iterate", play)
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    one = devices.make_mesh(jax.devices()[:1])
    for asked, most in ((1, 1), (1000, 2), (2, 2)):
        now[0], calls[:] = 0.0, []
        options = OPTIONS | {"rounds_per_call": asked}
        planned = planning._Planned(lambda _: system, data, 5000, 8, one, None, options)
        assert planned.measure(10.0) == pytest.approx(800)
        assert max(calls) == most
        assert 10 < now[0] < 25


def test_what_is_compiled_for_absent_devices_is_not_kept(tmp_path):
    absent: Any = SimpleNamespace(aim=SimpleNamespace(compile=lambda lowered: lowered.compile()))
    here: Any = SimpleNamespace(aim=None)
    kept = lambda: len(list(tmp_path.glob("*-cache")))

    def compile(where, n):
        shape = jax.ShapeDtypeStruct((n,), jnp.float32)
        planning._Planned.compile(where, jax.jit(lambda x: x * n + 1).trace(shape))

    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    usual = [getattr(jax.config, name) for name in names]
    try:
        for name, value in zip(names, (str(tmp_path), 0), strict=True):
            jax.config.update(name, value)
        compilation_cache.reset_cache()
        for where, n, files in ((here, 11, 1), (absent, 12, 1), (here, 13, 2)):
            compile(where, n)
            assert kept() == files
    finally:
        for name, value in zip(names, usual, strict=True):
            jax.config.update(name, value)
        compilation_cache.reset_cache()


def test_plans_come_one_by_one_after_all_targets_are_checked(small, monkeypatch):
    system, data = small
    compiled = []
    monkeypatch.setattr(targets, "prepare", lambda: None)
    monkeypatch.setattr(targets.Target, "devices", lambda self: jax.devices()[: self.count])
    monkeypatch.setattr(
        planning._Planned, "plan", lambda self, *_: compiled.append(self.aim.name) or self.aim.name
    )
    options = {"batch_size": 8, "keep": 3, "patience": 0.0, **OPTIONS}
    names = "gpu:h100:1", "gpu:a100:2"
    for n, (found, name) in enumerate(
        zip(planning.plans(system, data, 50, names, **options), names, strict=True), 1
    ):
        assert found == name
        assert len(compiled) == n
    compiled.clear()
    with pytest.raises(UserError, match="cannot be split over 3 devices"):
        next(planning.plans(system, data, 50, ("gpu:h100:1", "gpu:h100:3"), **options))

    def missing(self):
        if self.platform == "tpu":
            raise UserError("needs the compiler")
        return jax.devices()[:1]

    monkeypatch.setattr(targets.Target, "devices", missing)
    with pytest.raises(UserError, match="needs the compiler"):
        next(planning.plans(system, data, 50, ("gpu:h100:1", "tpu:v5e:1"), **options))
    assert compiled == []


def test_a_command_prints_each_plan_as_it_comes(monkeypatch, capsys):
    from jaxgen.commands import launch

    def plans(system, data, rounds, aims, **options):
        assert list(aims) == ["gpu:h100:1", "gpu:h100:2"]
        yield "first"
        assert "first" in capsys.readouterr().out
        yield "second"

    monkeypatch.setattr(planning, "plans", plans)
    monkeypatch.setattr(targets, "prepare", lambda: None)
    monkeypatch.setattr(launch, "start_jax", lambda *_: None)
    monkeypatch.setattr("sys.argv", ["wgan", "--plan", "gpu:h100:1", "gpu:h100:2", *SMALL])
    launch.launch(wgan.system)
    assert capsys.readouterr().out == "second\n\n"


def test_a_target_and_a_mesh_are_one_too_many(small):
    system, data = small
    with pytest.raises(UserError, match="give a target or a mesh, not both"):
        jg.plan(system, data, 50, target="gpu:h100:1", mesh=devices.make_mesh())


def test_times_in_words():
    said = {0.25: "0.25 s", 12: "12 s", 150: "2.5 minutes", 10_000: "2.8 hours", 1e6: "11.6 days"}
    assert [planning._duration(seconds) for seconds in said] == list(said.values())


def test_the_table_of_recipes_is_of_a_whole_round(at_hand):
    from experiments.benchmarks import compiled

    numbers = at_hand.to_json() | {"count": 2, "changes": (3, 5e6), "images": 40, "flops": 1e9}
    cells = lambda x: compiled.table({"wgan": [x]}).splitlines()[-1].split(" | ")
    assert cells(numbers)[3] == "20"
    assert cells(numbers)[7] == "3, 5 MB"
    del numbers["images"]  # as in an old file
    assert cells(numbers)[3] == "4"


def test_the_floor_is_the_scarcer_of_two(small):
    from jaxgen.planning.plan import _Planned

    system, data = small
    device = targets.Device(1e9, bandwidth=100.0, bfloat16=1000.0, float32=500.0)
    aim = targets.Target("gpu:x:1", "gpu", "x", (1,), device)
    one = devices.make_mesh(jax.devices()[:1])
    planned = _Planned(lambda _: system, data, 50, 8, one, aim, OPTIONS)
    # 1,000 FLOPs take 2 s, 50 bytes 0.5; 100 FLOPs 0.2, 70 bytes 0.7
    work, moved = {"a": 1000.0, "b": 100.0, "": 0.0}, {"a": 50.0, "b": 70.0, "": 10.0}
    assert planned.floor(work, moved) == pytest.approx(2.7)
    # 400 bytes of no turn may be moved beside them, but all 520 take 5.2 s
    assert planned.floor(work, moved | {"": 400.0}) == pytest.approx(5.2)


def test_the_whole_data_is_a_batch(small):
    from jaxgen.planning.plan import _Planned

    system, data = small
    one = devices.make_mesh(jax.devices()[:1])
    assert _Planned(lambda _: system, data, 50, 0, one, None, OPTIONS).batch_size == 4500
    with pytest.raises(UserError, match="1 round or more"):
        jg.plan(system, data, 0)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("tpu:v5e", "tpu:v5e is no target; write tpu:KIND:2x2 or gpu:KIND:8"),
        ("v5e:2x2", "v5e:2x2 is no target"),
        ("tpu:v99:2x2", "v99 is not known; known are tpu:v4"),
        ("gpu:h100:2x2", "GPUs are counted; write gpu:h100:4"),
        ("gpu:h100:0", "1 device or more"),
        ("gpu:none.toml:2", "none.toml cannot be read"),
    ],
)
def test_a_wrong_target_is_one_line(text, line):
    with pytest.raises(UserError, match=line.replace("(", r"\(")):
        targets.target(text)


def test_a_target_of_ones_own(tmp_path):
    file = tmp_path / "b200.toml"
    file.write_text(
        "memory = 191e9\nbandwidth = 7.67e12\nbfloat16 = 2.25e15\nfloat32 = 1.1e15\n"
        "[device]\ncore_count = 148\n[device.cuda_compute_capability]\nmajor = 10\n"
    )
    own = targets.target(f"gpu:{file}:4")
    assert (own.count, own.device.bandwidth) == (4, 7.67e12)
    text = targets._config(own.device.device)
    assert "core_count: 148" in text
    assert "cuda_compute_capability { major: 10 }" in text
    file.write_text("memory = 191e9\n")
    with pytest.raises(UserError, match="look at bandwidth, bfloat16, float32"):
        targets.target(f"gpu:{file}:4")


WHOLE = "memory = 191e9\nbandwidth = 7.67e12\nbfloat16 = 2.25e15\nfloat32 = 1.1e15\n"


@pytest.mark.parametrize(
    ("kind", "text", "line"),
    [
        ("gpu", WHOLE + 'device = "x"', "device is a table, such as device = {"),
        ("gpu", WHOLE + "[device]\ncores = 148", "device has no cores; it has threads_per_block"),
        ("gpu", WHOLE + '[device]\ncore_count = "x"', "core_count is a number, such as 132"),
        (
            "gpu",
            WHOLE + "[device]\ncuda_compute_capability = {mayor = 10}",
            "cuda_compute_capability has no mayor; it has major, minor",
        ),
        (
            "gpu",
            WHOLE + "[device]\ncuda_compute_capability = 10",
            "cuda_compute_capability is a table, such as cuda_compute_capability = {major = 9}",
        ),
        ("gpu", WHOLE.replace("191e9", "inf"), "memory is a number above 0"),
        ("gpu", WHOLE.replace("191e9", "nan"), "memory is a number above 0"),
        ("gpu", WHOLE.replace("191e9", "0"), "memory is a number above 0"),
        ("gpu", WHOLE + 'kind = "v5e"', "a GPU's file has .*; look at kind"),
        ("tpu", WHOLE + 'kind = "v5e"\n[device]', "a TPU's file has .*; look at device"),
        ("tpu", WHOLE, "a TPU's file has .*; look at kind"),
        ("tpu", WHOLE + "kind = 5", "kind is a name in quotes"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path, kind, text, line):
    file = tmp_path / "own.toml"
    file.write_text(text)
    with pytest.raises(UserError, match=line) as error:
        targets.target(f"{kind}:{file}:1")
    assert "\n" not in str(error.value)


def test_a_product_that_no_kernel_suits_is_the_librarys():
    class Lowered:
        def __init__(self, said):
            self.said, self.asked = said, []

        def compile(self, options):
            self.asked.append(options)
            if self.said and "xla_gpu_enable_triton_gemm" not in options:
                raise jax.errors.JaxRuntimeError(self.said)

    h100 = targets.target("gpu:h100:4")
    for said, times in (("", 1), ("INTERNAL: Couldn't find output tile sizes that satisfy", 2)):
        h100.compile(lowered := Lowered(said))
        assert len(lowered.asked) == times
    with pytest.raises(jax.errors.JaxRuntimeError):
        h100.compile(Lowered("RESOURCE_EXHAUSTED"))


@pytest.mark.skipif(bool(importlib.util.find_spec("libtpu")), reason="libtpu is installed")
def test_a_missing_compiler_is_one_line():
    with pytest.raises(UserError, match=r"pip install 'jax\[tpu\]'"):
        targets.target("tpu:v5e:2x2").devices()


@pytest.mark.skipif(not importlib.util.find_spec("libtpu"), reason="libtpu is not installed")
def test_a_plan_for_a_tpu(small):
    system, data = small
    (plan,) = jg.plan(system, data, 50, batch_size=8, target="tpu:v5e:2x2", patience=0)
    assert (plan.count, plan.memory, plan.largest_batch) == (4, 16 * 2**30, None)
    assert plan.images_per_second is None
    assert plan.floor
    assert plan.collectives["all-reduce"][0] > 0
    assert "of 16.00 GiB a device" in str(plan)
    assert "ms or more, by the device's peaks" in str(plan)


def test_plan_as_a_command():
    text = command.run("--plan", *SMALL)
    assert "parameters" in text
    assert "images a second" in text


def test_a_wrong_target_ends_the_command():
    assert "is no target" in command.run("--plan", "h100", code=2)
