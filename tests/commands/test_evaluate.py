"""Scores: what a line tells, the cache, what a user sees, and every mistake in one line."""

import dataclasses
import errno
import functools
import json
import os
import shutil
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from PIL import Image

from jaxgen.data.arrays import arrays
from jaxgen.errors import UserError
from jaxgen.evaluate import agreement
from jaxgen.evaluate import sets as library
from jaxgen.evaluate.run import evaluate, real
from jaxgen.latents import normal
from jaxgen.runs.trained import TrainedRun
from jaxgen.train.abilities import Autoencoder, Density, Embedder, Sampler, Translator
from jaxgen.train.game import Player, System, Turn
from jaxgen.train.nets import init
from tests.experiments.command import TINY
from tests.runs import toys


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXGEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "statistics"


class Constant(nn.Module):
    @nn.compact
    def __call__(self, x):
        return x * self.param("w", nn.initializers.ones, ())


class Network:
    """Random projections, for a feature network; counts the images that it has seen."""

    name, dims, sha256, resize = "toy", 8, "0123456789abcdef", "none"

    def __init__(self):
        self.seen = 0

    def apply(self, images):
        self.seen += len(images)
        flat = images.reshape(len(images), -1)
        project = lambda n: flat @ jax.random.normal(jax.random.key(n), (flat.shape[1], n))
        return {"features": project(8), "logits": project(5)}


@pytest.fixture
def network(monkeypatch):
    made = Network()
    monkeypatch.setattr(library, "network_for", lambda *a: made)
    return made


def folder(path, n, seed=0, size=16, bright=0):
    rng = np.random.default_rng(seed)
    path.mkdir()
    for i in range(n):
        pixels = rng.integers(bright, 256, (size, size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path / f"{i:03d}.png")
    return path


@pytest.fixture
def sets(tmp_path):
    """Made and real images of one kind, and brighter ones."""
    return (
        folder(tmp_path / "made", 30, seed=1),
        folder(tmp_path / "real", 40, seed=2),
        folder(tmp_path / "bright", 30, seed=3, bright=128),
    )


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_run_and_its_provenance(trained, jaxgen, network, cache, tmp_path):
    flags = ["--metrics", "fid", "is", "swd", "--samples", 24, "--references", 16, "--batch", 16]
    out = tmp_path / "some" / "scores.jsonl"
    code, said, problem = jaxgen("evaluate", trained, *flags[:3], *flags[4:], "--out", out)
    assert (code, problem) == (0, "")
    fid, inception = lines(out)
    provenance = {
        "features": "toy",
        "weights_sha256": "0123456789abcdef",
        "resize": "none",
        "settings": {},
        "samples": 24,
        "references": 16,
        "data": "mnist5k",
        "split": "train",
        "size": 8,
        "seed": 0,
        "round": 4,
        "ema": False,
    }
    assert provenance.items() <= fid.items()
    assert set(fid) - set(provenance) == {
        *("metric", "label", "value", "data_fingerprint", "version", "date")
    }
    assert fid["value"] > 0
    assert inception["deviation"] >= 0
    assert inception["settings"] == {"splits": 10}
    assert "fid-toy" in said  # never bare: these are not Inception's features
    assert "24 samples, round 4, seed 0" in said
    assert "16 real images of mnist5k (train), 8 pixels" in said
    assert said.strip().endswith(f"written to {out}")
    # The same again: the real images are not looked at a second time, and the value is the same.
    seen = network.seen
    again = tmp_path / "again.jsonl"
    jaxgen("evaluate", trained, "--metrics", "fid", *flags[4:], "--out", again)
    assert network.seen - seen == 32  # two batches of samples
    assert lines(again)[0]["value"] == fid["value"]
    # Other samples, another checkpoint, other references.
    for name, value in (("seed", 1), ("round", 2), ("split", "test")):
        other = [f"--{name}", value, "--out", again]
        jaxgen("evaluate", trained, "--metrics", "fid", *flags[4:], *other)
        other = lines(again)[-1]
        assert other[name] == value
        assert other["value"] != fid["value"]


def test_two_folders(sets, jaxgen, network, cache, tmp_path):
    made, real, bright = sets
    every = ["--metrics", *library.COMPUTE]
    out = tmp_path / "scores.jsonl"
    for images in (made, bright):
        code, said, problem = jaxgen(
            "evaluate", "--images", images, "--reference", real, *every, "--out", out
        )
        assert (code, problem) == (0, "")
    found = lines(out)
    assert len(found) == 2 * len(library.COMPUTE)
    same, other = ({r["metric"]: r for r in half} for half in (found[:8], found[8:]))
    for name in ("fid", "kid", "swd"):
        fell = other[name]["value"] < same[name]["value"]
        assert fell == library.METRICS[name].higher_is_better, name
    assert "features" not in same["swd"]
    assert same["swd"]["settings"] == {"images": 30}
    assert same["fid"]["images_fingerprint"] != other["fid"]["images_fingerprint"]
    assert "round" not in same["fid"]
    code, said, _ = jaxgen("evaluate", "--images", made, "--reference", real, "--metrics", "swd")
    assert code == 0
    assert "written" not in said  # there is no run folder, and no --out
    assert "30 images against 40 are few: below 1,000 a side" in said
    assert str(same["swd"]["value"])[:5] in said


def test_scores_that_cannot_be_written_are_known_before_or_shown(
    sets, jaxgen, network, cache, tmp_path, monkeypatch
):
    def full(path, records):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "file").touch()
    words = ["evaluate", "--images", sets[0], "--reference", sets[1], "--metrics", "fid"]
    code, said, line = jaxgen(*words, "--out", tmp_path / "file" / "scores.jsonl")
    assert (code, said, network.seen) == (2, "", 0)
    assert "file/scores.jsonl cannot be written (Not a directory); name another place" in line
    monkeypatch.setattr("jaxgen.evaluate.scores.append", full)
    code, said, line = jaxgen(*words, "--out", tmp_path / "scores.jsonl")
    assert code == 2
    assert said.startswith("fid-toy  ")
    assert "scores.jsonl cannot be written (No space left on device); name another" in line


def test_a_damaged_cache_is_made_anew(sets, jaxgen, network, cache, tmp_path):
    made, real, _ = sets
    words = ["evaluate", "--images", made, "--reference", real, "--metrics", "fid"]
    first = jaxgen(*words)
    (kept,) = cache.iterdir()
    for content in (b"", b"\x93NUMPY half"):
        kept.write_bytes(content)
        assert jaxgen(*words) == first
    (real / "new.png").write_bytes((made / "000.png").read_bytes())
    jaxgen(*words)
    assert len(list(cache.iterdir())) == 2  # other images have another fingerprint


def test_squeezenet_sees_that_two_sets_are_different(sets, jaxgen, cache):
    """The true feature network, once."""
    made, real, bright = sets
    values = []
    for images in (made, bright):
        words = ["--samples", 10, "--references", 10, "--batch", 10, "--metrics", "fid"]
        code, said, problem = jaxgen("evaluate", "--images", images, "--reference", real, *words)
        assert code == 0, problem
        assert said.startswith("fid-squeezenet  ")
        assert "features of squeezenet (sha256 f286bbf493e6)" in said
        values.append(float(said.split()[1]))
    assert 0 < 2 * values[0] < values[1]


def problem(made):
    code, said, line = made
    assert code == 2
    assert said == ""
    assert line.startswith("jaxgen: ")
    assert line.count("\n") == 1
    return line


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--metrics", "fidd"], 'there is no metric "fidd"; did you mean fid?'),
        (
            ["--metrics", "x"],
            "there are fid, kid, is, precision, recall, density, coverage, swd, ppl",
        ),
        (["--metrics", "l1"], "wgan has no l1; its metrics are fid, kid"),
        (["--label", 3], "there is no flag --label"),
        (["--samples", 5], "--samples is at least 10, not 5"),
        (["--batch", 0], "--batch is at least 1, not 0"),
        (["--size", 8], "--size goes with --images"),
        (["--round", 3], "no whole checkpoint of round 3"),
        (["--reference", "mnist6k"], 'no data "mnist6k"'),
        (["--reference", "/no/where"], "folder:/no/where: no such folder; check the path"),
        (["--features", "vgg"], "--features is"),
        (["--images", "x"], "one of the two"),
    ],
)
def test_mistakes(trained, jaxgen, network, flags, said):
    assert said in problem(jaxgen("evaluate", trained, *flags))
    assert not (trained / "scores.jsonl").exists()


def test_data_that_lies_elsewhere_is_asked_for(trained, jaxgen, tmp_path, monkeypatch):
    run = shutil.copytree(trained, tmp_path / "run")
    args = json.loads((run / "args.json").read_text()) | {"data": "pairs:photos"}
    (run / "args.json").write_text(json.dumps(args))
    monkeypatch.chdir(tmp_path)
    line = problem(jaxgen("evaluate", run, "--metrics", "swd", "--samples", 10))
    assert f"pairs:photos: no such folder in {tmp_path}; check the path, or say where" in line
    assert "--reference pairs:PATH" in line


def test_data_is_opened_once_for_a_check_and_its_scores():
    splits = []
    args = SimpleNamespace(load_data=lambda split, resident: splits.append(split) or object())
    of = real(SimpleNamespace(data=None, args=args), None)
    assert of("test") is of("test")
    assert of("train") is not of("test")
    assert splits == ["test", "train"]


def test_folders_that_cannot_be_judged(sets, jaxgen, network, tmp_path):
    made, real, _ = sets
    empty = tmp_path / "empty"
    empty.mkdir()
    few = folder(tmp_path / "few", 3)
    broken = folder(tmp_path / "broken", 12)
    (broken / "005.png").write_bytes((made / "000.png").read_bytes()[:100])
    judge = lambda *words: problem(jaxgen("evaluate", "--images", *words))
    assert f"no images in {empty}; put" in judge(empty, "--reference", real)
    assert f"no images in {empty}; put" in judge(made, "--reference", empty)
    assert f"{few} has 3 images, and 10 are needed; add" in judge(few, "--reference", real)
    assert "has 3 images, too few to compare with; give 10" in judge(made, "--reference", few)
    assert "005.png" in judge(broken, "--reference", real)
    assert "005.png" in judge(made, "--reference", broken)
    assert "or ask for 30" in judge(made, "--reference", real, "--samples", 50)
    assert "--images needs --reference" in judge(made)
    assert "no such folder" in judge(tmp_path / "none", "--reference", real)
    odd = folder(tmp_path / "odd", 12, size=12)
    line = judge(odd, "--reference", odd, "--metrics", "swd")
    assert "swd: images of (12, 12)" in line
    out = ["--out", "/proc/nowhere/x.jsonl"]
    assert "cannot be written" in judge(made, "--reference", real, *out)


def test_missing_weights(sets, jaxgen, cache, tmp_path):
    made, real, _ = sets
    words = ["evaluate", "--images", made, "--reference", real, "--weights", tmp_path / "none.pth"]
    for name in ("inception", "vgg16"):
        assert "none.pth" in problem(jaxgen(*words, "--features", name))


def test_scores_during_training(network, cache, tmp_path):
    from jaxgen.commands.arguments import parse
    from jaxgen.commands.launch import train
    from jaxgen.experiments.wgan import Args, system
    from jaxgen.train.checkpoints import saved_rounds

    def run(name, *flags):
        words = [*TINY, "--rounds", "4", "--save-every", "2", "--workdir", str(tmp_path / name)]
        train("jaxgen.experiments.wgan", system, parse(Args, "wgan", [*words, *flags]))
        records = lines(tmp_path / name / "metrics.jsonl")
        timed = ("seconds", "images_per_second", "data_wait")
        return [{k: v for k, v in r.items() if k not in timed} for r in records]

    often = ["--evaluate-every", "2", "--evaluate-samples", "20", "--evaluate-metrics", "fid", "is"]
    scored, plain = run("a", *often), run("b")
    found = lines(tmp_path / "a/scores.jsonl")
    assert [(r["metric"], r["round"]) for r in found] == [
        *(("fid", 2), ("is", 2)),
        *(("fid", 4), ("is", 4)),
    ]
    assert all(r["samples"] == 20 and r["references"] == 4500 for r in found)
    logged = {r["round"]: r["score/fid-toy"] for r in scored if "score/fid-toy" in r}
    assert logged == {r["round"]: pytest.approx(r["value"]) for r in found if r["metric"] == "fid"}
    without = [{k: v for k, v in r.items() if not k.startswith("score/")} for r in scored]
    assert without == plain  # training does not notice
    assert not (tmp_path / "b/scores.jsonl").exists()
    # A finished run may be trained on with other scores, as they change nothing.
    run("a", "--rounds", "6", "--evaluate-every", "3", "--evaluate-metrics", "kid")
    assert lines(tmp_path / "a/scores.jsonl")[-1]["metric"] == "kid"
    assert max(saved_rounds(tmp_path / "a/checkpoints")) == 6


def test_the_path_length(trained, jaxgen, monkeypatch, tmp_path):
    """A distance of 2e-8 over steps of 1e-4 is a length of 2."""
    from jaxgen.weights import distances

    made = SimpleNamespace(sha256="ab", apply=lambda a, b: jnp.full(len(a), 2e-8))
    monkeypatch.setattr(distances, "distance", lambda name, weights: made)
    words = ["--metrics", "ppl", "--samples", 20, "--batch", 10, "--out", tmp_path / "s.jsonl"]
    code, said, _ = jaxgen("evaluate", trained, *words)
    assert (code, said.startswith("ppl-squeezenet-distance")) == (0, True)
    (record,) = lines(tmp_path / "s.jsonl")
    assert record["value"] == pytest.approx(2, rel=2e-3)
    assert record["settings"] == {"eps": 1e-4, "percentiles": [1, 99], "between": "arc"}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--evaluate-every", "-1"], "--evaluate-every is at least 0, not -1"),
        (["--evaluate-samples", "3"], "--evaluate-samples is at least 10, not 3"),
        (["--evaluate-metrics", "kidd"], 'there is no metric "kidd"; did you mean kid?'),
        (["--evaluate-metrics", "elbo"], "there is no metric"),
        (["--evaluate-metrics", "psnr"], "wgan has no psnr; its metrics are fid, kid"),
        (["--evaluate-metrics", "swd", "--size", "28"], "swd: images of .28, 28."),
    ],
)
def test_what_cannot_be_scored_is_said_before_round_1(flags, said, tmp_path):
    from jaxgen.commands.arguments import parse
    from jaxgen.commands.launch import train
    from jaxgen.errors import UserError
    from jaxgen.experiments.wgan import Args, system

    words = ["--evaluate-every", "2", "--width", "2", "--workdir", str(tmp_path / "run"), *flags]
    with pytest.raises(UserError, match=said.replace("?", r"\?")):
        train("jaxgen.experiments.wgan", system, parse(Args, "wgan", words))
    assert not (tmp_path / "run").exists()


def pairs_of(shape, n=12):
    """Pairs of images, and a system that translates one into the other."""
    rng = np.random.default_rng(0)
    images = {k: rng.integers(0, 256, (n, *shape), dtype=np.uint8) for k in ("a", "b")}
    data = arrays(images, kinds=dict.fromkeys("ab", "image"))
    pair = lambda batch: ({"image": batch["a"]}, batch["b"])
    translator = Translator(lambda nets, inputs, key: nets.g(inputs["image"]), pair)
    show = lambda nets, batch, key: {"samples": batch["a"]}
    players = {"g": Player(Constant(), [(1, *shape)], optax.sgd(1e-6))}
    loss = lambda nets, batch, key: (abs(nets.g(batch["a"]) - batch["b"]).mean(), {})
    return data, System(players, (Turn(("g",), loss),), show, (translator,))


def test_what_other_systems_cannot_have_is_said_before_round_1(tmp_path, capsys):
    from jaxgen.evaluate.training import in_training

    refused = lambda system, data, *names: in_training(names, system, data, 16, tmp_path, "mine")
    data, system = pairs_of((16, 16, 3))
    said = "squeezenet-distance cannot be measured on images of 16 x 16 .* or use larger images"
    with pytest.raises(UserError, match=said):
        refused(system, data, "squeezenet-distance")
    refused(system, data)  # by default it is left out
    line = capsys.readouterr().err
    assert line.startswith("left out: squeezenet-distance: cannot be measured on images of 16 x 16")
    refused(system, data, "l1", "psnr")
    with pytest.raises(UserError, match="mine has no fid; its metrics are l1"):
        refused(system, data, "fid")

    few, enough = (arrays({"image": np.zeros((n, 16, 16, 3), np.uint8)}) for n in (8, 12))
    sampler = Sampler(normal(4), lambda nets, z, condition, key: nets.g(z))
    gan = System(system.players, system.turns, abilities=(sampler,))
    with pytest.raises(UserError, match=r"has 8 images, too few to compare with; give 10 or more"):
        refused(gan, few, "swd")
    with pytest.raises(UserError, match=said):
        refused(gan, enough, "ppl")

    coder = Autoencoder(lambda nets, x: x, lambda nets, z: z)
    for ability in coder, dataclasses.replace(coder, posterior=lambda nets, x: (x, x)):
        with pytest.raises(
            UserError,
            match="mig needs an encoder with a variance|mig: arrays has no attributes or labels",
        ):
            refused(System(system.players, system.turns, system.show, (ability,)), few, "mig")
    coding = System(system.players, system.turns, system.show, (coder,))
    with pytest.raises(UserError, match="knn: arrays has no labels; leave it out"):
        refused(coding, few, "knn")
    same = arrays({"image": np.zeros((12, 16, 16, 3), np.uint8), "label": np.arange(12) % 2})
    with pytest.raises(UserError, match="knn needs examples to learn from besides those that it"):
        refused(coding, same, "knn")
    assert not list(tmp_path.iterdir())


def test_options_of_a_translator_are_flags(stylist, jaxgen, tmp_path, monkeypatch):
    """An image to which no colour is put on stays as it is."""
    rng = np.random.default_rng(0)
    drawn = {k: rng.integers(0, 256, (12, 8, 8, 3), dtype=np.uint8) for k in ("image", "style")}
    mask = np.full((12, 8, 8, 1), 255, np.uint8)
    data = arrays({**drawn, "mask": mask}, kinds={"style": "image"})
    monkeypatch.setattr("jaxgen.commands.evaluate._data", lambda trained, reference: data)
    words = ("--metrics", "l1", "--reference", "x", "--out", tmp_path / "s.jsonl")
    for flags in (), ("--strength", 0):
        code, _, problem = jaxgen("evaluate", *stylist, *words, *flags)
        assert (code, problem) == (0, "")
    whole, none = lines(tmp_path / "s.jsonl")
    assert whole["value"] > 0.1
    assert none["value"] == pytest.approx(0, abs=1e-6)
    assert none["choices"] == {"strength": "0.0"}
    line = jaxgen("evaluate", *stylist, *words, "--style", "x.png")[2]
    assert "there is no flag --style" in line  # it is the example's


@pytest.mark.parametrize("error", [KeyError("x"), TypeError("odd"), OSError("no space left")])
def test_no_scoring_of_a_translator_ends_its_training(error, tmp_path, monkeypatch, capsys):
    import jaxgen as jg
    from jaxgen.evaluate import training

    def fails(path, records):
        raise error

    monkeypatch.setattr(training.scores, "append", fails)
    data, system = pairs_of((4, 4, 3))
    options = {"batch_size": 4, "evaluate": ("l1",), "evaluate_every": 1, "run": tmp_path / "run"}
    assert jg.fit(system, data, rounds=2, **options).round == 2
    said = "".join(capsys.readouterr())
    assert "round 1: it cannot be scored (" in said
    assert "; the training goes on" in said


def test_a_scoring_that_fails_does_not_end_a_training(
    network, cache, tmp_path, monkeypatch, capsys
):
    from jaxgen.commands.arguments import parse
    from jaxgen.commands.launch import train
    from jaxgen.experiments.wgan import Args, system

    def fails(*args):
        raise ValueError("a matrix is singular")

    monkeypatch.setitem(library.COMPUTE, "fid", fails)
    words = [*TINY, "--rounds", "2", "--evaluate-every", "2", "--evaluate-samples", "20"]
    words += ["--evaluate-metrics", "fid", "--workdir", str(tmp_path)]
    train("jaxgen.experiments.wgan", system, parse(Args, "wgan", words))
    said = "".join(capsys.readouterr())
    assert "round 2: it cannot be scored (a matrix is singular); the training goes on" in said
    assert lines(tmp_path / "metrics.jsonl")[-1]["round"] == 2


def test_averaged_weights_are_told_and_can_be_left_out(trained, network, cache):
    from jaxgen.commands.evaluate import table
    from jaxgen.runs.load import load

    opened = load(trained)
    state = opened.states["generator"]
    zero = jax.tree.map(jnp.zeros_like, state.params)
    averages = {"params": zero, "batch_stats": state.collections["batch_stats"]}
    states = {**opened.states, "generator": state.replace(ema=averages)}
    other = dataclasses.replace(opened, states=states)
    options = {"samples": 16, "references": 16, "batch": 16}
    one, two = (evaluate(other, ("fid",), ema=ema, **options) for ema in (True, False))
    assert (one[0]["ema"], two[0]["ema"]) == (True, False)
    assert "averaged weights" in table(one)
    assert "averaged weights" not in table(two)
    assert one[0]["value"] != two[0]["value"]
    assert other.evaluate("fid", **options) == {"fid-toy": one[0]["value"]}


def digits(n=40):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n, 8, 8, 1), dtype=np.uint8)
    return arrays({"image": images, "label": np.arange(n) % 4}, held_out=0.4)


def test_densities_codes_and_reconstructions():
    """A vae that was made from Python is scored on data that are given."""
    from jaxgen.experiments import vae

    data = digits()
    args = vae.Args(size=8, units=8, latent=3, importance_samples=3)
    system = vae.system(args, data.info)
    trained = TrainedRun(system, init(system, jax.random.key(0)), data.info, 0, "mine")
    with pytest.raises(UserError, match="mine was made from Python; give its data"):
        evaluate(trained, ("elbo",))
    names = ("elbo", "iwae", "reconstruction-l1", "reconstruction-squared", "knn", "mig")
    found = {r["metric"]: r for r in evaluate(trained, names, data=data)}
    assert set(found) == set(names)
    assert found["elbo"]["value"] < found["iwae"]["value"] < 0
    bits = -found["elbo"]["value"] / np.log(2) / 64
    assert found["elbo"]["bits_per_dimension"] == pytest.approx(bits)
    assert found["elbo"]["settings"] == {
        "unit": "nats",
        "exact": False,
        "of": "binary pixels",
    }
    assert 0 <= found["mig"]["value"] <= 1
    assert found["mig"]["settings"] == {"factors": "label"}
    held = data.of_split("test").take(range(len(data.of_split("test"))))["image"]
    again = trained.decode(trained.encode(held))
    by_hand = abs(again.astype(float) - held).mean() / 127.5
    assert found["reconstruction-l1"]["value"] == pytest.approx(by_hand, abs=0.01)
    by_hand = ((again.astype(float) - held) ** 2).sum(axis=(1, 2, 3)).mean() / 255**2
    assert found["reconstruction-squared"]["value"] == pytest.approx(by_hand, rel=0.01)
    (codes, label), (held_codes, held_label) = (
        (trained.encode(batch["image"]), batch["label"])
        for batch in (x.take(range(len(x))) for x in (data, data.of_split("test")))
    )
    nearest = ((held_codes[:, None] - codes) ** 2).sum(-1).argsort(axis=1)[:, :5]
    right = [np.bincount(label[row]).argmax() == y for row, y in zip(nearest, held_label)]
    assert found["knn"]["value"] == pytest.approx(np.mean(right))
    commonest = np.bincount(held_label).max() / len(held_label)
    assert found["knn"]["baselines"] == {"the commonest class": pytest.approx(commonest)}
    assert found["elbo"]["split"] == "test"
    known = dataclasses.replace(trained, data=data)  # as `fit` returns it
    assert known.evaluate("elbo") == {"elbo": found["elbo"]["value"]}


def test_an_objective_that_is_no_likelihood_is_called_so():
    from jaxgen.commands.evaluate import table

    data = arrays({"image": np.full((3, 4, 4, 3), 200, np.uint8)})
    bound, odd = evaluate(toys.scoring(), ("bound", "odd"), data=data)
    assert "bits_per_dimension" in bound
    assert "bits_per_dimension" not in odd
    assert (bound["settings"].get("likelihood"), odd["settings"]["likelihood"]) == (None, False)
    said = table([bound, odd]).splitlines()
    assert said[0].endswith(" bits a dimension, a bound)")
    assert said[1].endswith("  (no likelihood: shades)")


@pytest.mark.parametrize("system", [toys.scoring_system, toys.energy_system])
def test_another_set_is_told_apart(system, tmp_path, jaxgen):
    """By the toy's brightest pixel, or by minus the mean as energy: in each of nine pairs, or in
    five and a half."""
    from jaxgen.commands.evaluate import table

    def data(*levels):
        images = np.array(levels, np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)
        return arrays({"image": images})

    trained = toys.scoring(system)
    for inside, right in (((200, 190, 180), 1), ((50, 20, 10), (3 + 1.5 + 1) / 9)):
        other = data(1, 20, 30)
        about = {"data": data(*inside), "other": other, "batch": 2}
        (record,) = evaluate(trained, ("auroc",), **about)
        assert record["value"] == pytest.approx(right)
    name = "energy" if system is toys.energy_system else "log_prob"
    assert record["settings"]["score"] == name
    assert record["settings"]["other_samples"] == 3
    assert f"(by {name}, arrays outside)" in table([record])
    with pytest.raises(UserError, match="^other is needed by auroc: a set"):
        evaluate(trained, ("auroc",), data=other)
    run = toys.saved(trained, tmp_path / "run")
    words = (
        "evaluate",
        run,
        "--system",
        f"tests.runs.toys:{system.__name__}",
        "--metrics",
        "auroc",
    )
    near, far = (folder(tmp_path / x, 12, size=4, bright=b) for x, b in (("near", 128), ("far", 0)))
    words = (*words, "--reference", near)
    code, said, problem = jaxgen(*words, "--other", far)
    assert (code, problem.count("error")) == (0, 0)
    assert "outside" in said
    code, _, line = jaxgen(*words)
    assert (code, line.count("\n")) == (2, 1)
    assert "jaxgen: --other is needed by auroc: a set that is to be told from the data" in line


@pytest.mark.parametrize(("shift", "right"), [(0, 1.0), (1, 0.0)])
def test_samples_by_class_teach_a_classifier(shift, right, monkeypatch):
    """A sampler that paints every class like the data, or like the next class."""
    shorter = functools.partial(agreement.classification_accuracy, rounds=60, learning_rate=5e-3)
    monkeypatch.setattr(agreement, "classification_accuracy", shorter)
    labels = np.arange(400) % 4
    shades = (60 * labels).astype(np.uint8)
    images = np.tile(shades[:, None, None, None], (1, 8, 8, 1))
    data = arrays({"image": images, "label": labels}, held_out=0.4)

    def generate(nets, z, condition, key):
        shade = 60 * ((condition["label"] + shift) % 4) / 127.5 - 1
        return jnp.ones((len(z), 8, 8, 1)) * shade[:, None, None, None]

    sampler = Sampler(normal(1), generate, condition=("label",))
    trained = made_of(data, sampler)
    (record,) = evaluate(trained, ("classification-accuracy",), data=data, samples=200)
    assert record["value"] == pytest.approx(right, abs=0.05)
    assert record["baselines"]["trained on real images"] == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(("shift", "right"), [(0, 1), (1, 0), (None, 0.25)])
def test_a_classifier_of_the_data_reads_samples(shift, right, monkeypatch):
    """A sampler that paints every class like the data, like the next class, or all alike."""
    shorter = functools.partial(agreement.classifier, rounds=60, learning_rate=5e-3)
    monkeypatch.setattr(agreement, "classifier", shorter)
    labels = np.arange(400) % 4
    shades = (60 * labels).astype(np.uint8)
    images = np.tile(shades[:, None, None, None], (1, 8, 8, 1))
    data = arrays({"image": images, "label": labels}, held_out=0.4)

    def generate(nets, z, condition, key):
        painted = 0 * condition["label"] if shift is None else (condition["label"] + shift) % 4
        shade = 60 * painted / 127.5 - 1
        return jnp.ones((len(z), 8, 8, 1)) * shade[:, None, None, None]

    trained = made_of(data, Sampler(normal(1), generate, condition=("label",)))
    names = ("class-agreement", "classifier-score")
    agreed, varied = evaluate(trained, names, data=data, samples=200)
    assert agreed["value"] == pytest.approx(right, abs=0.02)
    assert agreed["baselines"]["held-out images"] == pytest.approx(1, abs=0.02)
    of_data = varied["baselines"]["held-out images"]
    assert of_data > 2
    assert varied["value"] == pytest.approx(1 if shift is None else of_data, rel=0.05)
    with pytest.raises(UserError, match="label cannot be chosen for class-agreement"):
        evaluate(trained, names[:1], data=data, label=1)


def test_a_curve_over_the_truncation(styled, trained, sets, jaxgen, network, cache):
    """A line and a point in the plot for each value; at 0 all samples are the mean's image."""
    _, real, _ = sets
    words = ("--samples", 12, "--reference", real, "--truncation-curve")
    code, said, _ = jaxgen("evaluate", styled, *words, "--metrics", "is", "recall")
    assert code == 0
    plot = styled / "use/truncation_curve_round_00000001_seed_0.png"
    assert said.strip().endswith(f"plotted in {plot}")
    with Image.open(plot) as image:
        assert image.width > 1.5 * image.height  # two panels
    found = lines(styled / "scores.jsonl")
    assert [x["choices"]["truncation"] for x in found[::2]] == ["0.0", "0.5", "1.0"]
    inception = [x["value"] for x in found[::2]]
    assert inception[0] == pytest.approx(1, abs=1e-4)
    assert inception[2] > inception[1] > 1.001
    (styled / "scores.jsonl").unlink()
    for run, flags, problem in (
        (trained, words, "wgan takes no truncation, so that there is no curve over it"),
        (styled, (*words, "--truncation", 0.5), "--truncation is what the curve goes over; leave"),
        (styled, (*words, "--metrics", "is", "iss"), 'there is no metric "iss"; did you mean is?'),
        (styled, (*words, "--metrics", "is", "l1"), "styles has no l1; its metrics are fid, kid"),
    ):
        code, _, line = jaxgen("evaluate", run, *flags)
        assert (code, line.count("\n")) == (2, 1)
        assert problem in line


def made_of(data, *abilities):
    """A run of a system that has these abilities and one number to learn."""
    player = Player(Constant(), [(1, 1)], optax.sgd(0.1))
    turn = Turn(("g",), lambda nets, batch, key: (nets.g(jnp.ones((1, 1))).mean(), {}))
    system = System({"g": player}, (turn,), show=lambda *_: {}, abilities=abilities)
    return TrainedRun(system, init(system, jax.random.key(0)), data.info, 0, "mine")


def shades_of_classes(names, **options):
    """Four images of each class, which are as light as its name says."""
    labels = np.arange(4 * len(names)) % len(names)
    shades = np.array([int(name[1:]) for name in names], np.uint8)[labels]
    images = np.tile(shades[:, None, None, None], (1, 4, 4, 1))
    return arrays({"image": images, "label": labels}, label_names=names, **options)


def test_labels_are_known_by_their_names():
    """A density that is 0 where an image is as light as its class, with sets whose classes have
    other numbers, are fewer, or unknown."""
    data = shades_of_classes(["c0", "c20", "c40"])

    def log_prob(nets, batch, key):
        return -abs((batch["image"].mean((1, 2, 3)) + 1) * 127.5 - 20 * batch["label"])

    sampler = Sampler(normal(1), lambda nets, z, condition, key: z, condition=("label",))
    trained = made_of(data, sampler, Density(log_prob, "fits"))
    score = lambda data: evaluate(trained, ("fits",), data=data)[0]
    moved = shades_of_classes(["c40", "c0"], held_out=0.5)
    for other in data, moved, dataclasses.replace(moved, arrays=None):
        record = score(other)
        assert record["value"] == pytest.approx(0, abs=1e-3)
        assert record["data_fingerprint"] in (
            other.fingerprint,
            moved.of_split("test").fingerprint,
        )
    said = (
        "arrays has labels that mine does not know: c9, c60; name data whose labels are of c0, c2"
    )
    with pytest.raises(UserError, match=said):
        score(shades_of_classes(["c9", "c0", "c60"]))
    with pytest.raises(UserError, match="fits: arrays has no labels; leave it out, or name other"):
        score(arrays({"image": np.zeros((4, 4, 4, 1), np.uint8)}))
    with pytest.raises(UserError, match="fits: arrays has no single images; leave it out"):
        score(pairs_of((4, 4, 1))[0])


def test_neighbours_are_of_the_same_named_class():
    """Codes that are the shades find it, though the set to learn from counts otherwise."""
    data, train = shades_of_classes(["c0", "c40"]), shades_of_classes(["c40", "c0", "c80"])
    trained = made_of(data, Autoencoder(lambda nets, x: x, lambda nets, z: z))
    options = {"data": data, "train": shades_of_classes(["c40", "c0"])}
    assert evaluate(trained, ("knn",), **options)[0]["value"] == 1
    with pytest.raises(UserError, match="arrays has labels that arrays .train. does not know: c80"):
        evaluate(trained, ("knn",), data=data, train=train)


def test_a_gap_needs_two_latents_and_a_factor_that_varies():
    coder = lambda k: Autoencoder(
        lambda nets, x: x,
        lambda nets, z: z,
        lambda nets, x: (x.reshape(len(x), -1)[:, :k], jnp.zeros((len(x), k))),
    )
    data = shades_of_classes(["c0", "c40"])
    with pytest.raises(UserError, match="mig: mine has one latent, and the gap is between two"):
        evaluate(made_of(data, coder(1)), ("mig",), data=data)
    same = shades_of_classes(["c40"])
    with pytest.raises(UserError, match="mig: all 4 examples of arrays .train. have the same lab"):
        evaluate(made_of(same, coder(2)), ("mig",), data=same)


def test_usual_scores_that_cannot_be_had_are_left_out(network, cache, capsys):
    """The others are scored; what was asked for is refused, and so is what leaves nothing."""
    sampler = Sampler(normal(1), lambda nets, z, condition, key: jnp.zeros((len(z), 4, 4, 1)))
    density = Density(lambda nets, batch, key: batch["image"].mean((1, 2, 3)))
    data = shades_of_classes(["c0", "c40"])
    trained = made_of(data, sampler, density)
    [record] = evaluate(trained, data=data)
    assert record["metric"] == "log_prob"
    few = "arrays (train) has 8 images, too few to compare with; give 10 or more, better thousands"
    assert capsys.readouterr().err == f"left out: fid, kid: {few}\n"
    with pytest.raises(UserError, match=r"^arrays .train. has 8 images, too few to"):
        evaluate(trained, ("log_prob", "fid"), data=data)
    of_pairs, _ = pairs_of((4, 4, 1))
    with pytest.raises(UserError) as error:
        evaluate(trained, data=of_pairs)
    assert str(error.value) == (
        "fid, kid: arrays has pairs of images; name one side's folder as folder:DIR; log_prob: "
        "arrays has no single images"
    )
    assert not capsys.readouterr().err


def test_vectors_of_labelled_examples():
    """A linear probe on features that tell the classes, or do not; what the data must have."""
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 4
    noise = rng.integers(0, 256, (400, 4, 4, 1), dtype=np.uint8)
    images = noise.copy()
    for label in range(4):  # by class, another pixel is white and three are black
        images[labels == label, 0, :] = 0
        images[labels == label, 0, label] = 255
    content = {"image": images, "label": labels}
    flat = lambda nets, batch: batch["image"].reshape(len(batch["image"]), -1)
    embedder = Embedder(flat, flat, lambda nets, batch: batch["text"])
    data = arrays(content, held_out=0.25)
    trained = made_of(data, embedder)
    (record,) = evaluate(trained, ("linear-probe",), data=data)
    assert record["value"] > 0.95
    blind = arrays({"image": noise, "label": labels}, held_out=0.25)
    assert evaluate(trained, ("linear-probe",), data=blind)[0]["value"] < 0.5
    assert record["baselines"]["the commonest class"] < 0.4
    assert record["split"] == "test"
    with pytest.raises(UserError, match="linear-probe needs examples to learn from besides"):
        evaluate(trained, ("linear-probe",), data=arrays(content))
    with pytest.raises(UserError, match="linear-probe: arrays has no labels; leave it out"):
        evaluate(trained, ("linear-probe",), data=arrays({"image": images}))
    with pytest.raises(UserError, match="image-to-text: arrays has no captions; leave it out"):
        evaluate(trained, ("image-to-text",), data=data)


def test_the_path_between_gaussian_latents():
    """It keeps their usual length, and a generator that normalises z sees the sphere."""
    a, b = jax.random.normal(jax.random.key(0), (2, 5, 64))
    t = jnp.linspace(0, 1, 5)
    np.testing.assert_allclose(jnp.linalg.norm(library.arc(a, b, t), axis=1), 8, rtol=1e-5)
    unit = library.arc(a, b, t) / 8
    np.testing.assert_allclose(unit, library.sphere(a, b, t), rtol=1e-5, atol=1e-6)


def test_label_maps_are_scored_by_classes(tmp_path, jaxgen):
    """Two folders of label maps: three of four pixels are right."""
    for name, pixels in (("a", [[0, 1], [1, 2]]), ("b", [[0, 1], [1, 1]])):
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.fromarray(np.array(pixels, np.uint8)).save(tmp_path / name / f"{i}.png")
    words = ["--images", tmp_path / "b", "--reference", tmp_path / "a"]
    words += ["--metrics", "pixel-accuracy", "iou", "--out", tmp_path / "s.jsonl"]
    code, _, problem = jaxgen("evaluate", *words)
    assert (code, problem) == (0, "")
    accuracy, iou = lines(tmp_path / "s.jsonl")
    assert accuracy["value"] == pytest.approx(0.75)
    assert iou["value"] == pytest.approx((1 + 2 / 3 + 0) / 3)
