"""What a check says that did not pass, and what is said beside the table."""


def test_a_failure_says_numbers_first_then_why_then_how_to_repeat_it(gate):
    """Headline, both models, the worst pick, the place in the suite, a command: ten lines."""
    result = gate("-k", "no-regression", model="fake:length_biased")

    lines = result.stdout.lines
    text = lines[lines.index(next(line for line in lines if "demo: no-regression" in line)) + 1 :]
    text = text[: next(i for i, line in enumerate(text) if line.startswith("==="))]
    assert len(text) == 10
    result.stdout.fnmatch_lines(
        [
            "drop 0.* [[]0.*, 0.*[]] is above 0.01",
            "  accuracy (*), 90 independent prompts, demo.yaml:8",
            "    candidate  fake:length_biased *",
            "    baseline   fake:perfect *",
            "    drop  *; required 0.010  by the upper 95% bound",
            "  suspected: length. 8?% of the golden loss is where the pick has more of it *",
            "  worst pick: p*, golden lost *, reward margin *: What is *?",
            "    picked:   *",
            "    better:   *",
            "  rmcheck explain demo.yaml::no-regression --prompt p* --model=fake:length_biased *",
        ]
    )
    result.stdout.fnmatch_lines(["FAILED demo.yaml::no-regression - drop 0.*is above 0.01"])
    result.stdout.no_fnmatch_line("*data:*|candidate:*")


def test_verbose_failures_say_all_that_is_known(gate):
    """Three picks, every further number, and what signs the result."""
    result = gate("-v", "-k", "best-of-8", model="fake:length_biased")

    result.stdout.fnmatch_lines(
        [
            "    golden gained, the candidate choosing: *",
            "    golden gained, golden choosing: *",
            "    if the longest answer won: *",
            *["  worst pick: *", "    picked: *", "    better: *"] * 3,
            "  bon_drop_ratio|*|data:*|candidate:*",
        ]
    )


def test_the_same_worst_pick_is_shown_once(gate):
    """Further checks name the one that has shown it."""
    result = gate("-k", "best or regression", model="fake:length_biased")

    assert result.stdout.str().count("worst pick: p") == 1
    result.stdout.fnmatch_lines(["  worst picks: as for demo.yaml::best-of-8"])


def test_texts_are_cut_at_the_width_of_the_terminal(gate, monkeypatch):
    """And begin shortly before they differ."""
    for columns in (80, 130):
        monkeypatch.setenv("COLUMNS", str(columns))
        lines = gate("-k", "regression", model="fake:length_biased").stdout.lines
        picked, better = (
            next(line for line in lines if line.startswith(f"    {word}:"))
            for word in ("picked", "better")
        )

        assert max(map(len, lines[lines.index(picked) - 1 :][:3])) <= columns
        assert picked.partition(":")[2] != better.partition(":")[2]


def test_golden_that_may_be_upside_down_is_said(gate):
    """Hardly any model is wrong nearly always."""
    result = gate("demo.yaml::accuracy", model="fake:reversed")

    result.stdout.fnmatch_lines(["  So low that golden may be upside down: higher must be better*"])


def test_a_model_no_better_than_length_is_told(gate):
    """Below the table, whether the check passes or not."""
    result = gate("demo.yaml::accuracy", model="fake:length_biased")

    result.stdout.fnmatch_lines(["*accuracy: no better than if the longest answer won (0.763)"])


def test_a_drop_below_zero_is_explained(gate):
    """It is an improvement."""
    result = gate("-k", "regression", model="fake:perfect", baseline="fake:length_biased")

    result.stdout.fnmatch_lines(["  a drop below 0 is an improvement on the baseline"])


def test_rows_and_independent_prompts_are_told_apart(gate, bench):
    """The n of the table counts independent prompts, the pool's line both."""
    pool = bench.path / "pool.jsonl"
    pool.write_text(pool.read_text() + pool.read_text().replace(': "p', ': "q'))
    result = gate("demo.yaml::accuracy")

    result.stdout.fnmatch_lines(["demo::accuracy * 90 *", "*180 prompts (90 independent), 1800 *"])
