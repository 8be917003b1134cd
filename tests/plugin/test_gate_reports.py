"""What programs read of a gate: report.json and JUnit properties."""

import json
import xml.etree.ElementTree as ET

from rmcheck.pytest_plugin.opening import versions

CHECKS = 6


def test_report_json_holds_every_check_and_what_it_was_judged_with(gate_both_ways, bench):
    """The same file plain and under xdist: checks, models, conformance, pool counts."""
    gate_both_ways("--rmcheck-report=out", model="fake:length_biased")

    report = json.loads((bench.path / "out" / "report.json").read_text())
    required = "suite name metric settings slice value lower upper confidence n verdict required"
    names = [(c["name"], c["slice"]) for c in report["checks"]]

    assert report["passed"] is False
    assert all(set(required.split()) | {"baseline"} <= set(c) for c in report["checks"])
    assert names == [
        ("accuracy", ""),
        ("best-of-8", ""),
        ("no-regression", ""),
        ("by-category", "category=chat"),
        ("by-category", "category=code"),
        ("worst-category", report["checks"][-1]["slice"]),
    ]
    suite = report["suites"][0]
    assert suite["pool"]["prompts"] == 90
    assert suite["pool"]["responses"] == 900
    assert {m["role"] for m in suite["models"]} == {"candidate", "baseline"}
    assert all(len(m["fingerprint"]) == 64 for m in suite["models"])


def test_plain_and_xdist_runs_report_the_same_numbers(bench):
    """Workers change nothing: seeds come from the suite, not from the process."""
    reports = []
    for arguments in ((), ("-n", "2")):
        bench.runpytest_subprocess(
            "--rmcheck",
            "--rmcheck-model=fake:random",
            "--rmcheck-baseline=fake:length_biased",
            "--rmcheck-report=out",
            *arguments,
        )
        reports.append(json.loads((bench.path / "out" / "report.json").read_text()))

    assert reports[0]["checks"] == reports[1]["checks"]


def test_junit_carries_the_numbers_of_each_check(gate_both_ways, bench):
    """Properties on each test case, and a headline as the failure's message."""
    gate_both_ways("--junitxml=junit.xml", model="fake:length_biased")

    cases = list(ET.parse(bench.path / "junit.xml").iter("testcase"))
    found = {
        c.get("name"): {p.get("name"): p.get("value") for p in c.iter("property")} for c in cases
    }
    message = next(
        f.get("message") for c in cases if c.get("name") == "best-of-8" for f in c.iter("failure")
    )

    assert len(cases) == CHECKS
    assert found["best-of-8"]["rmcheck.metric"] == "bon_drop_ratio"
    assert found["best-of-8"]["rmcheck.verdict"] == "fail"
    assert float(found["best-of-8"]["rmcheck.value"]) > 0.15
    assert message.startswith("0.")
    assert "is above 0.15" in message


def test_two_suites_of_one_name_are_told_apart(gate, bench):
    """In the table, the lines under it and the report each has its file."""
    for folder in ("a", "b"):
        (bench.path / folder).mkdir()
        text = (bench.path / "demo.yaml").read_text().replace("pool.jsonl", "../pool.jsonl")
        (bench.path / folder / "s.yaml").write_text(text.replace("name: demo", "name: s"))

    result = gate("--rmcheck-report=out")
    report = json.loads((bench.path / "out" / "report.json").read_text())

    result.stdout.fnmatch_lines(
        [
            "a/s.yaml::accuracy *",
            "b/s.yaml::accuracy *",
            "demo::accuracy *",
            "  a/s.yaml: pool *",
            "  b/s.yaml: pool *",
            "  demo: pool *",
        ]
    )
    assert len({(c["path"], c["name"], c["slice"]) for c in report["checks"]}) == 3 * CHECKS


def test_a_check_that_is_run_again_counts_once(gate, bench):
    """As a plugin does that reruns what failed: one row, one record, one count."""
    bench.makeconftest(
        """
        from _pytest.runner import runtestprotocol

        def pytest_runtest_protocol(item, nextitem):
            for last in (False, True):
                for report in runtestprotocol(item, nextitem=nextitem, log=False):
                    if report.when == "call" and not last:
                        report.outcome = "rerun"
                    item.ihook.pytest_runtest_logreport(report=report)
            return True
        """
    )

    result = gate("--rmcheck-report=out", model="fake:length_biased")
    report = json.loads((bench.path / "out" / "report.json").read_text())

    assert len(report["checks"]) == CHECKS
    result.stdout.fnmatch_lines(["6 checks: *"])


def test_a_package_under_another_name_is_no_error():
    """VLLM's build for CPUs is imported as vllm, and there is no version of that name."""
    found = versions(("pytest", "no-such-package"))

    assert list(found) == ["pytest"]
