"""Byte-pair tokens beside the authors' tokenizer, and vocabularies learned and read."""

import gzip
import json
from pathlib import Path

import pytest

from jaxgen.data import tokens
from jaxgen.errors import UserError

# What the authors' SimpleTokenizer makes of these texts with these merges: the first seven that of
# open_clip 3.3.0, the others, with control characters, ligatures, letters decoded wrongly and the
# names of the start and the end, that of openai/CLIP at d05afc4 with ftfy 6.3.1.
GOLDEN = json.loads((Path(__file__).parents[1] / "golden/c/clip_tokens.json").read_text())


def golden(folder, name="merges.txt"):
    path, text = folder / name, "\n".join(["#version: 0.2", *GOLDEN["merges"]])
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize("name", ["merges.txt", "merges.txt.gz"])
def test_like_the_authors_tokenizer(name, tmp_path):
    made = tokens.read(golden(tmp_path, name), GOLDEN["context"])
    assert made.size == GOLDEN["size"]
    assert [made(text).tolist() for text in GOLDEN["texts"]] == GOLDEN["ids"]


def test_the_first_text_that_is_cut_off_is_told_of(capsys):
    made = tokens.Tokens((), context=6)
    assert made("ab cd").tolist()[-1] == made.size - 1  # just as long as can be
    assert capsys.readouterr().err == ""
    for text in ("abcde", "fghij"):
        assert made(text).tolist()[1:] == [*tokens.Tokens((), 7)(text).tolist()[1:5], made.size - 1]
    said = capsys.readouterr().err
    assert said.startswith('"abcde" has 7 tokens with its start and end, of which the first 5 and')
    assert said.count("\n") == 1


def test_the_commonest_pair_merges_first():
    captions = ["low low low lowest lowest", "newest " * 6]
    made = tokens.learn(captions, 4)
    # e s, s t and w e stand 8 times each, the others less often; then es t and w es do
    assert made.merges[:3] == (("e", "s"), ("es", "t</w>"), ("w", "est</w>"))
    assert made.merges == tokens.learn(reversed(captions), 4).merges  # whatever the order
    assert len(tokens.learn(captions, 100).merges) < 100  # a pair that stands once does not merge
    assert tokens.learn(["ab"], 5).merges == ()
    assert tokens.learn(["<|startoftext|> <|endoftext|>"] * 2, 5).merges == ()  # tokens already


def test_saved_and_read_again(tmp_path):
    made = tokens.learn(GOLDEN["texts"] * 2, 30, context=9)
    made.save(tmp_path / "merges.txt")
    assert tokens.read(tmp_path / "merges.txt", 9) == made
    assert len(tokens.read(tmp_path / "merges.txt", 9, merges=10).merges) == 10


def test_every_text_has_its_layout():
    made = tokens.learn(["a cat", "a cat"], 10, context=6)
    start, end = made.size - 2, made.size - 1
    for text in "", "a cat", "dogs, dogs and more dogs", "日本":
        found = made(text)
        assert found.shape == (6,)
        assert found[0] == start
        assert (found == end).sum() == 1  # also of a text that is cut off
        assert found[found.argmax() + 1 :].sum() == 0
    assert tokens.learn(["x"], 1)("x").shape == (77,)


def test_wrong_vocabularies(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        tokens.read(tmp_path / "none.txt")
    path = tmp_path / "bad.txt"
    for text, line in {
        "#\na b\na b c": "line 3 is not two symbols",
        "#\na b\nabc d": "line 3 merges what is no symbol",
    }.items():
        path.write_text(text)
        with pytest.raises(UserError, match=line):
            tokens.read(path)
    path.write_bytes(b"\x1f\x8bno")
    with pytest.raises(UserError, match="cannot be read"):
        tokens.read(path)
    with pytest.raises(UserError, match="holds no word"):
        tokens.Tokens((), 2)
