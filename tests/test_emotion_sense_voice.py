"""SenseVoice through the real sherpa-onnx, with a model that always names the same feeling."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from duologue.emotion import LABELS, EmotionDetector, EmotionSettings
from duologue.emotion.larger import OURS, TRUST
from duologue.emotion.sense_voice import SenseVoice, scores_of
from duologue.errors import ConfigError

TOKENS = ["<blk>", "<|en|>", "<|HAPPY|>", "<|FEARFUL|>", "<|EMO_UNKNOWN|>", "<|Speech|>", "<|woitn|>", "▁hi"]
AT = np.arange(32_000) / 16_000
CALM_VOICE = (0.1 * np.sum([np.sin(2 * np.pi * 130 * k * AT) / k for k in range(1, 15)], axis=0)).astype(np.float32)

FEATURES = 560
"""Seven frames of 80 mel bands, stacked, as the model's own front end makes them."""


def exported(folder: Path, emotion: str) -> Path:
    """A model of the right shape: four frames that name language, emotion, event and form, then blanks."""
    onnx = pytest.importorskip("onnx", reason="onnx is in the extra 'voices'")
    helper, tensor, kinds = onnx.helper, onnx.numpy_helper.from_array, onnx.TensorProto
    head = np.full((1, 4, len(TOKENS)), -10, np.float32)
    for place, token in enumerate(("<|en|>", emotion, "<|Speech|>", "<|woitn|>")):
        head[0, place, TOKENS.index(token)] = 10
    blank = np.full(len(TOKENS), -10, np.float32)
    blank[0] = 10
    weights = [("weights", np.zeros((FEATURES, len(TOKENS)), np.float32)), ("blank", blank), ("head", head)]
    integers = [
        helper.make_tensor_value_info(name, kinds.INT32, ["N"]) for name in ("x_length", "language", "text_norm")
    ]
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "weights"], ["silent"]),
            helper.make_node("Add", ["silent", "blank"], ["body"]),
            helper.make_node("Concat", ["head", "body"], ["logits"], axis=1),
        ],
        "sense_voice",
        [helper.make_tensor_value_info("x", kinds.FLOAT, ["N", "T", FEATURES]), *integers],
        [helper.make_tensor_value_info("logits", kinds.FLOAT, ["N", "L", len(TOKENS)])],
        [tensor(value, name) for name, value in weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    helper.set_model_props(model, metadata())
    onnx.save(model, str(folder / "model.onnx"))
    (folder / "tokens.txt").write_text(
        "".join(f"{token} {index}\n" for index, token in enumerate(TOKENS)), encoding="utf-8"
    )
    return folder


def metadata() -> dict[str, str]:
    numbers = {"lfr_window_size": 7, "lfr_window_shift": 6, "normalize_samples": 0, "with_itn": 14, "without_itn": 15}
    languages = {"lang_auto": 0, "lang_zh": 3, "lang_en": 4, "lang_yue": 7, "lang_ja": 11, "lang_ko": 12}
    told = {name: str(number) for name, number in (numbers | languages | {"vocab_size": len(TOKENS)}).items()}
    scaling = {"neg_mean": ",".join(["0"] * FEATURES), "inv_stddev": ",".join(["1"] * FEATURES)}
    return told | scaling | {"model_type": "sense_voice_ctc"}


@pytest.mark.parametrize(("tag", "label"), [("<|HAPPY|>", "happy"), ("<|FEARFUL|>", "sad")])
def test_the_real_library_names_the_feeling(tmp_path: Path, tag: str, label: str) -> None:
    pytest.importorskip("sherpa_onnx", reason="sherpa-onnx is in no extra that tests need")
    model = SenseVoice(exported(tmp_path, tag))
    told = model(CALM_VOICE)
    assert LABELS[int(told.argmax())] == label
    assert told.max() == pytest.approx(TRUST)
    heard = EmotionDetector(EmotionSettings(words=False), model).detect_emotion("", CALM_VOICE)
    assert heard.label == label


def test_a_model_that_knows_nothing_tells_nothing(tmp_path: Path) -> None:
    pytest.importorskip("sherpa_onnx", reason="sherpa-onnx is in no extra that tests need")
    told = SenseVoice(exported(tmp_path, "<|EMO_UNKNOWN|>"))(CALM_VOICE)
    np.testing.assert_allclose(told, 1 / len(LABELS))


@pytest.mark.parametrize("tag", sorted(OURS))
def test_every_tag_becomes_one_of_our_labels(tag: str) -> None:
    told = scores_of(f"<|{tag.upper()}|>")
    assert LABELS[int(told.argmax())] == OURS[tag]
    assert told.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("tag", ["", "<|EMO_UNKNOWN|>", "<|BORED|>"])
def test_an_unknown_tag_tells_nothing(tag: str) -> None:
    np.testing.assert_allclose(scores_of(tag), 1 / len(LABELS))


def test_a_folder_without_the_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(ConfigError) as caught:
        SenseVoice(tmp_path)
    assert caught.value.code == "model_missing"
