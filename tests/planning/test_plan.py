"""Plans: of the devices at hand, and of devices that are not."""

import importlib.util

import jax
import pytest

import jaxgen as jg
from jaxgen.errors import UserError
from jaxgen.experiments import wgan
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


def test_a_plan_of_the_devices_at_hand(small):
    system, data = small
    one = devices.make_mesh(jax.devices()[:1])
    (plan,) = jg.plan(system, data, 50, batch_size=8, seconds=0.5, mesh=one)
    states = nets.shapes(system)
    weights = {k: sum(x.size for x in jax.tree.leaves(s.params)) for k, s in states.items()}
    assert plan.parameters == weights
    assert plan.images_per_second
    assert plan.seconds
    images = sum(system.minibatches(system.plan(i)) for i in range(50)) * 8
    assert plan.seconds == pytest.approx(images / plan.images_per_second)
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
