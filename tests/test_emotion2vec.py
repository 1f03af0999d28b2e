"""emotion2vec+ through FunASR's own class, with small random weights."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_voices

from duologue.config import Engines
from duologue.emotion import LABELS, EmotionSettings, emotion2vec
from duologue.emotion.emotion2vec import MOST, Emotion2vec, shares
from duologue.emotion.larger import TRUST, scores
from duologue.engines import Engine, Loading, Task, apart, placing, registry
from duologue.errors import ConfigError
from duologue.places.thread import Lane

TOKENS = (
    "生气/angry",
    "厌恶/disgusted",
    "恐惧/fearful",
    "开心/happy",
    "中立/neutral",
    "其他/other",
    "难过/sad",
    "吃惊/surprised",
    "<unk>",
)
"""As the authors' tokens.txt has them."""

AT = np.arange(32_000) / 16_000
CALM_VOICE = (0.1 * np.sum([np.sin(2 * np.pi * 130 * k * AT) / k for k in range(1, 15)], axis=0)).astype(np.float32)
FURIOUS = "I'm sick of this, I'm furious!"

# ── What its labels are to us ─────────────────────────────────────────────────────────────────────────────────────────


def certain(token: str) -> Any:
    return scores(shares(list(TOKENS), [float(token == each) for each in TOKENS]))


FIVE = ("angry", "angry", "sad", "happy", "neutral", "", "sad", "surprised", "")


@pytest.mark.parametrize(("token", "label"), list(zip(TOKENS, FIVE, strict=True)))
def test_nine_labels_become_five(token: str, label: str) -> None:
    told = certain(token)
    assert told.sum() == pytest.approx(1.0)
    if label:
        assert LABELS[int(told.argmax())] == label
        assert told.max() == pytest.approx(TRUST)
    else:
        np.testing.assert_allclose(told, 0.2)


def test_what_is_left_to_other_and_unknown_lends_no_weight() -> None:
    half = scores({"happy": 0.5, "other": 0.3, "unk": 0.2})
    assert 0.2 < half[LABELS.index("happy")] < TRUST
    assert len(set(half.round(9))) == 2  # and the others are as likely as each other
    both = scores({"fearful": 0.4, "sad": 0.4, "angry": 0.2})
    assert LABELS[int(both.argmax())] == "sad"


def test_what_is_no_number_is_no_feeling() -> None:
    with pytest.raises(ValueError, match="no number"):
        scores({"happy": float("nan"), "sad": 1.0})


# ── What is missing ───────────────────────────────────────────────────────────────────────────────────────────────────


def refused(folder: Path) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        Emotion2vec(folder, "cpu")
    return caught.value


def test_a_missing_package_is_told_with_what_brings_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emotion2vec, "PACKAGES", {"a-package-that-nobody-has": ">=1"})
    lane = Lane("emotion")
    with pytest.raises(ConfigError) as caught:
        placing.load(Engines(environments=str(tmp_path)), "emotion", "emotion2vec", Loading(Path, lane))
    lane.close()
    assert caught.value.code == "engine_not_installed"
    assert "a-package-that-nobody-has" in caught.value.message
    assert "duologue engines install emotion2vec" in caught.value.message


def test_missing_weights_are_told_by_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emotion2vec, "PACKAGES", {})
    (tmp_path / "config.yaml").write_text("model: Emotion2vec")
    error = refused(tmp_path)
    assert error.code == "model_missing"
    assert f"there is no tokens.txt, model.pt in {tmp_path}" in error.message


# ── The real class ────────────────────────────────────────────────────────────────────────────────────────────────────


def configuration() -> dict[str, Any]:
    """The authors' own, but for its sizes and what only training reads."""
    audio: dict[str, Any] = {
        "type": "AUDIO",
        "prenet_depth": 1,
        "prenet_layerdrop": 0.05,
        "prenet_dropout": 0.1,
        "start_drop_path_rate": 0.0,
        "end_drop_path_rate": 0.0,
        "num_extra_tokens": 10,
        "init_extra_token_zero": True,
        "mask_noise_std": 0.01,
        "mask_prob": 0.5,
        "inverse_mask": False,
        "mask_prob_adjust": 0.05,
        "keep_masked_pct": 0.0,
        "mask_length": 5,
        "add_masks": False,
        "remove_masks": False,
        "mask_dropout": 0.0,
        "encoder_zero_mask": True,
        "mask_channel_prob": 0.0,
        "mask_channel_length": 64,
        "ema_local_encoder": False,
        "local_grad_mult": 1.0,
        "use_alibi_encoder": True,
        "alibi_scale": 1.0,
        "learned_alibi": False,
        "alibi_max_pos": None,
        "learned_alibi_scale": True,
        "learned_alibi_scale_per_head": True,
        "learned_alibi_scale_per_layer": False,
        "num_alibi_heads": 4,
        "model_depth": 2,
        "decoder": {
            "decoder_dim": 32,
            "decoder_groups": 4,
            "decoder_kernel": 7,
            "decoder_layers": 1,
            "input_dropout": 0.1,
            "add_positions_masked": False,
            "add_positions_all": False,
            "decoder_residual": True,
            "projection_layers": 1,
            "projection_ratio": 2.0,
        },
        "extractor_mode": "layer_norm",
        "feature_encoder_spec": "[(32, 10, 5)] + [(32, 3, 2)] * 4 + [(32,2,2)] + [(32,2,2)]",
        "conv_pos_width": 95,
        "conv_pos_groups": 4,
        "conv_pos_depth": 5,
        "conv_pos_pre_ln": False,
    }
    sizes = {"depth": 2, "num_heads": 4, "embed_dim": 32, "mlp_ratio": 4.0, "average_top_k_layers": 2}
    drops = {"start_drop_path_rate": 0.0, "end_drop_path_rate": 0.0, "encoder_dropout": 0.1, "post_mlp_drop": 0.1}
    drops |= {"attention_dropout": 0.1, "activation_dropout": 0.0, "dropout_input": 0.0, "layerdrop": 0.05}
    norms = {"norm_eps": 1e-5, "norm_affine": True, "layer_norm_first": False, "end_of_block_targets": False}
    training = {"loss_beta": 0.0, "loss_scale": None, "clone_batch": 8, "normalize": True}
    return sizes | drops | norms | training | {"modalities": {"audio": audio}}


def make(folder: Path, *, without: str = "-", layers: str = "") -> Path:
    """0.1 M parameters. `without`: weights that the file lacks, by how their names begin."""
    import torch
    from funasr.models.emotion2vec.model import Emotion2vec as Model
    from omegaconf import OmegaConf

    folder.mkdir()
    torch.manual_seed(0)
    settings = configuration()
    weights = Model(model_conf=settings, vocab_size=len(TOKENS)).state_dict()
    if layers:
        settings["modalities"]["audio"]["feature_encoder_spec"] = layers
    OmegaConf.save(OmegaConf.create({"model": "Emotion2vec", "model_conf": settings}), folder / "config.yaml")
    (folder / "tokens.txt").write_text("\n".join(TOKENS), encoding="utf-8")
    kept = {name: value for name, value in weights.items() if not name.startswith(without)}
    torch.save({"model": kept}, folder / "model.pt")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tiny_voices.need("emotion2vec", module=False)
    return make(tmp_path_factory.mktemp("emotion2vec") / "model")


@pytest.fixture(scope="module")
def model(folder: Path) -> Emotion2vec:
    return Emotion2vec(folder, "cpu")


def test_the_real_class_gives_a_probability_for_each_label(model: Emotion2vec) -> None:
    told = model(CALM_VOICE)
    assert told.shape == (len(LABELS),)
    assert told.sum() == pytest.approx(1.0)
    assert (told > 0).all()
    np.testing.assert_array_equal(told, model(CALM_VOICE))
    assert not np.allclose(told, model(np.random.default_rng(0).standard_normal(32_000).astype(np.float32)))


def test_how_loud_it_was_recorded_does_not_matter(model: Emotion2vec) -> None:
    """Each sound is normed before the first layer, as the authors' own call does it."""
    np.testing.assert_allclose(model(CALM_VOICE), model(0.25 * CALM_VOICE), atol=1e-4)


def test_its_labels_are_in_the_order_of_its_file(folder: Path, model: Emotion2vec) -> None:
    """A model whose last layer is certain of the fourth label hears that one."""
    head = Emotion2vec(folder, "cpu")
    head._model.proj.bias.data[TOKENS.index("开心/happy")] = 100.0
    assert LABELS[int(head(CALM_VOICE).argmax())] == "happy"


@pytest.mark.parametrize("samples", [0, 1, 399, 1_599])
def test_in_too_short_a_sound_nothing_is_heard(model: Emotion2vec, samples: int) -> None:
    np.testing.assert_array_equal(model(CALM_VOICE[:samples]), 0.2)


@pytest.mark.parametrize("samples", [1_600, 16_000])
def test_silence_fails_nothing(model: Emotion2vec, samples: int) -> None:
    assert np.isfinite(model(np.zeros(samples, np.float32))).all()


def test_of_a_long_sound_the_end_is_heard(model: Emotion2vec) -> None:
    long = np.tile(CALM_VOICE, 300)  # ten minutes
    np.testing.assert_array_equal(model(long), model(long[-MOST:]))


def test_what_is_no_number_is_an_error(model: Emotion2vec) -> None:
    with pytest.raises(ValueError, match="no number"):
        model(np.full(16_000, np.nan, np.float32))


def test_fifty_calls_leave_nothing_behind(model: Emotion2vec) -> None:
    import torch

    def kept() -> tuple[int, int]:
        gc.collect()
        tensors = sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())
        return tensors, threading.active_count()

    def listen() -> None:
        for length in (8_000, 16_000, 24_000, 32_000, 12_345):
            model(CALM_VOICE[:length])

    listen()
    before = kept()
    for _ in range(10):
        listen()
    assert kept() == before


@pytest.mark.parametrize("without", ["proj", "blocks.1", "modality_encoders.AUDIO.local_encoder"])
def test_weights_that_the_file_lacks_are_not_made_up(folder: Path, tmp_path: Path, without: str) -> None:
    error = refused(make(tmp_path / "lacking", without=without))
    assert error.code == "model_unsupported"
    assert without in error.message


def test_what_only_training_needs_may_be_missing(folder: Path, tmp_path: Path, model: Emotion2vec) -> None:
    small = Emotion2vec(make(tmp_path / "small", without="modality_encoders.AUDIO.decoder"), "cpu")
    np.testing.assert_array_equal(small(CALM_VOICE), model(CALM_VOICE))


def test_nothing_of_a_folder_is_run(folder: Path, tmp_path: Path) -> None:
    """Its library evaluates a line of config.yaml, and a file of weights may be a pickle of anything."""
    import torch

    line = f"open({str(tmp_path / 'run')!r}, 'w') and [(32, 10, 5)]"
    assert refused(make(tmp_path / "evaluated", layers=line)).code == "model_unsupported"
    pickled = make(tmp_path / "pickled")
    torch.save({"model": Path}, pickled / "model.pt")
    assert refused(pickled).code == "model_unsupported"
    (pickled / "model.pt").write_bytes(b"")
    assert refused(pickled).code == "model_unsupported"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "config", ["model: Emotion2vec\n", "- a\n", "model_conf: {modalities: 3}\n", "\0", "a: [", "x"]
)
def test_a_configuration_of_something_else_is_refused(folder: Path, tmp_path: Path, config: str) -> None:
    other = make(tmp_path / "other")
    (other / "config.yaml").write_text(config)
    assert refused(other).code == "model_unsupported"


# ── As the engine that a server has ───────────────────────────────────────────────────────────────────────────────────


def in_a_worker(task: Task, name: str, loading: Loading) -> Engine:
    return apart.load(task, name, loading, apart.own())


@pytest.fixture(params=["here", "in a worker"])
def engine(request: pytest.FixtureRequest, folder: Path) -> Iterator[Any]:
    lane = Lane("emotion")
    loading = Loading(Path, lane, {"folder": str(folder), "device": "cpu"})
    here = request.param == "here"
    made: Any = (registry.load if here else in_a_worker)("emotion", "emotion2vec", loading)
    yield made
    made.close()
    lane.close()


def test_a_session_hears_with_it(engine: Any, model: Emotion2vec) -> None:
    async def main() -> None:
        feeling = engine.open(EmotionSettings())
        heard = await feeling.hear(CALM_VOICE)
        np.testing.assert_allclose(heard.scores, model(CALM_VOICE), atol=1e-6)
        found = (await feeling.consider(FURIOUS, heard, "en")).emotion
        assert found.label == "angry"
        assert any(line.startswith("emotion2vec: ") for line in found.evidence)
        assert (await feeling.hear(np.zeros(48_000, np.float32))).scores is None
        deaf = engine.open(EmotionSettings(sound=False))
        assert (await deaf.hear(CALM_VOICE)).scores is None

    assert engine.about.licence == "LicenseRef-FunASR"
    asyncio.run(main())
