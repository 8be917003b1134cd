"""The `policy` fixture."""

TEST = """
    def test_policy(policy):
        four = policy.sample("How are you?", n=4, seed=1)
        assert len(four) == 4
        assert set(four) <= {"yes", "no"}
        assert policy.sample(["How are you?", "Why?"], n=4, seed=1)[0] == four
        assert policy.sample("How are you?", n=2, seed=1) == four[:2]
        assert policy.name == "fake:yes|no"
"""


def test_the_policy_fixture_samples_texts(gate, bench):
    """One prompt gives a list of texts, several give a list each; the seed decides."""
    bench.makepyfile(TEST)

    result = gate("--rmcheck-policy=fake:yes|no", "-k", "test_policy")

    result.assert_outcomes(passed=1)


def test_the_policy_can_stand_in_the_ini_file(gate, bench):
    """`rmcheck_policy` is the ini key of `--rmcheck-policy`."""
    bench.makeini("[pytest]\nrmcheck_policy = fake:yes|no\n")
    bench.makepyfile(TEST)

    result = gate("-k", "test_policy")

    result.assert_outcomes(passed=1)


def test_a_missing_policy_is_a_plain_error(gate, bench):
    """The message names the option and no line of the plugin."""
    bench.makepyfile(TEST)

    result = gate("-k", "test_policy")

    result.assert_outcomes(errors=1)
    assert "--rmcheck-policy=SCHEME:LOCATION" in result.stdout.str()
    assert "fixtures.py" not in result.stdout.str()
