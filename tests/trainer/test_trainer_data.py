from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from collab.node.trainer.data import Batches, Corpus, prepare
from collab.node.trainer.data.corpus import is_held_out
from collab.node.trainer.data.document import inside
from collab.node.trainer.data.local import paragraphs
from collab.node.trainer.data.sources import open_source
from collab.node.trainer.data.stdlib import StandardLibrary
from collab.node.trainer.data.tokenizer import ByteTokenizer
from collab.node.trainer.errors import WorkerError
from collab.node.trainer.models import IGNORED
from collab.protocol.event import Data

TEXTS = [f"Text number {number}: ünïcode and more words." for number in range(60)]


def text_of(corpus: Corpus) -> str:
    return (corpus.train.tobytes() + corpus.held_out.tobytes()).decode()


def write_jsonl(folder: Path) -> Data:
    lines = [json.dumps({"body": text, "other": 1}) for text in TEXTS]
    (folder / "texts.jsonl").write_text("\n".join(lines) + "\n\n")
    return Data(source="jsonl", path="texts.jsonl", field="body", held_out=0.2)


def write_parquet(folder: Path) -> Data:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    (folder / "rows").mkdir()
    for part in range(2):
        table = pyarrow.table({"body": TEXTS[30 * part : 30 * part + 30], "other": list(range(30))})
        parquet.write_table(table, folder / "rows" / f"{part}.parquet")
    return Data(source="parquet", path="rows", field="body", held_out=0.2)


def write_dataset(folder: Path) -> Data:
    pytest.importorskip("datasets")
    (folder / "hub" / "texts").mkdir(parents=True)
    write_jsonl(folder / "hub" / "texts")
    return Data(source="huggingface", path="hub/texts", field="body", held_out=0.2)


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hf"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("write", [write_jsonl, write_parquet, write_dataset])
def test_every_text_comes_once_on_one_side(tmp_path: Path, write: object) -> None:
    assert callable(write)
    corpus = prepare(write(tmp_path), tmp_path, tmp_path / "cache")
    assert sorted(text_of(corpus).split("\0")) == sorted(["", *TEXTS])
    assert corpus.train.dtype == np.uint8
    assert len(corpus.held_out) > 0


def test_paragraphs_of_a_text_are_documents(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\n\none\ntwo\n\n\nthree\n   \nfour" + b"x" * 100_000)
    parts = list(paragraphs(path))
    assert b"".join(parts) == path.read_bytes()
    assert parts[0].strip() == b""
    assert parts[1].strip() == b"one\ntwo"
    assert max(map(len, parts)) <= 1 << 17


def test_a_folder_of_texts(tmp_path: Path) -> None:
    for name in ("b.txt", "a.md", "c.bin"):
        (tmp_path / "t").mkdir(exist_ok=True)
        (tmp_path / "t" / name).write_text(f"<{name}>")
    documents = open_source(Data(source="text", path="t"), tmp_path).documents()
    assert [document.text for document in documents] == [b"<a.md>", b"<b.txt>"]


def test_the_standard_library_is_split_by_file(tmp_path: Path) -> None:
    data = Data(source="stdlib", held_out=0.05, max_bytes=2_000_000)
    corpus = prepare(data, tmp_path, tmp_path / "cache")
    assert 2_000_000 <= len(corpus.train) + len(corpus.held_out) < 5_000_000
    source = StandardLibrary.here(shuffled=True)
    first = next(source.documents())
    side = corpus.held_out if is_held_out(first.key, 0.05) else corpus.train
    assert side[: len(first.text)].tobytes() == first.text


def test_the_standard_library_leaves_packages_out(tmp_path: Path) -> None:
    for name in ("os.py", "test/test_os.py", "site-packages/evil.py", "x/__pycache__/os.py", "README"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    found = [document.key.decode() for document in StandardLibrary(tmp_path).documents()]
    assert found == ["os.py", "test/test_os.py"]


def test_the_corpus_is_made_once(tmp_path: Path) -> None:
    data = write_jsonl(tmp_path)
    cache = tmp_path / "cache"
    prepare(data, tmp_path, cache)
    (place,) = (path for path in cache.iterdir() if path.is_dir())
    written = (place / "train").stat().st_mtime_ns
    prepare(data, tmp_path, cache)
    assert (place / "train").stat().st_mtime_ns == written


@pytest.mark.parametrize("change", [{"held_out": 0.3}, {"max_bytes": 500}])
def test_other_settings_are_another_corpus(tmp_path: Path, change: dict[str, object]) -> None:
    data = write_jsonl(tmp_path)
    one = prepare(data, tmp_path, tmp_path / "cache")
    other = prepare(data.model_copy(update=change), tmp_path, tmp_path / "cache")
    assert len(one.held_out) != len(other.held_out)


def test_changed_files_are_another_corpus(tmp_path: Path) -> None:
    data = write_jsonl(tmp_path)
    prepare(data, tmp_path, tmp_path / "cache")
    (tmp_path / "texts.jsonl").write_text('{"body": "new"}')
    assert text_of(prepare(data, tmp_path, tmp_path / "cache")) == "new\0"


def test_what_a_killed_node_left_is_no_corpus(tmp_path: Path) -> None:
    data = write_jsonl(tmp_path)
    cache = tmp_path / "cache"
    whole = text_of(prepare(data, tmp_path, cache))
    (place,) = (path for path in cache.iterdir() if path.is_dir())
    (place / "meta").unlink()
    (place / "train").write_bytes(b"half")
    assert text_of(prepare(data, tmp_path, cache)) == whole
    (place / "train").write_bytes(b"half")
    with pytest.raises(WorkerError, match="damaged: delete it"):
        prepare(data, tmp_path, cache)


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "a/../../b"])
def test_an_event_cannot_read_outside_the_data_folder(tmp_path: Path, path: str) -> None:
    with pytest.raises(WorkerError, match="inside the data folder"):
        inside(tmp_path, path)
    for source in ("text", "huggingface"):
        with pytest.raises(WorkerError, match="inside the data folder"):
            open_source(Data.model_validate({"source": source, "path": path}), tmp_path)


def test_a_data_set_is_not_looked_up_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "private").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WorkerError, match="not the name of a data set"):
        open_source(Data(source="huggingface", path="private"), tmp_path / "data")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.jsonl", None, "put the event's data there"),
        ("a.jsonl", "{", "line 1 is not JSON"),
        ("a.jsonl", '{"text": "a"}\n{"other": 1}', "line 2 has no text in field 'text'"),
        ("a.jsonl", "[1]", "line 1 has no text"),
        ("a.parquet", "nonsense", "not a readable Parquet file"),
    ],
)
def test_bad_data_is_one_line(tmp_path: Path, name: str, content: str | None, words: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    source = name.rpartition(".")[2]
    with pytest.raises(WorkerError, match=words) as caught:
        prepare(Data.model_validate({"source": source, "path": name}), tmp_path, tmp_path / "cache")
    assert "\n" not in caught.value.text


@pytest.mark.parametrize(
    ("module", "source", "name"), [("datasets", "huggingface", "a/b"), ("pyarrow", "parquet", "a.parquet")]
)
def test_a_missing_extra_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, source: str, name: str
) -> None:
    (tmp_path / "a.parquet").touch()
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(WorkerError, match=r"pip install 'collab-node\["):
        prepare(Data.model_validate({"source": source, "path": name}), tmp_path, tmp_path / "cache")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"source": "huggingface", "path": "nobody/nothing"}, "no_data"),
        ({"source": "huggingface", "path": "empty"}, "no_data"),
        ({"source": "stdlib", "tokenizer": "nobody/nothing"}, "bad_data"),
    ],
)
def test_what_cannot_be_had_from_the_hub_is_one_line(tmp_path: Path, change: dict[str, str], code: str) -> None:
    pytest.importorskip("datasets")
    (tmp_path / "empty").mkdir()
    with pytest.raises(WorkerError) as caught:
        prepare(Data.model_validate(change), tmp_path, tmp_path / "cache")
    assert caught.value.code == code
    assert "\n" not in caught.value.text


def test_no_space_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    data = write_jsonl(tmp_path)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WorkerError, match="no space left on the disk"):
        prepare(data, tmp_path, tmp_path / "cache")
    monkeypatch.undo()
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]


def test_a_tokenizer_file(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    words = {"[UNK]": 0, "[SEP]": 1, "[MASK]": 2, "merge": 3, "round": 4, **{f"w{n}": n for n in range(5, 300)}}
    model = tokenizers.models.WordLevel(words, unk_token="[UNK]")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "a.txt").write_text("merge round nonsense\n\nround merge")
    data = Data(source="text", path="a.txt", tokenizer="tokenizer.json", held_out=0.0)
    corpus = prepare(data, tmp_path, tmp_path / "cache")
    assert corpus.train.tolist() == [3, 4, 0, 1, 4, 3, 1]
    assert (corpus.tokenizer.vocabulary, corpus.tokenizer.mask, corpus.tokenizer.separator) == (300, 2, 1)
    assert corpus.train.dtype == np.uint16


@settings(max_examples=20)
@given(st.floats(0, 1), st.lists(st.binary(max_size=8), unique=True, min_size=200, max_size=200))
def test_the_share_held_out_is_about_what_was_asked_for(share: float, keys: list[bytes]) -> None:
    assert abs(sum(is_held_out(key, share) for key in keys) / 200 - share) < 0.2


def made(objective: str, tokens: int = 1000, share: float = 0.15) -> Batches:
    ids = (np.arange(tokens) % 250).astype(np.uint8)
    corpus = Corpus(ids, ids[:200], ByteTokenizer())
    return Batches(corpus, 16, "masked" if objective == "masked" else "causal", share)


def test_causal_batches_predict_the_next_token() -> None:
    batch = made("causal").draw(b"event", 1, "peer", 0, 8)
    assert batch.inputs.shape == batch.targets.shape == (8, 16)
    assert batch.tokens == 128
    assert torch.equal(batch.targets[:, :-1], batch.inputs[:, 1:])
    assert bool((batch.targets == (batch.inputs + 1) % 250).all())


@pytest.mark.parametrize("objective", ["causal", "masked"])
def test_what_is_drawn_depends_on_event_round_peer_and_position_alone(objective: str) -> None:
    batches = made(objective)
    whole = batches.draw(b"event", 1, "peer", 3, 8)
    rest = batches.draw(b"event", 1, "peer", 7, 4)
    assert torch.equal(whole.inputs[4:], rest.inputs)
    assert torch.equal(whole.targets[4:], rest.targets)
    for other in ((b"other", 1, "peer"), (b"event", 2, "peer"), (b"event", 1, "another")):
        assert not torch.equal(batches.draw(*other, 3, 8).inputs, whole.inputs)


def test_masks_hide_a_share_and_show_the_rest() -> None:
    batch = made("masked", tokens=20_000, share=0.2).draw(b"event", 1, "peer", 0, 400)
    chosen = batch.targets != IGNORED
    assert batch.tokens == int(chosen.sum())
    assert abs(batch.tokens / batch.targets.numel() - 0.2) < 0.02
    assert abs(float((batch.inputs[chosen] == 256).float().mean()) - 0.8) < 0.05
    assert not bool((batch.inputs[~chosen] == 256).any())


def test_every_masked_block_has_a_target() -> None:
    batch = made("masked", share=0.0).draw(b"event", 1, "peer", 0, 8)
    assert (batch.targets != IGNORED).sum(1).tolist() == [1] * 8


@pytest.mark.parametrize("objective", ["causal", "masked"])
def test_the_held_out_set_does_not_depend_on_how_it_is_batched(objective: str) -> None:
    batches = made(objective)
    parts = list(batches.held_out(10, 3))
    (whole,) = batches.held_out(10, 10)
    assert [len(part) for part in parts] == [3, 3, 3, 1]
    assert torch.equal(torch.cat([part.inputs for part in parts]), whole.inputs)
    assert torch.equal(torch.cat([part.targets for part in parts]), whole.targets)
    assert sum(len(part) for part in batches.held_out(10**6, 4)) == batches.held_out_samples == 12


def test_too_little_data_is_one_line() -> None:
    with pytest.raises(WorkerError, match="not one block of 16 tokens"):
        made("causal", tokens=16)


def test_splitting_a_batch_keeps_it_whole() -> None:
    batch = made("masked").draw(b"event", 1, "peer", 0, 7)
    parts = list(batch.split(3))
    assert [len(part) for part in parts] == [3, 3, 1]
    assert sum(part.tokens for part in parts) == batch.tokens
    assert torch.equal(torch.cat([part.inputs for part in parts]), batch.inputs)
