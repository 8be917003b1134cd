"""A suite written as YAML loads as the same suite."""

import dataclasses
import json
from pathlib import Path
from typing import get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from rmcheck.metrics.registry import make_metric
from rmcheck.pool.faults import FAULT_RULES
from rmcheck.pool.reading import reader_names
from rmcheck.suite.loader import parse_suite
from rmcheck.suite.suite import Check, GoldenSource, PoolSource, ServingSource, Suite

PATH = Path("/suites/rendered.yaml")

# YAML reads a JSON string as it is, save for surrogates; white space at the ends is not kept.
texts = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufeff\ufffe\uffff"),
    min_size=1,
    max_size=12,
).filter(lambda text: text == text.strip() and text and "::" not in text)
shares = st.floats(0, 1, exclude_min=True, exclude_max=True, allow_subnormal=False)
quantiles = st.floats(0, 1, exclude_min=True, exclude_max=True, allow_subnormal=False)
confidences = st.floats(0.5, 1, exclude_min=True, exclude_max=True)


def render(suite: Suite) -> str:
    """The suite as YAML: JSON values, which YAML reads, under block keys."""
    lines = ["rmcheck: 1"]
    for field in dataclasses.fields(suite):
        value = getattr(suite, field.name)
        if field.name in ("path", "checks", "training") or value is None:
            continue
        if dataclasses.is_dataclass(value):
            lines += [f"{field.name}:", *(f"  {line}" for line in rendered(value))]
        else:
            lines.append(f"{field.name}: {scalar(value)}")
    lines.append("checks:")
    for check in suite.checks:
        first, *rest = rendered(check)
        lines += [f"  - {first}", *(f"    {line}" for line in rest)]
    return "\n".join(lines) + "\n"


def rendered(value: PoolSource | GoldenSource | ServingSource | Check) -> list[str]:
    """`key: value` of every field that is set."""
    out = []
    for field in dataclasses.fields(value):
        part = getattr(value, field.name)
        if field.name == "metric":
            given = {k: v for k, v in part.settings.items() if v is not None}
            out += [f"metric: {part.name}", *(f"{k}: {scalar(v)}" for k, v in given.items())]
        elif field.name != "line" and part is not None and part != {}:
            out.append(f"{field.name}: {scalar(part)}")
    return out


def scalar(value) -> str:
    """JSON, whose numbers may have an exponent without a point."""
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)


@st.composite
def checks(draw, name: str, slices: tuple[str, ...]) -> Check:
    """A check whose criterion fits its metric."""
    metric, key = draw(
        st.sampled_from(
            [
                (make_metric("accuracy", ties="wrong"), "at_least"),
                (make_metric("xi", normalized=True), "at_least"),
                (make_metric("ece", bins=7, target="soft"), "at_most"),
                (make_metric("bon_drop_ratio", n=16), "at_most"),
                (make_metric("predicted_regret", n=256, min_golden_gain=0.125), "at_most"),
            ]
        )
    )
    key = draw(st.sampled_from([key, "max_drop"]))
    bound = draw(shares if key != "max_drop" else st.floats(0, 0.5, allow_subnormal=False))
    columns = st.sampled_from(slices) if slices else texts
    over = draw(st.none() | columns)
    worst = over is not None and draw(st.booleans())
    return Check(
        name=name,
        metric=metric,
        where=draw(st.dictionaries(columns, texts, max_size=2)),
        over=over,
        worst=worst,
        quantile=None if over is None or worst else draw(st.none() | quantiles),
        confidence=draw(st.none() | confidences),
        **{key: bound},
    )


@st.composite
def suites(draw) -> Suite:
    """Any suite that a file can say."""
    slices = tuple(draw(st.lists(texts, unique=True, max_size=3)))
    names = draw(st.lists(texts, unique=True, min_size=1, max_size=4))
    kinds = st.sampled_from(list(FAULT_RULES))
    faults = {
        kind: draw(st.sampled_from(FAULT_RULES[kind].allowed))
        for kind in draw(st.lists(kinds, unique=True))
    }
    return Suite(
        path=PATH,
        name=draw(texts),
        description=draw(texts),
        pool=PoolSource(
            path=Path("/data") / draw(st.sampled_from(["a.jsonl", "b c.parquet", "ü"])),
            format=draw(st.none() | st.sampled_from(reader_names())),
            slices=slices,
            cluster=draw(st.none() | texts),
            faults=faults,
        ),
        golden=draw(
            st.builds(GoldenSource, column=texts)
            | st.just(GoldenSource(column=None, model="hf:ckpt/golden?dtype=float32"))
        ),
        checks=tuple(draw(checks(name, slices)) for name in names),
        serving=draw(st.none() | st.just(ServingSource("http:http://host:8000?version=a&batch=4"))),
        inconclusive=draw(st.sampled_from(["fail", "warn"])),
        confidence=draw(confidences),
        too_long=draw(st.sampled_from(get_args(Suite.__annotations__["too_long"]))),
        adaptive=draw(st.booleans()),
        directionless=True,
        min_prompts=draw(st.integers(2, 10**6)),
        resamples=draw(st.integers(100, 10**6)),
        seed=draw(st.none() | st.integers()),
    )


@settings(max_examples=60, deadline=None)
@given(suites())
def test_a_suite_survives_being_written_and_read(suite):
    """Whatever its names and numbers are, YAML changes none of them."""
    loaded = parse_suite(render(suite), PATH)

    without_lines = tuple(dataclasses.replace(check, line=0) for check in loaded.checks)
    assert dataclasses.replace(loaded, checks=without_lines) == suite
