"""One of several captions is drawn by seed, epoch and example, however the data is read."""

import json

import numpy as np
import optax
import pytest
from PIL import Image

from jaxgen.data.order import Order
from jaxgen.data.pipeline import load
from jaxgen.train import game
from tests.data.test_pipeline import assert_same, take
from tests.train.toy import Dense, play

COUNTS = (1, 2, 3, 5, 1)


@pytest.fixture
def captioned(tmp_path):
    """Image k is filled with k, and its caption j is "k j"."""
    for k in range(len(COUNTS)):
        Image.new("L", (2, 2), k).save(tmp_path / f"{k}.png")
    rows = [
        {"file_name": f"{k}.png", "text": [f"{k} {j}" for j in range(n)]}
        for k, n in enumerate(COUNTS)
    ]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))

    def opened(resident):
        tokens = lambda text: list(map(int, text.split()))
        spec = f"folder:{tmp_path}"
        return load(spec, size=2, channels=1, resident=resident, tokenize=tokens)

    return opened


def test_the_draw_is_fixed_for_good():
    """Caption i of epoch e is number i of Philox's stream (seed; stream, e, 1), modulo its count;
    the order is what it is without captions."""
    counts = np.array([1, 2, 3, 5, 1, 7])
    order = Order(6, 3, 1, counts)
    index, drawn = order.with_captions(4, 20)
    np.testing.assert_array_equal(index, Order(6, 3, 1)(4, 20))
    for place in range(20):
        epoch = (4 + place) // 6
        numbers = np.random.Philox(np.random.SeedSequence(3, spawn_key=(1, epoch, 1))).random_raw(6)
        i = index[place]
        assert drawn[place] == int(numbers[i]) % int(counts[i])


def test_every_caption_gets_its_turn():
    index, drawn = Order(2, 0, several=np.array([4, 1])).with_captions(0, 2000)
    counts = np.bincount(drawn[index == 0], minlength=4)
    assert np.abs(counts - 250).max() < 60  # four standard deviations of 14
    assert (drawn[index == 1] == 0).all()


@pytest.mark.parametrize("resident", ["yes", "no"])
def test_batches_agree(captioned, resident):
    data = captioned(resident)
    whole = take(data.batches(4, 7), 30)
    image, text = (np.concatenate([b[k] for b in whole]) for k in ("image", "text"))
    np.testing.assert_array_equal(image[:, 0, 0, 0], text[:, 0])
    assert (text[:, 1] < np.array(COUNTS)[text[:, 0]]).all()
    assert len({*map(tuple, text.tolist())}) == sum(COUNTS)  # all of them are seen
    assert_same(whole, take(captioned("yes").batches(4, 7), 30))
    for processes in (2, 4):
        shares = [
            take(data.batches(4, 7, process=p, processes=processes), 30) for p in range(processes)
        ]
        joined = [
            {k: np.concatenate([share[t][k] for share in shares]) for k in whole[t]}
            for t in range(30)
        ]
        assert_same(joined, whole)
    again = data.batches(4, 7)
    again.set_state({"batch": 5})
    assert_same(take(again, 25), whole[5:])
    other = np.concatenate([b["text"] for b in take(data.batches(4, 8), 30)])
    assert (other != text).any()


def test_training_sees_the_same_captions_resident_or_streamed(captioned):
    def loss(nets, batch, key):
        apart = batch["text"].astype(float) @ np.array([1.0, 100.0])
        right = batch["image"].reshape(len(apart), -1)[:, 0] * 127.5 + 127.5
        wrong = abs(right - batch["text"][:, 0]).max()
        return nets.d(batch["image"].reshape(-1, 4)).mean(), {"seen": apart.mean(), "wrong": wrong}

    system = game.System(
        {"d": game.Player(Dense(), [(1, 4)], optax.sgd(1e-3))},
        (game.Turn(("d",), loss),),
        show=lambda nets, batch, key: {},
    )
    options = {"rounds": 6, "batch_size": 4, "per_call": 3}
    (_, streamed), (_, resident), (_, four) = (
        play(system, data=captioned(how), n_devices=n, **options)
        for how, n in (("no", 1), ("yes", 1), ("yes", 4))
    )
    seen = [record["d/seen"] for record in streamed]
    assert len(set(seen)) > 3
    assert [record["d/seen"] for record in resident] == seen
    np.testing.assert_allclose([record["d/seen"] for record in four], seen, rtol=1e-6)
    assert max(record["d/wrong"] for record in [*streamed, *resident, *four]) < 1e-4


def test_examples_have_the_first_caption(captioned):
    for resident in ("yes", "no"):
        text = captioned(resident).take([4, 3, 2, 1, 0, 3])["text"]
        assert text.tolist() == [[4, 0], [3, 0], [2, 0], [1, 0], [0, 0], [3, 0]]


def test_joined_sets_and_tiles_keep_their_captions(captioned, tmp_path):
    tokens = lambda text: list(map(int, text.split()))
    spec, options = f"folder:{tmp_path}", {"size": 1, "channels": 1, "tokenize": tokens}
    tiles = load(spec, crop="tiles", **options)
    assert tiles.all_captions(99)[:5] == ["0 0"] * 4 + ["1 0"]
    both = load(f"{spec}+{spec}", **options)
    assert len(both.all_captions(99)) == 2 * sum(COUNTS)
    for data in (tiles, both):
        held = take(data.batches(6, 0), 5)
        streamed = load(data.spec, crop=data.crop, resident="no", **options)
        assert_same(take(streamed.batches(6, 0), 5), held)
        text = np.concatenate([batch["text"] for batch in held])
        assert text[:, 1].max() > 1
