"""Checkpoints: what is saved comes back, on any devices; what is damaged does not."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.training.train_state import TrainState

from jaxgen.errors import UserError
from jaxgen.train.checkpoints import Checkpoints, saved_rounds

ADAM = optax.chain(optax.clip(1.0), optax.adam(1e-3))


def apply():
    """A state's static part."""


def states(seed, width=40):
    rng = np.random.default_rng(seed)  # too random for compression to hide damage
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)

    def state(*names):
        params = {name: {"kernel": draw(30, width), "bias": draw(width)} for name in names}
        made = TrainState.create(apply_fn=apply, params=params, tx=ADAM)
        return made.replace(step=jnp.int32(seed))

    return {"generator": state("a", "b"), "critic": state("c"), "memory": {"lanes": draw(8, 3)}}


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.fixture
def saved(tmp_path):
    """Checkpoints of rounds 1 and 2."""
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    for round in (1, 2):
        checkpoints.save(round, states(round), {"data": {"next": round}, "latest": {"loss": 0.1}})
    checkpoints.close()
    return tmp_path / "checkpoints"


def test_what_is_saved_comes_back(saved, capfd):
    assert saved_rounds(saved) == [1, 2]
    checkpoints = Checkpoints(saved)
    like = states(0)
    round, found, position = checkpoints.restore(like)
    assert round == 2
    assert position == {"data": {"next": 2}, "latest": {"loss": 0.1}}
    assert_same(found, like | states(2))
    assert isinstance(found["generator"], TrainState)
    assert_same(checkpoints.restore(like, round=1)[1], like | states(1))
    checkpoints.save(2, states(7), {})  # saved already
    assert_same(checkpoints.restore(like)[1], like | states(2))
    with pytest.raises(UserError, match="no whole checkpoint of round 5; it has 1, 2"):
        checkpoints.restore(like, round=5)
    checkpoints.close()
    assert capfd.readouterr() == ("", "")


def test_nothing_saved(tmp_path):
    checkpoints = Checkpoints(tmp_path / "none")
    assert checkpoints.rounds() == []
    assert checkpoints.restore(states(0)) is None
    checkpoints.close()


def test_the_newest_stay(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for round in (10, 20, 30, 100):
        checkpoints.save(round, states(round), {}, wait=True)
    checkpoints.close()
    assert checkpoints.rounds() == [30, 100]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["100", "30"]
    with pytest.raises(UserError, match="at least 1"):
        Checkpoints(tmp_path, keep=0)


def test_arrays_may_be_donated_while_they_are_written(tmp_path):
    play = jax.jit(lambda tree: jax.tree.map(lambda x: x + 1, tree), donate_argnums=0)
    state = {"w": jnp.zeros((1000, 1000))}
    checkpoints = Checkpoints(tmp_path, keep=9)
    for round in range(1, 5):
        state = play(state)
        checkpoints.save(round, {"g": state}, {})
    state = jax.block_until_ready(play(state))
    for round in range(1, 5):
        found = checkpoints.restore({"g": state}, round=round)[1]["g"]["w"]
        assert (found == round).all()
    checkpoints.close()


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def biggest(folder):
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


DAMAGE = {
    "a bit of the weights flips": lambda path: flip(biggest(path / "player_generator")),
    "the weights are cut": lambda path: os.truncate(biggest(path / "player_critic"), 100),
    "a file is gone": lambda path: biggest(path / "player_critic").unlink(),
    "a player is gone": lambda path: shutil.rmtree(path / "player_critic"),
    "the tree is empty": lambda path: os.truncate(path / "player_critic" / "_METADATA", 0),
    "the position flips": lambda path: flip(path / "position" / "metadata"),
    "the digests are gone": lambda path: (path / "digests.json").unlink(),
    "the digests are cut": lambda path: os.truncate(path / "digests.json", 50),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_told_and_moved_aside(saved, damage, capfd):
    DAMAGE[damage](saved / "2")
    told = []
    reader = Checkpoints(saved, write=False, report=told.append)
    assert reader.restore(states(0))[0] == 1
    reader.close()
    assert (saved / "2").is_dir()

    checkpoints = Checkpoints(saved, report=told.append)
    round, found, _ = checkpoints.restore(states(0))
    assert round == 1
    assert_same(found, states(0) | states(1))
    assert len(told) == 2
    assert all(f"{saved}/2 is damaged" in line and "\n" not in line for line in told)
    assert (saved / "2.damaged").is_dir()
    checkpoints.save(2, states(2), {"again": True})
    checkpoints.close()
    assert checkpoints.rounds() == [1, 2]
    again = Checkpoints(saved, report=told.append)
    assert again.restore(states(0))[2] == {"again": True}
    again.close()
    assert len(told) == 2
    assert capfd.readouterr() == ("", "")


def test_all_damaged(saved):
    for round in ("1", "2"):
        flip(biggest(saved / round / "player_generator"))
    told = []
    checkpoints = Checkpoints(saved, report=told.append)
    assert checkpoints.restore(states(0)) is None
    checkpoints.close()
    assert len(told) == 2


def test_what_a_kill_left_is_cleared_away_but_not_by_a_reader(saved):
    shutil.copytree(saved / "2", saved / "3.orbax-checkpoint-tmp")
    (saved / "3.orbax-checkpoint-tmp" / "digests.json").unlink()
    Checkpoints(saved, write=False).close()
    assert (saved / "3.orbax-checkpoint-tmp").exists()
    checkpoints = Checkpoints(saved)
    assert checkpoints.rounds() == [1, 2]
    checkpoints.save(3, states(3), {})
    checkpoints.close()
    assert checkpoints.rounds() == [1, 2, 3]
    assert not (saved / "3.orbax-checkpoint-tmp").exists()


def test_other_networks_are_no_damage(saved):
    told = []
    checkpoints = Checkpoints(saved, report=told.append)
    with pytest.raises(UserError, match=r"'critic', .*bias.*: float32\[40\] in .*float32\[50\] he"):
        checkpoints.restore(states(0, width=50))
    fewer = states(0)
    del fewer["critic"]
    with pytest.raises(UserError, match="player 'critic' is only in the checkpoint"):
        checkpoints.restore(fewer)
    with pytest.raises(UserError, match="player 'third' is not in the checkpoint"):
        checkpoints.restore(states(0) | {"third": {"w": jnp.zeros(3)}})
    assert_same(checkpoints.restore(fewer, partial=True)[1]["memory"], states(2)["memory"])
    checkpoints.close()
    assert told == []
    assert checkpoints.rounds() == [1, 2]


PROGRAM = """
import sys, warnings
warnings.simplefilter("error")
import jax, numpy as np
do, folder, *process = sys.argv[1:]
if process:
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(process[1], 2, int(process[0]))
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jaxgen.train.checkpoints import Checkpoints

mesh = jax.make_mesh((jax.device_count(),), ("batch",), axis_types=(AxisType.Auto,))
whole, split = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("batch"))
weights = np.random.default_rng(0).normal(size=(64, 33)).astype(np.float32)
memory = np.arange(40, dtype=np.float32).reshape(8, 5)
put = lambda x, where: jax.make_array_from_callback(x.shape, where, lambda i: x[i])
scale = np.float32(do == "save")
state = {"weights": put(weights * scale, whole), "memory": put(memory * scale, split)}
checkpoints = Checkpoints(folder)
if do == "save":
    checkpoints.save(1, {"g": state}, {"devices": jax.device_count()})
else:
    round, found, position = checkpoints.restore({"g": state})
    assert round == 1, round
    found = found["g"]
    assert found["weights"].sharding == whole and found["memory"].sharding == split
    for name, expected in ("weights", weights), ("memory", memory):
        for shard in found[name].addressable_shards:
            np.testing.assert_array_equal(shard.data, expected[shard.index])
    print(position["devices"], "->", jax.device_count())
checkpoints.close()
"""


def start(do, folder, devices, *process):
    here = Path(__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, do, str(folder), *process],
        env=os.environ | {"JAX_NUM_CPU_DEVICES": str(devices), "PYTHONPATH": str(here)},
        stdout=subprocess.PIPE,
        text=True,
    )


def finish(*programs):
    outputs = [program.communicate(timeout=120)[0] for program in programs]
    assert [program.returncode for program in programs] == [0] * len(programs)
    return outputs


def test_from_4_devices_to_1_and_from_1_to_4(tmp_path):
    finish(*(start("save", tmp_path / str(n), n) for n in (1, 4)))
    assert finish(
        start("restore", tmp_path / "1", 4),
        start("restore", tmp_path / "4", 1),
    ) == ["1 -> 4\n", "4 -> 1\n"]


def test_two_processes_of_two_devices(tmp_path):
    import socket

    for do in ("save", "restore"):
        with socket.socket() as free:
            free.bind(("localhost", 0))
            address = f"localhost:{free.getsockname()[1]}"
        outputs = finish(*(start(do, tmp_path, 2, str(i), address) for i in range(2)))
    assert all(output.endswith("4 -> 4\n") for output in outputs)
    assert finish(start("restore", tmp_path, 1)) == ["4 -> 1\n"]


KILLED = """
import sys, jax.numpy as jnp
from jaxgen.train.checkpoints import Checkpoints
checkpoints = Checkpoints(sys.argv[1])
for round in range(1, 10_000):
    checkpoints.save(round, {"g": {"w": jnp.full((300, 300), round)}}, {"round": round})
    print(round, flush=True)
"""


def test_killed_at_any_moment(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        while int(program.stdout.readline()) < 7:
            pass
        program.kill()
    told = []
    checkpoints = Checkpoints(tmp_path, report=told.append)
    round, found, position = checkpoints.restore({"g": {"w": jnp.zeros((300, 300), jnp.int32)}})
    checkpoints.close()
    assert told == []
    assert round >= 6
    assert position == {"round": round}
    assert (found["g"]["w"] == round).all()


def test_full_disk_is_one_line(tmp_path, capfd):
    """A limit on the size of files stands in for the disk."""
    resource = pytest.importorskip("resource")
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"g": {"w": jnp.zeros(10)}}, {}, wait=True)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    rng = np.random.default_rng(0)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, old[1]))
    try:
        with pytest.raises(UserError) as error:
            checkpoints.save(2, {"g": {"w": jnp.asarray(rng.normal(size=200_000))}}, {}, wait=True)
        checkpoints.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    line = str(error.value)
    assert line.startswith(
        f"the checkpoint of round 2 cannot be written (File too large: {tmp_path}"
    )
    assert "it goes on from round 1, whose checkpoint is safe" in line
    assert "\n" not in line
    assert capfd.readouterr() == ("", "")
    assert saved_rounds(tmp_path) == [1]
