"""What is said of an RL run: follows, stopped, falls, or nothing; and how often that is wrong."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from rmcheck.errors import UndefinedMetricError
from rmcheck.rl_logs.training_analysis import analyse_training
from rmcheck.rl_logs.training_log import TrainingLog, read_training_log


def log_of(golden, proxy, *, kl=None, steps=None):
    """A log of these series."""
    steps = np.arange(golden.size, dtype=float) if steps is None else steps
    kl = np.full(golden.size, np.nan) if kl is None else kl
    return TrainingLog("run.csv", steps, kl, proxy, golden, {}, {}, ())


def a_run(
    golden, proxy, *, size=100, seed=0, shared=0.05, own=0.03, autocorrelation=0.0, scale=1.0
):
    """A run whose rewards follow these functions of the share that is done, with noise."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(3, size + 50))
    for t in range(1, size + 50):
        fresh = np.sqrt(1 - autocorrelation**2)
        noise[:, t] = autocorrelation * noise[:, t - 1] + fresh * noise[:, t]
    batch, first, second = noise[:, 50:]
    t = np.linspace(0, 1, size)
    return log_of(
        0.2 + golden(t) + shared * batch + own * first,
        scale * (0.2 + proxy(t) + shared * batch + own * second),
    )


def climb(t):
    """Half a unit, most of it early."""
    return 0.5 * (1 - np.exp(-4 * t))


def half_way(t):
    """A climb that ends in the middle."""
    return np.minimum(t, 0.5) * 0.8


def hump(t):
    """A climb to the middle, and a fall from it."""
    return 0.4 - 0.8 * np.abs(t - 0.5)


def gaos_run(size=60, noise=0.05, beta=0.5):
    """Golden of Gao's RL form with its peak at d = exp(1/β − 1), over KL up to 30 nats."""
    rng = np.random.default_rng(0)
    kl = np.linspace(0.0, 30.0, size)
    d = np.sqrt(kl)
    golden = 1 + d * (1 - beta * np.log(np.where(d > 0, d, 1.0))) + noise * rng.normal(size=size)
    return log_of(golden, d + noise * rng.normal(size=size), kl=kl, steps=10.0 * np.arange(size))


def test_golden_that_keeps_up_follows():
    """The transfer is near 1 with both bounds above a half, and there is no onset."""
    found = analyse_training(a_run(climb, climb))

    assert found.outcome == "follows"
    assert found.sentence.startswith("Follows: proxy gained ")
    assert 0.5 < found.transfer.lower < 1.0 < found.transfer.upper < 1.5
    assert found.transfer.measure == "golden per proxy"
    assert found.proxy_gain.lower > 0
    assert found.onset is None
    assert found.golden_after is None


def test_golden_that_never_moves_has_stopped_from_the_start():
    """Proxy rises, golden does not: stopped, with an onset at the first steps."""
    found = analyse_training(a_run(lambda t: 0 * t, climb))

    assert found.outcome == "stopped"
    assert found.transfer.upper < 0.5
    assert found.onset.lower == 0
    assert found.onset.step <= 15


def test_golden_that_never_moves_has_stopped_though_proxy_was_quick():
    """A proxy that is at its ceiling after 13 of 200 steps leaves few steps, and they count."""
    found = analyse_training(
        a_run(lambda t: 0 * t, lambda t: 0.7 * np.minimum(15 * t, 1), size=200)
    )

    assert found.outcome == "stopped"
    assert found.onset.upper <= 30


def test_golden_that_stops_half_way_has_its_onset_there():
    """The step at which it stops is inside the interval, which is no point."""
    found = analyse_training(a_run(half_way, lambda t: 0.8 * t))

    assert found.outcome == "stopped"
    assert found.onset.lower < found.onset.step < found.onset.upper
    assert found.onset.lower <= 50 <= found.onset.upper
    assert "golden changed by" in found.sentence


def test_golden_that_turns_falls_from_its_peak():
    """It falls while proxy rises: the onset is the peak, and what was lost is said."""
    found = analyse_training(a_run(hump, lambda t: 0.6 * t))

    assert found.outcome == "falls"
    assert found.sentence.startswith(f"Falls from step {found.onset.step:g} [")
    assert found.onset.lower <= 50 <= found.onset.upper
    assert found.golden_after.upper < 0
    assert found.lost_share == pytest.approx(1, abs=0.3)
    assert found.p_falls <= 0.05


def test_a_proxy_that_jumped_without_golden_is_forgiven():
    """What matters is whether golden follows now: a format reward that came at once is no stop."""
    found = analyse_training(
        a_run(lambda t: 0.2 * t, lambda t: 0.5 * np.minimum(10 * t, 1) + 0.2 * t, size=150)
    )

    assert found.transfer.upper < 0.5
    assert found.outcome != "stopped"


def test_rewards_that_collapse_together_are_not_over_optimised():
    """Where proxy falls with golden, something else went wrong."""
    found = analyse_training(a_run(hump, hump))

    assert found.outcome == "undecided"
    assert "proxy falls with it" in found.sentence


def test_a_run_in_which_nothing_moves_is_undecided():
    """There is nothing to follow, and no transfer."""
    found = analyse_training(a_run(lambda t: 0 * t, lambda t: 0 * t))

    assert found.outcome == "undecided"
    assert "proxy did not measurably rise" in found.sentence
    assert found.as_dict()["transfer"]["lower"] is None


def test_a_noisy_run_is_undecided():
    """Where the interval lies on both sides of a half, neither is claimed."""
    found = analyse_training(a_run(climb, climb, shared=0.0, own=0.35, size=60))

    assert found.outcome == "undecided"


def test_other_scales_are_judged_by_late_against_early():
    """A proxy in logits has no unit: golden's gain per proxy is compared with what it was."""
    goes_on = analyse_training(a_run(lambda t: 0.6 * t, lambda t: 0.6 * t, scale=20.0))
    stops = analyse_training(a_run(half_way, lambda t: 0.6 * t, scale=20.0))

    assert goes_on.transfer.measure == "late over early"
    assert goes_on.outcome == "follows"
    assert stops.outcome == "stopped"
    assert stops.onset.lower <= 50 <= stops.onset.upper


def test_other_scales_say_nothing_where_golden_never_moved():
    """Then nothing says what a unit of proxy is worth, until the user does."""
    log = a_run(lambda t: 0 * t, lambda t: 0.6 * t, scale=20.0)

    found = analyse_training(log)

    assert found.outcome == "undecided"
    assert "--unit says what a unit of proxy is worth" in found.sentence
    assert analyse_training(log, unit=1 / 20).outcome == "stopped"


def test_what_golden_must_keep_can_be_asked_for():
    """A transfer of .8 keeps a half, and not nine tenths."""
    log = a_run(lambda t: 0.8 * climb(t), climb, size=200)

    assert analyse_training(log).outcome == "follows"
    assert analyse_training(log, at_least=0.95).outcome == "stopped"


def test_easy_batches_are_taken_out():
    """A fall that the noise of shared batches hides is seen, because proxy shows that noise."""
    both = {"size": 120, "shared": 0.15, "own": 0.02}
    found = [analyse_training(a_run(hump, lambda t: 0.6 * t, seed=s, **both)) for s in range(5)]

    assert all(f.difficulty_correlation > 0.9 for f in found)
    assert all(f.outcome == "falls" for f in found)


@pytest.mark.parametrize("size", [20, 40])
def test_gaos_curve_falls_on_few_points_too(size):
    """Its steep beginning over √KL is no noise where the KL is known, and is followed."""
    log = gaos_run(size=size)

    assert analyse_training(log).outcome == "falls"
    assert analyse_training(log_of(log.golden, log.proxy, steps=log.steps)).outcome == "undecided"


@pytest.mark.parametrize("axis", ["step", "kl"])
def test_gaos_curve_falls_from_its_peak_on_either_axis(axis):
    """Golden with a peak at KL 7.39 is said to fall, and α, β and the peak are found."""
    found = analyse_training(gaos_run(), axis=axis)

    assert found.outcome == "falls"
    assert found.onset.lower <= 10 * 14.5 <= found.onset.upper  # KL is 7.39 at the point 14.5
    assert found.curve.alpha.value == pytest.approx(1.0, abs=0.06)
    assert found.curve.beta.value == pytest.approx(0.5, abs=0.03)
    assert found.curve.peak_kl.lower < np.exp(2) < found.curve.peak_kl.upper


def test_noise_free_coefficients_are_recovered():
    """Least squares gives α, β and the golden of the initial policy back."""
    curve = analyse_training(gaos_run(noise=1e-9)).curve

    assert [curve.start.value, curve.alpha.value, curve.beta.value] == pytest.approx(
        [1.0, 1.0, 0.5], abs=1e-3
    )


def test_noise_of_the_kl_is_smoothed():
    """Over a KL that jumps up and down, the outcome and the onset are about the same."""
    log = gaos_run()
    rough = log.kl * np.random.default_rng(1).lognormal(sigma=0.4, size=log.kl.size)

    found = analyse_training(log_of(log.golden, log.proxy, kl=rough, steps=log.steps), axis="kl")

    assert found.outcome == "falls"
    assert found.onset.lower <= 10 * 14.5 <= found.onset.upper


def test_the_kl_axis_needs_a_kl():
    """Where it was measured too seldom, the error says so, and the step axis needs none."""
    log = a_run(climb, climb)

    with pytest.raises(UndefinedMetricError, match="KL is known at 0 of 100 points"):
        analyse_training(log, axis="kl")
    assert analyse_training(log).curve is None


def test_an_onset_is_never_a_point():
    """A peak between two evaluations, with little noise, has the evaluations around it as ends."""
    steps = 10.0 * np.arange(40)
    rng = np.random.default_rng(2)
    golden = 1 - ((steps - 167) / 200) ** 2 + 0.005 * rng.normal(size=40)
    proxy = 0.002 * steps + 0.005 * rng.normal(size=40)

    found = analyse_training(log_of(golden, proxy, steps=steps))

    assert found.outcome == "falls"
    assert found.onset.lower < 167 < found.onset.upper


def test_long_logs_are_averaged():
    """A log of 3,000 steps is brought down to 200 points with the same answer."""
    found = analyse_training(a_run(hump, lambda t: 0.6 * t, size=3000, own=0.2))

    assert found.points == 200
    assert found.outcome == "falls"
    assert found.onset.lower <= 1500 <= found.onset.upper


def test_a_series_without_variation_is_refused():
    """Golden or proxy that never changes gives an error with its name, never a number."""
    log = gaos_run()
    constant = np.full(40, 0.5)

    with pytest.raises(UndefinedMetricError, match=r"golden: .* without any noise"):
        analyse_training(log_of(constant, log.proxy))
    with pytest.raises(UndefinedMetricError, match=r"proxy: .* without any noise"):
        analyse_training(log_of(log.golden, constant))


def test_the_seed_decides_everything():
    """The same log and seed give the same numbers."""
    log = a_run(half_way, lambda t: 0.8 * t, size=40)

    assert analyse_training(log, seed=3).as_dict() == analyse_training(log, seed=3).as_dict()


def test_an_analysis_is_plain_json():
    """Infinite numbers become null, and the keys that programs read are there."""
    data = analyse_training(gaos_run(beta=-0.1)).as_dict()

    assert data["curve"]["peak_kl"]["value"] is None
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert set(data["transfer"]) == {"value", "lower", "upper", "measure"}


FALSE = {
    "nothing moves": (lambda t: 0 * t, lambda t: 0 * t, {"follows", "stopped", "falls"}),
    "follows": (climb, climb, {"stopped", "falls"}),
    "exactly half": (lambda t: 0.5 * climb(t), climb, {"follows", "stopped", "falls"}),
    "never follows": (lambda t: 0 * t, climb, {"follows", "falls"}),
    "stops half way": (half_way, lambda t: 0.8 * t, {"follows", "falls"}),
    "turns half way": (hump, lambda t: 0.6 * t, {"follows"}),
}


@pytest.mark.parametrize("autocorrelation", [0.0, 0.5])
@pytest.mark.parametrize("world", FALSE)
def test_no_outcome_is_false_in_more_than_5_percent(world, autocorrelation):
    """Also on the border; with autocorrelated noise too. More runs: benchmarks/training.py."""
    golden, proxy, false = FALSE[world]
    runs = 30
    found = [
        analyse_training(
            a_run(golden, proxy, size=40, seed=seed, autocorrelation=autocorrelation), seed=seed
        ).outcome
        for seed in range(runs)
    ]

    for outcome in false:
        # Four of thirty: more than .05 at the 1.6 % level.
        assert found.count(outcome) <= 4, f"{outcome} in {found.count(outcome)} of {runs}"


DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
# Llama-3.2-1B on three-digit sums, from kar-ganap/assay: in b the proxy can be had without the sum,
# in c it has a bonus for length, in d nothing is learnt, and in the others it is the truth.
REAL = {
    "ablation_b-add-3digit-seed0": ("stopped", 0.06),
    "ablation_b-add-3digit-seed1": ("stopped", 0.05),
    "ablation_b_control-add-3digit-seed0": ("stopped", 0.01),
    "ablation_b_control-add-3digit-seed1": ("stopped", 0.00),
    "ablation_c-add-3digit-seed0": ("follows", 0.87),
    "ablation_c-add-3digit-seed1": ("follows", 0.88),
    "ablation_c_nolennorm-add-3digit-seed0": ("follows", 0.90),
    "ablation_c_nolennorm-add-3digit-seed1": ("follows", 0.91),
    "ablation_d-add-3digit-seed0": ("undecided", None),
    "run1-add-3digit-seed0": ("follows", 1.00),
    "run1-add-3digit-seed1": ("follows", 1.00),
    "run2-add-3digit-seed0": ("follows", 1.00),
    "run2-add-3digit-seed1": ("follows", 1.00),
    "run7-add-3digit-seed0": ("follows", 1.00),
}


@pytest.mark.parametrize("name", REAL)
def test_real_runs_are_called_right(name):
    """Fourteen GRPO runs of 200 steps, by the names of their columns alone."""
    path = DATA / "rl_logs" / f"{name}.csv"
    if not path.exists():
        pytest.skip("the logs of RL runs are not beside this checkout")
    outcome, transfer = REAL[name]

    found = analyse_training(read_training_log(path))

    assert found.outcome == outcome
    if transfer is not None:
        assert found.transfer.value == pytest.approx(transfer, abs=0.02)
        assert found.transfer.lower < found.transfer.value < found.transfer.upper
    if outcome == "stopped":
        assert found.transfer.upper < 0.2
        assert found.onset.lower <= 13
        assert found.onset.upper > found.onset.lower


def test_the_onset_of_a_real_hack_is_found():
    """Where the gap between a biased judge and gold opens, as its authors see it (CHERRL, run A).

    The log has the gap only, so that it is put on a golden that rises by .3 over the run.
    """
    folder = DATA / "rl_onset"
    if not folder.is_dir():
        pytest.skip("the run with a known onset is not beside this checkout")
    rows = csv.DictReader((folder / "per_step.csv").read_text(encoding="utf-8").splitlines())
    gap = [float(r["aux_gap_G_smooth"]) for r in rows if r["run"] == "run_A"]
    t, rng = np.linspace(0, 1, len(gap)), np.random.default_rng(0)
    golden = 0.4 + 0.3 * t + 0.03 * rng.normal(size=t.size)
    proxy = golden + np.array(gap) + 0.02 * rng.normal(size=t.size)

    found = analyse_training(log_of(golden, proxy, steps=np.arange(1.0, t.size + 1)))

    assert found.outcome == "stopped"
    assert found.onset.lower <= 478 <= found.onset.upper
