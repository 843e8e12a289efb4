"""What there is: experiments with their papers, runs with how far they are."""

import json

from jaxgen.commands.list import catalogue, experiments, recipes
from jaxgen.data.specs import SHIPPED


def test_every_experiment_has_its_paper_and_data():
    found = {name: rest for name, *rest in experiments()}
    paper, data, _ = found["wgan"]
    assert paper.startswith("Wasserstein GAN (Arjovsky, Chintala & Bottou, 2017), https://arxiv")
    assert data == "mnist5k"
    assert found["parallel_lines"][1] == "its own"
    assert not any("cannot be imported" in paper for paper, *_ in found.values())


def test_every_shipped_set_has_its_licence(tmp_path):
    text = catalogue(tmp_path)
    for name, shipped in SHIPPED.items():
        assert f"  {name}{shipped.options} " in text
        assert f"licence: {shipped.licence}\n" in text
        assert shipped.licence


def test_recipes_are_found_where_the_user_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments" / "wgan").mkdir(parents=True)
    (tmp_path / "experiments" / "wgan" / "mine.toml").touch()
    assert [str(path) for path in recipes("wgan")] == ["experiments/wgan/mine.toml"]


def run(folder, rounds, metrics=(), saved=(), args=True):
    folder.mkdir(parents=True)
    if args:
        content = {"experiment": "jaxgen.experiments.wgan", "rounds": rounds}
        (folder / "args.json").write_text(json.dumps(content))
    lines = [json.dumps({"round": r, "images": 10 * r}) for r in metrics]
    (folder / "metrics.jsonl").write_text("\n".join([*lines, '{"round": 9']))
    for round in saved:
        (folder / "checkpoints" / str(round)).mkdir(parents=True)
        (folder / "checkpoints" / str(round) / "digests.json").touch()


def test_runs(tmp_path, jaxgen):
    run(tmp_path / "a", 4000, metrics=[100, 1100], saved=[500, 1000])
    run(tmp_path / "deep" / "b", 1000, metrics=[1000], saved=[1000])
    run(tmp_path / "c", 1000)
    run(tmp_path / "d", 1000)
    for i in (2, 10):
        run(tmp_path / "d" / f"{i}-stage", 50 * i, metrics=[i], saved=[i])
    for name, content in (("e", "[]"), ("f", '{"rounds": 1000}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "args.json").write_text(content)
    code, text, _ = jaxgen("list", tmp_path)
    assert code == 0
    rows = [line.split(maxsplit=5) for line in text.split("runs in ")[1].splitlines()[3:]]
    place = lambda name: str(tmp_path / name)
    assert rows == [
        [place("a"), "wgan", "1,000", "1,100", "11,000", "25% of 4,000 rounds"],
        [place("c"), "wgan", "none", "none", "0", "0% of 1,000 rounds"],
        [place("d"), "wgan", "10", "10", "100", "in stage 10-stage"],
        [place("deep/b"), "wgan", "1,000", "1,000", "10,000", "finished"],
        [place("e"), "?", *["its", "args.json", "is", "not one of a run"]],
        [place("f"), "Python", "none", "none", "0", "0% of 1,000 rounds"],
    ]


def test_no_runs(tmp_path, monkeypatch, jaxgen):
    monkeypatch.chdir(tmp_path)
    assert catalogue().endswith("no runs in runs yet")
    code, _, line = jaxgen("list", "nowhere")
    assert code == 2
    assert line == "jaxgen: there is no folder nowhere; name the one that holds the runs\n"
