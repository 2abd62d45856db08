"""Shares of languages: formulas, errors, and choice by class path."""

from __future__ import annotations

import numpy as np
import pytest
from jsonargparse import ArgumentParser

from data_modules.feeding.sampling import (
    Proportional,
    Sampler,
    Temperature,
    Weights,
    mixture_counts,
    window_shares,
)
from lit_distill.errors import UserError

TOKENS = {"en": 1_000_000, "hi": 100_000, "bn": 1_000}


def test_proportional_is_by_tokens():
    shares = Proportional().shares(TOKENS)
    np.testing.assert_allclose(shares, np.array([1_000_000, 100_000, 1_000]) / 1_101_000)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 1 / 0.3])
def test_temperature_is_a_power_of_the_counts(temperature):
    powers = np.array([count ** (1 / temperature) for count in TOKENS.values()])
    shares = Temperature(temperature).shares(TOKENS)
    np.testing.assert_allclose(shares, powers / powers.sum(), rtol=1e-12)


def test_temperature_limits():
    np.testing.assert_allclose(Temperature(1.0).shares(TOKENS), Proportional().shares(TOKENS))
    np.testing.assert_allclose(Temperature(float("inf")).shares(TOKENS), np.full(3, 1 / 3))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_impossible_temperature(temperature):
    with pytest.raises(UserError, match=r"Temperature\.temperature is"):
        Temperature(temperature)


def test_weights_need_not_add_up_and_follow_the_order_of_the_data():
    shares = Weights({"bn": 1.0, "en": 2.0, "hi": 1.0}).shares(TOKENS)
    np.testing.assert_allclose(shares, [0.5, 0.25, 0.25])


def test_unknown_language_in_weights():
    sampler = Weights({"en": 1.0, "hi": 1.0, "bm": 1.0})
    with pytest.raises(UserError, match=r"names 'bm'.*did you mean 'bn'"):
        sampler.shares(TOKENS)


def test_missing_language_in_weights():
    with pytest.raises(UserError, match="no number for bn"):
        Weights({"en": 1.0, "hi": 1.0}).shares(TOKENS)


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_impossible_weight(weight):
    with pytest.raises(UserError, match=r"Weights\.weights\.bn is"):
        Weights({"en": 1.0, "hi": 1.0, "bn": weight}).shares(TOKENS)


def test_all_weights_zero():
    with pytest.raises(UserError, match="not all zero"):
        Weights(dict.fromkeys(TOKENS, 0.0)).shares(TOKENS)


def test_language_without_text():
    with pytest.raises(UserError, match="No training text for ta"):
        Proportional().shares({"en": 10, "ta": 0})


def test_source_weights_multiply():
    shares = Temperature(2.0).shares({"en": 400, "hi": 100}, {"hi": 3.0})
    np.testing.assert_allclose(shares, [20 / 50, 30 / 50])


def test_mixture_counts_follow_the_sampled_mixture():
    counts = np.array([[90, 10, 0], [0, 2, 8]])
    mixture = mixture_counts(counts, np.array([0.5, 0.5]))
    np.testing.assert_allclose(mixture, 110 * np.array([0.45, 0.05 + 0.1, 0.4]))
    assert mixture.sum() == pytest.approx(counts.sum())


def test_mixture_counts_without_a_language():
    mixture = mixture_counts(np.array([[5, 5], [0, 0]]), np.array([1.0, 0.0]))
    np.testing.assert_allclose(mixture, [5, 5])


def test_window_shares_undo_the_length_of_texts():
    windows = window_shares(np.array([0.5, 0.5]), np.array([10.0, 40.0]))
    np.testing.assert_allclose(windows, [0.8, 0.2])


@pytest.mark.parametrize(
    ("class_path", "init_args", "expected"),
    [
        ("Proportional", {}, Proportional()),
        ("Temperature", {"temperature": 3.0}, Temperature(3.0)),
        ("Weights", {"weights": {"en": 1.0}}, Weights({"en": 1.0})),
    ],
)
def test_chosen_by_class_path(class_path, init_args, expected):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--sampler", type=Sampler, default=Proportional())
    entry = {"class_path": class_path, "init_args": init_args}
    parsed = parser.instantiate(parser.parse_object({"sampler": entry}))
    assert parsed.sampler == expected
