"""Our tokenizer against transformers' T5 tokenizer on the same files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.engine.checkpoints import HF

from segue_renderer.musicgen.model.tokenizer import Tokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engine.conftest import Checkpoint


@pytest.fixture(scope="module")
def pair(checkpoints: dict[str, Checkpoint]) -> tuple[Tokenizer, Any]:
    folder = checkpoints["mono"].folder
    return Tokenizer.open(folder), HF.T5TokenizerFast.from_pretrained(folder)


WORDS = st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyz ,.-#8 2'ABCFG"), max_size=60)
ANY = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Mn", "Me", "Cf")), max_size=30)
FOLDED = st.text(st.sampled_from("ﬁ①Ａｂ㎞½é é\u00a0\u3000™x "), max_size=20)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(WORDS, FOLDED, ANY))
def test_any_text_gives_the_same_tokens(pair: tuple[Tokenizer, Any], text: str) -> None:
    ours, theirs = pair
    assert ours.encode(text, 1000) == (theirs(text).input_ids, False)


def test_both_files_of_a_tokenizer_are_the_same(pair: tuple[Tokenizer, Any], tmp_path: Path) -> None:
    pair[1].save_pretrained(tmp_path)
    (tmp_path / "spiece.model").unlink(missing_ok=True)
    other = Tokenizer.open(tmp_path)
    for text in ("rainy lo-fi, 82 bpm", "", "  two   spaces ", "ünïcödé ﬁne 漢字"):
        assert other.encode(text, 100) == pair[0].encode(text, 100)


def test_a_long_text_is_cut_and_keeps_its_end_token(pair: tuple[Tokenizer, Any]) -> None:
    tokens, cut = pair[0].encode("soft keys and a slow beat " * 50, 64)
    assert (len(tokens), tokens[-1], cut) == (64, pair[0].end, True)
