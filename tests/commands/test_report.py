"""The report: one page, all of the run, nothing from elsewhere."""

import base64
import errno
import json
import os
import re

import numpy as np
import pytest

from jaxgen.commands.report import PICTURE_BYTES, PICTURES, curves, report
from jaxgen.errors import UserError
from jaxgen.evaluate.scores import append, record
from jaxgen.train.run import Run

HOSTILE = "</script><b>&amp;"


def make(folder, rounds=100, names=("samples",), side=4):
    here = {
        "command": f"python -m jaxgen.experiments.wgan --note '{HOSTILE}'",
        "started": "2026-01-02T03:04:05+00:00",
        "devices": 4,
        "device_kind": "TPU v9",
    }
    rng = np.random.default_rng(0)
    args = {"experiment": "jaxgen.experiments.wgan", "batch_size": 64, "note": HOSTILE}
    with Run(folder, args, here) as run:
        for round in range(1, rounds + 1):
            run.log({"round": round, "images": 64 * round, "seconds": 0.5 * round, "g/loss": 2.0})
            images = rng.integers(0, 256, (4, side, side, 3), np.uint8)
            run.picture(round, dict.fromkeys(names, images))
    return folder


def test_it_is_written_before_what_else_a_run_is_wanted_for(trained):
    from jaxgen.commands.launch import train
    from jaxgen.experiments.wgan import Args, system

    class Failing(Args):
        def finish(self, run):
            raise UserError("no picture")

    (trained / "report.html").unlink()
    args = json.loads((trained / "args.json").read_text())
    name = args.pop("experiment")
    with pytest.raises(UserError, match="no picture"):
        train(name, system, Failing(**args | {"workdir": trained}))
    assert (trained / "report.html").is_file()


def data(page):
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])


def test_the_page_holds_the_run(tmp_path):
    path = report(make(tmp_path / "my-run"))
    assert path == tmp_path / "my-run" / "report.html"
    page = path.read_text()
    assert "<title>wgan</title>" in page
    assert "4 x TPU v9 · 2026-01-02 03:04 UTC" in page
    for name, value in ("rounds", "100"), ("images", "6,400"), ("time", "0:00:50"):
        assert f"<dt>{name}</dt><dd>{value}</dd>" in page
    assert "<dt>images/s</dt><dd>128</dd>" in page
    assert "<th>batch_size</th><td>64</td>" in page
    [curve] = data(page)["curves"]
    assert curve["name"] == "g/loss"
    assert curve["x"] == list(range(1, 101))
    assert "%(" not in page


def test_nothing_is_loaded_and_nothing_escapes(tmp_path):
    page = report(make(tmp_path, rounds=2)).read_text()
    assert set(re.findall(r"https?://[^\"' ]+", page)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<link|@import|\bsrc=|url\((?!#)", page)
    assert HOSTILE not in page
    assert page.count("</script>") == 2
    assert "&lt;/script&gt;&lt;b&gt;&amp;amp;" in page


@pytest.mark.parametrize(("rounds", "names"), [(3, ["a"]), (101, ["a"]), (65, ["a", "b", "c"])])
def test_samples_are_few_even_and_end_with_the_last(tmp_path, rounds, names):
    samples = data(report(make(tmp_path, rounds, names)).read_text())["samples"]
    chosen = [sample["round"] for sample in samples]
    assert len(chosen) == min(rounds, PICTURES // len(names))
    assert chosen[-1] == rounds
    steps = np.diff(chosen)
    assert steps.max() - steps.min() <= 1
    assert [name for name, _ in samples[-1]["pictures"]] == ([""] if len(names) == 1 else names)
    last = sorted((tmp_path / "samples").iterdir())[-1]
    assert base64.b64decode(samples[-1]["pictures"][-1][1]) == last.read_bytes()


def test_large_samples_are_fewer(tmp_path, monkeypatch):
    monkeypatch.setattr("jaxgen.commands.report.PICTURE_BYTES", 10_000)
    samples = data(report(make(tmp_path, 20, side=32)).read_text())["samples"]
    assert samples[-1]["round"] == 20
    assert len(samples) < 20
    assert sum(len(s["pictures"][0][1]) * 3 / 4 for s in samples) < 15_000 < PICTURE_BYTES


def test_curves_keep_the_extremes_and_the_mean():
    rng = np.random.default_rng(0)
    values = np.sin(np.arange(5000) / 500) + rng.normal(size=5000)
    values[1234] = 50
    metrics = [{"round": 10 * i, "images": i, "d/loss": v} for i, v in enumerate(values)]
    for i in range(0, 5000, 100):
        metrics[i]["fid"] = 3.0
    loss, fid = curves(metrics)
    assert [loss["name"], fid["name"]] == ["d/loss", "fid"]
    assert len(loss["x"]) == 400
    assert max(loss["high"]) == 50
    assert min(loss["low"]) == pytest.approx(values.min(), rel=1e-4)
    inner = [(x, y) for x, y in zip(loss["x"], loss["smooth"], strict=True) if not 10e3 < x < 15e3]
    for x, smooth in inner:
        assert smooth == pytest.approx(np.sin(x / 5000), abs=0.4)
    assert fid["smooth"] == [3] * 50
    assert fid["x"] == [1000 * i for i in range(50)]


def test_the_last_value_is_that_of_the_last_record():
    """Not the end of the smoothed line, which is far above it."""
    values = [1.0] * 299 + [-0.0098]
    metrics = [{"round": 10 * i + 10, "d/loss": v} for i, v in enumerate(values)]
    [curve] = curves(metrics)
    assert curve["last"] == [3000, -0.0098]
    assert curve["smooth"][-1] > 0.5
    many = [{"round": i + 1, "d/loss": float(i)} for i in range(1201)]  # three to a point
    assert curves(many)[0]["last"] == [1201, 1200]


def test_scores_real_images_and_legends(tmp_path):
    images = np.zeros((2, 4, 4, 3), np.uint8)
    with Run(tmp_path, {}, {}) as run:
        run.examples({"a": images, "b": images + 9})
        run.picture(1, {"strips": images}, {"strips": "Each strip: <input>, output"})
        run.picture(2, {"strips": images}, {"strips": "Each strip: <input>, output"})
    old = record("fid", features="toy", value=9.0, round=1, samples=1000, data="x", split="test")
    new = old | {"value": 7.25, "deviation": 0.5, "round": 2}
    way = record("l1", value=0.125, round=2, direction="a-to-b")
    append(tmp_path / "scores.jsonl", [old, new, way])
    page = report(tmp_path).read_text()
    found = data(page)
    assert [name for name, _ in found["real"]] == ["a", "b"]
    png = base64.b64decode(found["real"][1][1])
    assert png == (tmp_path / "data_b.png").read_bytes()
    assert found["legends"] == {"": "Each strip: <input>, output"}
    cells = re.findall(r"<t[dh]>(.*?)</t[dh]>", page[page.index("Newest scores") :])
    assert cells[:12] == [
        *("score", "value", "round", "samples", "data", "measured"),
        *("fid-toy", "7.25 ± 0.5", "2", "1,000", "x test", new["date"][:16].replace("T", " ")),
    ]
    assert cells[12:15] == ["l1 (a-to-b)", "0.125", "2"]


def test_a_seed_of_several(tmp_path):
    """Its scores, of its own record or of that of all, whichever is newer."""
    with Run(tmp_path, {"seeds": 2}, {}):
        pass
    both = record("elbo", value=-2.0, deviation=1.0, copies=[-1.0, -3.0], round=5)
    append(tmp_path / "scores.jsonl", [record("mig", value=0.5, copy=1), both])
    cells = lambda path: re.findall(r"<td>(.*?)</td>", path.read_text().partition("</table>")[0])
    rows = [cells(report(tmp_path, copy=copy)) for copy in (None, 0, 1)]
    assert rows[0][:2] == ["mig of copy 1", "0.5"]
    assert rows[0][6:8] == ["elbo", "-2 ± 1 of 2 seeds"]
    assert rows[1][:2] == ["elbo of copy 0", "-1"]
    assert rows[2][:2] == ["mig of copy 1", "0.5"]
    assert rows[2][6:8] == ["elbo of copy 1", "-3"]
    assert len(rows[1]) == 6
    page = (tmp_path / "report_copy_1.html").read_text()
    assert "2 seeds: scores of copy 1, means of the curves, pictures of copy 0" in page
    with pytest.raises(UserError, match="copy is from 0 to 1 in"):
        report(tmp_path, copy=2)


def test_a_value_of_a_sweep(tmp_path):
    with Run(tmp_path, {"sweep": "lr=0.001,0.002"}, {}):
        pass
    append(tmp_path / "scores.jsonl", [record("fid", value=0.5, copy=1, sweep="lr=0.002")])
    assert "fid of copy 1 (lr=0.002)" in report(tmp_path).read_text()


def test_scores_of_the_stages_are_shown(tmp_path):
    with Run(tmp_path, {}, {}) as run:
        run.stage("0-first").examples({"image": np.zeros((1, 4, 4, 1), np.uint8)})
        run.stage("1-second")
    for stage, value in ("0-first", 5.0), ("1-second", 4.0):
        append(tmp_path / stage / "scores.jsonl", [record("fid", value=value, round=3)])
    page = report(tmp_path).read_text()
    assert "<td>fid of 0-first</td><td>5</td>" in page
    assert "<td>fid of 1-second</td><td>4</td>" in page
    assert [name for name, _ in data(page)["real"]] == [""]


def test_stages_follow_each_other(tmp_path):
    with Run(tmp_path, {}, {}) as run:
        for i, rounds in ((0, 3), (1, 2), (10, 2)):
            stage = run.stage(f"{i}-stage")
            for round in range(1, rounds + 1):
                clock = {"round": round, "images": 10 * round, "seconds": 2.0 * round}
                stage.log(clock | {"g/loss": 100 * i + round})
                stage.picture(round, {"samples": np.zeros((1, 4, 4, 3), np.uint8)})
    page = report(tmp_path).read_text()
    [curve] = data(page)["curves"]
    assert curve["x"] == [1, 2, 3, 4, 5, 6, 7]
    assert curve["low"] == [1, 2, 3, 101, 102, 1001, 1002]
    assert [sample["round"] for sample in data(page)["samples"]] == [1, 2, 3, 4, 5, 6, 7]
    assert "<dt>images</dt><dd>70</dd>" in page
    assert "<dt>time</dt><dd>0:00:14</dd>" in page


def test_a_run_without_anything_yet(tmp_path):
    with Run(tmp_path, {}, {}):
        pass
    page = report(tmp_path).read_text()
    assert data(page) == {"curves": [], "samples": [], "legends": {}, "real": []}
    assert "Newest scores" not in page
    assert f"<title>{tmp_path.name}</title>" in page


def test_another_place_and_a_disk_that_is_full(tmp_path, monkeypatch):
    make(tmp_path / "run", rounds=2)
    path = report(tmp_path / "run", out=tmp_path / "new" / "page.html")
    assert path.read_text() == report(tmp_path / "run").read_text()
    before = path.read_text()

    def full(self, *args, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("pathlib.Path.write_text", full)
    with pytest.raises(UserError, match="page.html cannot be written .No space left on device"):
        report(tmp_path / "run", out=path)
    assert path.read_text() == before
    assert [file.name for file in path.parent.iterdir()] == ["page.html"]


def test_not_a_run(tmp_path):
    with pytest.raises(UserError, match="not a run folder"):
        report(tmp_path)
