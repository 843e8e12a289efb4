"""Scores side by side: ranked where they were measured alike, refused with the reason elsewhere."""

import json

import pytest

from jaxgen.evaluate import scores
from jaxgen.evaluate.run import METRICS

ALIKE = {
    "features": "squeezenet",
    "weights_sha256": "f286bbf493e6389979ed3036",
    "resize": "bilinear to 224",
    "settings": {},
    "samples": 5000,
    "references": 4500,
    "data": "mnist5k",
    "split": "train",
    "data_fingerprint": "06671f8c8a7fd00f",
    "size": 32,
    "ema": False,
    "version": "0.1.0",
}


@pytest.fixture
def run(tmp_path):
    """A run folder with scores, {metric: value}, and what is particular to them."""

    def make(name, values, **own):
        (tmp_path / name).mkdir(exist_ok=True)
        with open(tmp_path / name / "scores.jsonl", "a") as file:
            for metric, value in values.items():
                record = {"value": value, **ALIKE, "round": 8000, "seed": 0, **own}
                known = METRICS.get(metric)
                label = scores.record(metric, network=known and known.network, **record)
                record |= {"metric": metric, "label": label["label"]}
                file.write(json.dumps(record) + "\n")
        return tmp_path / name

    return make


def test_the_best_has_a_star(run, jaxgen):
    a = run("a", {"fid": 99.0})
    a = run("a", {"fid": 12.5, "recall": 0.5}, seed=1)  # the newest counts
    b = run("b", {"fid": 10.25, "recall": 0.4, "kid": 0.125}, round=900, deviation=0.5)
    code, said, problem = jaxgen("compare", a, b)
    assert (code, problem) == (0, "")
    head, first, second, *_ = said.splitlines()
    assert head.split() == ["run", "round", *(f"{m}-squeezenet" for m in ("fid", "recall", "kid"))]
    assert first.split() == [str(a), "8,000", "12.5", "0.5", "*", "-"]
    assert second.split()[:6] == [str(b), "900", "10.25", "±", "0.5", "*"]
    assert "0.4 ± 0.5 " in second
    assert "0.125 ± 0.5" in second
    assert second.count("*") == 1  # a metric of one run is not ranked


@pytest.mark.parametrize(
    ("field", "other", "said"),
    [
        ("samples", 1000, "samples: 5000 / 1000"),
        ("references", 500, "references: 4500 / 500"),
        ("split", "test", "split: train / test"),
        ("data_fingerprint", "0" * 16, "data_fingerprint: 06671f8c8a7fd00f / 0000000000000000"),
        ("weights_sha256", "a" * 24, "weights_sha256: f286bbf493e6389979ed3036 / aaaa"),
        ("resize", "bicubic to 299", "resize: bilinear to 224 / bicubic to 299"),
        ("settings", {"k": 5}, 'settings: {} / {"k": 5}'),
        ("ema", True, "ema: false / true"),
        ("version", "0.2.0", "version: 0.1.0 / 0.2.0"),
    ],
)
def test_scores_that_were_not_measured_alike_are_not_ranked(run, jaxgen, field, other, said):
    a, b = run("a", {"fid": 12.5}), run("b", {"fid": 10.25}, **{field: other})
    code, table, problem = jaxgen("compare", a, b)
    assert code == 2
    assert "12.5" in table
    assert "10.25" in table
    assert "*" not in table
    assert problem.startswith("jaxgen: not ranked, as not measured alike: fid-squeezenet (")
    assert said in problem
    assert problem.count("\n") == 1


def test_other_feature_networks_are_other_columns(run, jaxgen):
    a = run("a", {"fid": 12.5})
    b = run("b", {"fid": 3.5}, features="inception")
    code, said, _ = jaxgen("compare", a, b)
    assert code == 0
    assert said.split()[2:4] == ["fid-squeezenet", "fid"]
    assert "*" not in said
    assert said.splitlines()[-1] == (
        "no best: no metric was measured of two of these; evaluate them by the same --metrics"
    )


def test_mistakes(run, jaxgen, tmp_path):
    a = run("a", {"fid": 12.5})
    (tmp_path / "none").mkdir()

    def problem(*runs):
        code, said, line = jaxgen("compare", *runs)
        assert (code, said) == (2, "")
        assert line.count("\n") == 1
        return line

    assert "compare takes two runs or more" in problem(a)
    assert "named twice" in problem(a, a)
    assert f"there is no {tmp_path / 'x'}; name run folders" in problem(a, tmp_path / "x")
    line = problem(a, tmp_path / "none")
    assert f"has no scores yet; make some with python -m jaxgen evaluate {tmp_path}" in line
    scores = run("b", {"recall": 0.5, "fid": 10.25}) / "scores.jsonl"
    known = scores.read_text()
    for value, said in (("NaN", "nan"), ('"high"', "high")):
        scores.write_text(known.replace("10.25", value))
        line = problem(a, tmp_path / "b")
        assert f"{scores}: fid-squeezenet is {said}, which is no number; evaluate it again" in line
    run("b", {"fid": 10.25})  # the newest counts
    assert jaxgen("compare", a, tmp_path / "b")[0] == 0


def test_each_seed_that_was_scored_has_a_row(run, jaxgen):
    """Beside the mean over all, and never in one row with another seed."""
    a = run("a", {"fid": 10.0}, deviation=1.0, copies=[9.0, 11.0])
    run("a", {"fid": 9.0, "recall": 0.5}, copy=0)
    run("a", {"fid": 11.0}, copy=1)
    b = run("b", {"fid": 10.5, "recall": 0.25})
    code, said, problem = jaxgen("compare", a, b)
    assert (code, problem) == (0, "")
    rows = [line.split("8,000") for line in said.splitlines()[1:5]]
    assert [(name.strip(), values.split()) for name, values in rows] == [
        (f"{a}", ["10", "±", "1", "of", "2", "seeds", "-"]),
        (f"{a}, copy 0", ["9", "*", "0.5", "*"]),
        (f"{a}, copy 1", ["11", "-"]),
        (f"{b}", ["10.5", "0.25"]),
    ]


def test_each_value_of_a_sweep_has_a_row(run, jaxgen):
    a = run("a", {"fid": 9.0}, copy=1)
    run("a", {"recall": 0.5}, copy=1, sweep="lr=0.001")
    _, said, _ = jaxgen("compare", a, run("b", {"fid": 10.5}))
    assert f"{a}, copy 1 (lr=0.001)" in said


def test_files_of_scores_and_half_a_line(run, jaxgen):
    a, b = run("a", {"fid": 12.5}), run("b", {"fid": 10.25})
    with open(b / "scores.jsonl", "a") as file:
        file.write('{"metric": "fid", "val')
    code, said, _ = jaxgen("compare", a / "scores.jsonl", b / "scores.jsonl")
    assert code == 0
    assert "10.25 *" in said


def test_likelihoods_of_one_kind_are_one_column(run, jaxgen):
    """Whatever they are called; bounds are not ranked beside exact values, nor binary pixels beside
    dequantised ones."""

    def density(name, values, exact, of):
        settings = {"unit": "nats", "exact": exact, "of": of}
        for metric, value in values.items():
            bits = -value / 784 / 0.6931
            folder = run(name, {metric: value}, settings=settings, bits_per_dimension=bits)
        return folder

    vae = density("vae", {"elbo": -100.0, "iwae": -95.0}, False, "binary pixels")
    other = density("other", {"elbo": -97.5}, False, "binary pixels")
    pixelcnn = density("pixelcnn", {"log_prob": -90.0}, True, "binary pixels")
    realnvp = density("realnvp", {"log_prob": -900.0}, True, "grey levels, dequantised")
    odd = {"unit": "nats", "exact": False, "of": "grey levels as probabilities"}
    odd = {"settings": odd | {"likelihood": False}, "features": None}
    greys = run("grey", {"elbo": -80.0}, **odd), run("greyer", {"elbo": -82.0}, **odd)
    gaussian = density("gaussian", {"log_prob": -3000.0}, True, "grey levels, dequantised")

    code, table, problem = jaxgen("compare", vae, other, realnvp, gaussian)
    assert (code, problem) == (0, "")
    head, *rows = table.splitlines()
    assert "log p, binary pixels" in head
    assert "log p, grey levels, dequantised" in head
    assert "-95 nats, 0.1748 bits/dim, bound *" in rows[0]
    assert "-97.5 nats" in rows[1]
    assert "*" not in rows[1]
    assert "-900 nats, 1.656 bits/dim, exact *" in rows[2]
    assert "*" not in rows[3]

    code, table, problem = jaxgen("compare", vae, *greys)
    assert (code, problem) == (0, "")
    head, first, *rows = table.splitlines()
    assert "elbo, grey levels as probabilities" in head
    assert "*" not in first
    assert "-80 nats, no likelihood *" in rows[0]
    assert "-82 nats, no likelihood" in rows[1]

    code, table, problem = jaxgen("compare", vae, pixelcnn)
    assert code == 2
    assert "*" not in table
    said = 'log p, binary pixels (settings: {"exact": false} / {"exact": true})'
    assert said in problem
