"""Sets prepared by tensorflow-datasets are read without TensorFlow and without the network."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from jaxgen.data.pipeline import load
from jaxgen.data.source import Field
from jaxgen.data.specs import open_source
from jaxgen.data.tfds import data_folder, prepare_command
from jaxgen.errors import UserError

PREPARE = """
import io, json, pathlib, shutil, sys
import numpy as np
from PIL import Image
import tensorflow_datasets as tfds

def png(k, shade, colours=3):
    file = io.BytesIO()
    shape = (10 + k, 12, 3)[: 2 + colours // 3]
    Image.fromarray(np.full(shape, shade, np.uint8)).save(file, "PNG")
    file.seek(0)
    return file

class Shades(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    SPLITS = {"train": 20, "validation": 6}
    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "label": tfds.features.ClassLabel(names=["even", "odd"]),
            "caption": tfds.features.Text(),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))
    def _split_generators(self, manager):
        return {name: self._generate_examples(n) for name, n in self.SPLITS.items()}
    def _generate_examples(self, n):
        for k in range(n):
            yield k, {"image": png(k, 10 * k), "label": k % 2, "caption": f"shade {k}"}

class Faces(Shades):
    SPLITS = {"train": 4}
    def _info(self):
        kinds = tfds.features
        features = {
            "image": kinds.Image(shape=(None, None, 3)),
            "segmentation_mask": kinds.LabeledImage(shape=(None, None, 1), labels=9),
            "label": kinds.ClassLabel(names=["even", "odd"]),
            "hair": kinds.ClassLabel(names=["brown", "grey", "none"]),
            "attributes": {"smiling": np.bool_, "old": np.bool_},
            "score": np.float32,
            "file_name": kinds.Text(),
        }
        return tfds.core.DatasetInfo(builder=self, features=kinds.FeaturesDict(features))
    def _generate_examples(self, n):
        for k in range(n):
            yield k, {
                "image": png(0, k),
                "segmentation_mask": png(0, 2 * k, colours=1),
                "label": k % 2,
                "hair": k % 3,
                "attributes": {"smiling": k > 1, "old": k == 3},
                "score": 0.5,
                "file_name": f"{k}.png",
            }

class Halves(Faces):
    SPLITS = {"train": 4, "test": 1}

class Films(Shades):
    SPLITS = {"train": 4, "test": 1}
    def _info(self):
        kinds = tfds.features
        features = {
            "video": kinds.Sequence(kinds.Image(shape=(None, None, 3))),
            "label": kinds.ClassLabel(names=["even", "odd"]),
        }
        return tfds.core.DatasetInfo(builder=self, features=kinds.FeaturesDict(features))
    def _generate_examples(self, n):
        for k in range(n):
            yield k, {"video": [png(k, 10 * k + t) for t in range(2 + 2 * k)], "label": k % 2}

class Twosides(Shades):
    SPLITS = {"trainA": 3, "trainB": 4, "testA": 2, "testB": 2}

class Newshades(Shades):
    VERSION = tfds.core.Version("1.2.0")
    SPLITS = {"train": 12}

class Configured(Shades):
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=n, version="1.0.0") for n in ("dim", "lit")]

folder = sys.argv[1]
for kind in (Shades, Faces, Halves, Films, Twosides, Newshades):
    kind(data_dir=folder, file_format="array_record").download_and_prepare()
for config in ("dim", "lit"):
    Configured(config=config, data_dir=folder, file_format="array_record").download_and_prepare()
# The same films, described as by the feature Video, which cannot be made without TensorFlow.
shutil.copytree(f"{folder}/films", f"{folder}/videos")
description = pathlib.Path(folder, "videos/1.0.0/features.json")
features = json.loads(description.read_text())
features["featuresDict"]["features"]["video"] = {
    "pythonClassName": "tensorflow_datasets.core.features.video_feature.Video",
    "video": {"shape": {"dimensions": ["-1", "-1", "-1", "3"]}, "encodingFormat": "png"},
}
description.write_text(json.dumps(features))
assert "tensorflow" not in sys.modules
"""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Real sets prepared on the spot, by a process of their own: builders register globally."""
    folder = tmp_path_factory.mktemp("tensorflow_datasets")
    script = folder / "prepare.py"
    script.write_text(PREPARE)
    done = subprocess.run([sys.executable, script, folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.fixture
def tfds_folder(prepared, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
    monkeypatch.setenv("JAXGEN_CACHE", str(prepared / "cache"))
    return prepared


@pytest.mark.usefixtures("tfds_folder")
def test_images_labels_and_captions_are_read():
    (train,), (test,) = open_source("tfds:shades"), open_source("tfds:shades", "test")
    assert (len(train), len(test)) == (20, 6)
    assert train.label_names == ("even", "odd")
    for i in range(20):
        example = train[i]
        k = int(example["caption"].split()[1])
        assert example["image"].shape == (10 + k, 12, 3)
        assert (example["image"] == 10 * k).all()
        assert example["label"] == k % 2
    assert train.texts(3) == (train[3]["caption"],)
    assert train.counts().tolist() == [1] * 20
    assert train.fingerprint != test.fingerprint
    assert "tensorflow" not in sys.modules


@pytest.mark.usefixtures("tfds_folder")
def test_label_maps_and_attributes_are_read_where_they_are_declared():
    (source,) = open_source("tfds:faces")
    assert {name: field.kind for name, field in source.fields.items()} == {
        "image": "image",
        "classes": "classes",
        "label": "label",
        "attributes": "attributes",
    }  # and no caption: the name of a file says nothing
    assert source.fields["classes"].classes == 9  # as declared; there are 7
    assert source.attribute_names == ("hair", "old", "smiling")
    seen = set()
    for i in range(4):
        example = source[i]
        k = int(example["image"][0, 0, 0])
        assert example["classes"].shape == (10, 12, 1)
        assert (example["classes"] == 2 * k).all()
        assert example["label"] == k % 2
        assert example["attributes"].tolist() == [k % 3, k == 3, k > 1]
        seen.add(k)
    assert seen == set(range(4))


@pytest.mark.usefixtures("tfds_folder")
def test_the_train_split_says_what_label_maps_are():
    """The test split has black ones alone, which could be masks."""
    for split in ("train", "test"):
        assert "classes" in open_source("tfds:halves", split)[0].fields


@pytest.mark.usefixtures("tfds_folder")
@pytest.mark.parametrize("name", ["films", "videos"])
def test_films_are_cut_into_clips(name, capfd):
    """Film k has 2 + 2 k frames of the grey 10 k + t."""
    (source,) = open_source(f"tfds:{name}", frames=4)
    assert source.fields["video"] == Field("video", depth=4)
    assert (
        f"tfds:{name}: 1 of 4 films have fewer than 4 frames; passed over" in capfd.readouterr().err
    )
    seen = set()
    for i in range(len(source)):
        example = source[i]
        k, first = divmod(int(example["video"][0, 0, 0, 0]), 10)
        shades = example["video"] - np.arange(4, dtype=np.uint8)[:, None, None, None]
        assert shades.shape == (4, 10 + k, 12, 3)
        assert (shades == 10 * k + first).all()
        assert example["label"] == k % 2
        where, *sides = source.origin(i)
        assert where.endswith(f" of train, frame {first}")
        assert sides == [10 + k, 12]
        seen.add((k, first))
    assert seen == {(k, first) for k in (1, 2, 3) for first in range(0, 2 * k, 2)}
    others = [open_source(f"tfds:{name}", frames=n)[0] for n in (4, 6)]
    assert others[0].fingerprint == source.fingerprint != others[1].fingerprint
    with pytest.raises(UserError, match="has no film of 9 frames; use fewer"):
        open_source(f"tfds:{name}", frames=9)
    data = load(f"tfds:{name}", size=(6, 8), frames=4)
    assert data.info.fields["video"] == Field("video", 3, 4)
    assert data.examples(2)["video"].shape == (2, 4, 6, 8, 3)


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch):
    def homeless(_):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    monkeypatch.setattr(Path, "expanduser", homeless)
    with pytest.raises(UserError, match="no such home folder; set TFDS_DATA_DIR to the folder"):
        data_folder()


@pytest.mark.usefixtures("tfds_folder")
@pytest.mark.parametrize("resident", ["yes", "no"])
def test_batches(resident):
    batches = load("tfds:shades", size=8, channels=1, resident=resident).batches(20, 0)
    batch = next(batches)
    batches.close()
    assert batch["image"].shape == (20, 8, 8, 1)
    assert sorted(batch["image"][:, 0, 0, 0]) == list(range(0, 200, 10))


@pytest.mark.usefixtures("tfds_folder")
def test_domains_shares_and_configurations():
    a, b = open_source("tfds:twosides")
    assert (len(a), len(b), set(b[0])) == (3, 4, {"b", "label", "caption"})
    train, test = (
        open_source("tfds:newshades", split, held_out=0.4)[0] for split in ("train", "test")
    )
    assert len(train) + len(test) == 12
    with pytest.raises(UserError, match="no test split"):
        open_source("tfds:newshades", "test")
    with pytest.raises(UserError, match="use tfds:configured/dim, tfds:configured/lit"):
        open_source("tfds:configured")
    assert len(open_source("tfds:configured/lit")[0]) == 20


@pytest.mark.parametrize("name", ["mnist", "celeb_a_hq/256", "no_such_set"])
@pytest.mark.usefixtures("tfds_folder")
def test_a_set_that_is_not_prepared_is_answered_at_once(name):
    start = time.monotonic()
    with pytest.raises(UserError) as error:
        open_source(f"tfds:{name}")
    assert time.monotonic() - start < 10
    assert "\n" not in str(error.value)
    assert "is not prepared in" in str(error.value)
    assert f"tfds.builder('{name}', file_format='array_record')" in str(error.value)


def test_the_named_command_is_python():
    code = prepare_command("mnist").split('python -c "')[1].rstrip('"')
    compile(code, "command", "exec")


def test_another_format_is_named(prepared, tmp_path, monkeypatch):
    folder = tmp_path / "shades" / "1.0.0"
    folder.mkdir(parents=True)
    for file in (prepared / "shades" / "1.0.0").iterdir():
        text = file.read_bytes().replace(b"array_record", b"tfrecord")
        (folder / file.name.replace("array_record", "tfrecord")).write_bytes(text)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(UserError, match=r"prepared as tfrecord.*move .*1\.0\.0 away and run"):
        open_source("tfds:shades")
