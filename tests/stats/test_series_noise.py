"""Noise of series over a curve: what is found of it, and draws like it."""

import numpy as np
import pytest

from rmcheck.stats.series_noise import SeriesNoise, block_length
from rmcheck.stats.turning_point import p_fall, slopes_to_the_end


def ar1(rng, autocorrelation, shape):
    """AR(1) noise of variance 1 along the last axis."""
    out = rng.normal(size=shape)
    for t in range(1, shape[-1]):
        fresh = np.sqrt(1 - autocorrelation**2)
        out[..., t] = autocorrelation * out[..., t - 1] + fresh * out[..., t]
    return out


def curves(size, degree=3):
    """(size, degree + 1) orthonormal polynomials."""
    grid = np.linspace(-1, 1, size)
    return np.linalg.qr(np.polynomial.legendre.legvander(grid, degree))[0]


@pytest.mark.parametrize("autocorrelation", [0.0, 0.5, 0.8])
def test_autocorrelation_and_scale_are_found_through_the_curve(autocorrelation):
    """What a cubic takes out of the noise is put back, so that neither is too low on average."""
    smooth = curves(100)
    series = (
        3 + 2 * np.linspace(0, 1, 100) + ar1(np.random.default_rng(0), autocorrelation, (200, 100))
    )

    found = SeriesNoise.of(series, smooth)

    naive = np.mean(found.left[:, 1:] * found.left[:, :-1]) / np.mean(found.left**2)
    assert found.autocorrelations.mean() == pytest.approx(autocorrelation, abs=0.1)
    assert found.autocorrelations.mean() > naive
    assert found.scales.mean() == pytest.approx(1.0, abs=0.1)


def test_draws_are_like_the_noise():
    """Their autocorrelation and spread are those of the series, and the seed decides."""
    series = ar1(np.random.default_rng(1), 0.6, (1, 400))
    noise = SeriesNoise.of(series, curves(400))

    drawn = noise.draws(500, seed=3)[0]

    lag = np.mean(drawn[:, 1:] * drawn[:, :-1]) / np.mean(drawn**2)
    assert lag == pytest.approx(noise.autocorrelations[0], abs=0.05)
    assert drawn.std() == pytest.approx(noise.scales[0], rel=0.1)
    np.testing.assert_array_equal(drawn, noise.draws(500, seed=3)[0])
    assert not np.array_equal(drawn, noise.draws(500, seed=4)[0])


def test_draws_leave_over_the_curve_what_the_series_leave():
    """Each is scaled to the residuals at hand, which makes the bootstrap a studentised one."""
    series = np.random.default_rng(2).normal(size=(1, 30))
    smooth = curves(30)
    noise = SeriesNoise.of(series, smooth)

    drawn = noise.draws(50)[0]

    left = drawn - (drawn @ smooth) @ smooth.T
    np.testing.assert_allclose(np.sum(left**2, axis=1), np.sum(noise.left**2))


def test_what_moves_series_together_stays_together():
    """Noise that two series share is shared in every draw."""
    rng = np.random.default_rng(3)
    shared = rng.normal(size=200)
    series = np.stack([shared + 0.1 * rng.normal(size=200), 5 * shared])

    first, second = SeriesNoise.of(series, curves(200)).draws(200)

    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.9


def test_a_series_without_noise_has_draws_without_noise():
    """A curve that fits exactly leaves nothing to draw."""
    rng = np.random.default_rng(4)
    series = np.stack([np.linspace(0, 1, 40), rng.normal(size=40)])

    noise = SeriesNoise.of(series, curves(40))

    assert noise.scales[0] == pytest.approx(0, abs=1e-12)
    assert np.abs(noise.draws(20)[0]).max() < 1e-9


def test_a_series_of_zeros_has_neither_noise_nor_autocorrelation():
    """The first of the coefficients, 0, has all the weight."""
    noise = SeriesNoise.of(np.zeros((1, 40)), curves(40))

    assert (noise.scales[0], noise.autocorrelations[0], noise.block) == (0, 0, 1)
    assert not noise.draws(5).any()


def test_blocks_are_as_long_as_the_autocorrelation_asks():
    """One for independent values and for none at all, more for ones that hang together."""
    rng = np.random.default_rng(5)
    together = [block_length(ar1(rng, 0.7, (300,))) for _ in range(20)]
    apart = [block_length(rng.normal(size=300)) for _ in range(20)]

    # In theory (1.5 n (2 φ / (1 − φ²))²)^⅓ = 15.0 at φ = 0.7 (Politis and White 2004).
    assert 8 <= np.median(together) <= 22
    assert np.median(apart) == 1
    assert block_length(np.zeros(20)) == 1


def test_values_that_pull_back_are_drawn_one_by_one():
    """What is left over a fitted curve varies less over long stretches; blocks would keep that."""
    series = np.random.default_rng(6).normal(size=100)
    smooth = curves(100, degree=20)

    assert block_length(series - smooth @ (smooth.T @ series)) == 1


@pytest.mark.parametrize("autocorrelation", [0.0, 0.5, 0.8])
def test_a_flat_series_of_long_memory_falls_at_the_level(autocorrelation):
    """Short series do not show their memory; what they are said to know is no more than that."""
    x = np.arange(20.0)
    contrasts, smooth = slopes_to_the_end(x)[1], curves(20, degree=2)
    series = ar1(np.random.default_rng(5), autocorrelation, (150, 20))
    falls = [
        p_fall(row, SeriesNoise.of(row[None], smooth).draws(300, seed=i)[0], contrasts) <= 0.05
        for i, row in enumerate(series)
    ]

    # Of 150 series .05 has a Monte-Carlo error of .018.
    assert np.mean(falls) <= 0.05 + 2 * 0.018
