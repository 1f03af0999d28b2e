"""Fits the classifier of words and writes `src/duologue/emotion/words.npz`; needs the extra `train` and BRIGHTER's texts.

    python -m training.emotion_words          # about two minutes; the same machine gives the same bytes
    python -m training.emotion_words --check  # fits and compares with what is shipped

One logistic regression a label (a text may have several), on BRIGHTER's training texts and on the plain turns beside this file,
which BRIGHTER lacks: it has no neutral Spanish at all, and its English is stories, not requests. Then one calibration over
out-of-fold scores: a common scale, and an offset for each label and language. The development texts
have no part in it, but for the prior, which was chosen after a look at them.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import sys
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_matrix, diags, hstack
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import normalize

from benchmarks.brighter import Labelled
from duologue.emotion.labels import LABELS, PRIOR, softmax
from duologue.emotion.lexicon import lexicon
from duologue.emotion.text import FEATURES, features
from duologue.emotion.words import TRAINED, capped_votes, undenied, vote_features
from training.examples import SHIPPED, examples, fitted_with, plain_turns

STRENGTH = 20.0
"""Inverse of the L2 penalty. Macro-F1 in cross-validation grew from 1 to 5 to 20 and then no further."""

PLAIN_WEIGHT = 3.0
"""A plain turn counts so much: there are 422 of them beside 9,731 texts. Three against one cost no macro-F1, and called a
twentieth fewer English plain turns a feeling."""

FOLDS, SEED = 5, 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit status 1 if the result is not what is shipped"
    )
    checking = parser.parse_args(arguments).check
    arrays = fit(examples())
    if checking:
        return int(not _same(arrays))
    SHIPPED.write_bytes(archive(arrays))
    print(f"{SHIPPED}: {SHIPPED.stat().st_size:,} bytes, sha256 {hashlib.sha256(SHIPPED.read_bytes()).hexdigest()}")
    return 0


def fit(found: Sequence[Labelled]) -> dict[str, Any]:
    idf, columns = _columns(found)
    targets = np.array([[label in example.labels for label in LABELS] for example in found])
    plain = np.arange(len(found)) >= len(found) - len(plain_turns())
    weights = np.where(plain, PLAIN_WEIGHT, 1.0)
    scale, offsets = _calibrated(found, _out_of_fold(found, columns, targets, weights, plain), targets)
    models = [_model(columns, targets[:, label], weights) for label in range(len(LABELS))]
    matrix = np.concatenate([model.coef_ for model in models]).T
    return {
        "matrix": matrix[:FEATURES].astype(np.float16),
        "idf": idf.astype(np.float16),
        "votes": matrix[FEATURES:].round(4),
        "bias": np.concatenate([model.intercept_ for model in models]).round(4),
        "scale": np.round(scale, 3),
        "offsets": offsets.round(3),
        "alone": _alone(found, targets).round(3),
        "fitted_with": np.frombuffer(fitted_with(), np.uint8),
    }


def archive(arrays: dict[str, Any]) -> bytes:
    """An .npz whose bytes depend on the arrays alone; numpy's own carries the time."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as file:
        for name, array in arrays.items():
            data = io.BytesIO()
            np.save(data, array)
            file.writestr(zipfile.ZipInfo(f"{name}.npy"), data.getvalue(), zipfile.ZIP_DEFLATED, 9)
    return target.getvalue()


def _columns(found: Sequence[Labelled]) -> tuple[Any, Any]:
    """Inverse document frequencies, and a row of unit length for each text, with the lexicon's votes beside it."""
    readings = [lexicon(example.language).read(example.text) for example in found]
    rows = [features(undenied(example.text, reading)) for example, reading in zip(found, readings, strict=True)]
    starts = np.cumsum([0, *map(len, rows)])
    index = np.fromiter((key for row in rows for key in row), np.int64)
    values = np.fromiter((value for row in rows for value in row.values()), np.float64)
    counts = np.bincount(index, minlength=FEATURES)
    idf = np.log((1 + len(rows)) / (1 + counts)) + 1
    hashed = normalize(
        csr_matrix((values, index, starts), (len(rows), FEATURES)) @ diags(idf.astype(np.float16).astype(float))
    )
    votes = np.array([vote_features(reading) for reading in readings])
    return idf, hstack([hashed, csr_matrix(votes)]).tocsr()


def _model(columns: Any, target: Any, weights: Any) -> Any:
    model = LogisticRegression(C=STRENGTH, solver="liblinear", class_weight="balanced")
    return model.fit(columns, target, sample_weight=weights)


def _out_of_fold(found: Sequence[Labelled], columns: Any, targets: Any, weights: Any, plain: Any) -> Any:
    strata = [f"{one.language}{row.argmax()}{turn}" for one, row, turn in zip(found, targets, plain, strict=True)]
    scores = np.zeros(targets.shape)
    for train, test in StratifiedKFold(FOLDS, shuffle=True, random_state=SEED).split(columns, strata):
        for label in range(len(LABELS)):
            model = _model(columns[train], targets[train, label], weights[train])
            scores[test, label] = model.decision_function(columns[test])
    return scores


def _calibrated(found: Sequence[Labelled], scores: Any, targets: Any) -> tuple[float, Any]:
    """Scale and offsets that make the softmax of scores likeliest, over the texts with one label, in each language weighed to
    `PRIOR`."""
    one = targets.sum(axis=1) == 1
    languages = np.array([TRAINED.index(example.language) for example in found])[one]
    scores, gold = scores[one], targets[one].argmax(axis=1)
    weights = _weighed(languages, gold)

    def loss(unknown: Any) -> float:
        offsets = unknown[1:].reshape(len(TRAINED), len(LABELS))
        shares = softmax(unknown[0] * scores + offsets[languages])
        return float(-(weights * np.log(shares[np.arange(len(gold)), gold])).mean() + 0.01 * np.square(offsets).mean())

    found_at = minimize(loss, np.r_[1.0, np.zeros(len(TRAINED) * len(LABELS))]).x
    return float(found_at[0]), found_at[1:].reshape(len(TRAINED), len(LABELS))


def _weighed(languages: Any, gold: Any) -> Any:
    """Weights of mean 1 that give the labels of each language the shares of `PRIOR`."""
    weights = np.ones(len(gold))
    for language in np.unique(languages):
        here = languages == language
        shares = np.bincount(gold[here], minlength=len(LABELS)) / here.sum()
        weights[here] = (PRIOR / np.maximum(shares, 1e-9))[gold[here]]
        weights[here] /= weights[here].mean()
    return weights


def _alone(found: Sequence[Labelled], targets: Any) -> Any:
    """The logit of a vote, and of neutral where nobody votes, for the lexicon without a classifier, over all four languages."""
    one = np.flatnonzero(targets.sum(axis=1) == 1).tolist()
    votes = np.array([capped_votes(lexicon(found[i].language).read(found[i].text)) for i in one])
    silent = ~votes.any(axis=1)
    gold = targets[one].argmax(axis=1)
    weights = _weighed(np.zeros(len(gold)), gold)

    def loss(unknown: Any) -> float:
        logits = unknown[0] * votes
        logits[silent, LABELS.index("neutral")] = unknown[1]
        return float(-(weights * np.log(softmax(logits)[np.arange(len(gold)), gold])).mean())

    return minimize(loss, np.ones(2)).x


def _same(arrays: dict[str, Any]) -> bool:
    """Up to what another machine's linear algebra may round differently."""
    with np.load(SHIPPED) as shipped:
        far = [name for name, array in arrays.items() if not np.allclose(array, shipped[name], rtol=2e-3, atol=2e-3)]
    print(f"differs: {', '.join(far)}" if far else "as shipped", file=sys.stderr)
    return not far


if __name__ == "__main__":
    sys.exit(main())
