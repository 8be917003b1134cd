"""Who calls a model, and that rewards are the same whoever does."""

import threading
import time
from functools import partial
from types import SimpleNamespace

import joblib
import numpy as np
import process_models
import pytest
import tiny_models
import torch
from stored_scores import fill, scores_of

from rmcheck.models.engines.torch import cpu
from rmcheck.models.engines.torch.shared_context import SharedContext
from rmcheck.models.model import Proven
from rmcheck.models.registry import open_model
from rmcheck.models.workers import CpuWorkers, Threads, Workers
from rmcheck.store.scores import MemoryStore


@pytest.fixture
def two_cores(monkeypatch):
    """A process that torch takes for one with two cores, in a container that may use both."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    monkeypatch.setattr(joblib, "cpu_count", lambda: 2)
    yield
    torch.set_num_threads(before)


def in_new_thread(call):
    """What a call gives in a thread of its own."""
    found = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    thread.join()
    return found[0]


def test_without_threads_whoever_asks_does_it_himself():
    """At once; errors are in the future, as with any executor."""
    with Workers() as workers:
        done = workers.submit(threading.current_thread)
        failed = workers.submit(int, "x")

    assert workers.count == 1
    assert done.result() is threading.current_thread()
    with pytest.raises(ValueError, match="invalid literal"):
        failed.result()


def test_being_interrupted_is_no_result():
    """Ctrl-C goes to whoever asked, at once."""

    def interrupted():
        raise KeyboardInterrupt

    with Workers() as workers, pytest.raises(KeyboardInterrupt):
        workers.submit(interrupted)


def test_calls_run_side_by_side():
    """Two calls that wait for each other come back."""
    meeting = threading.Barrier(2)
    with CpuWorkers(2, 2) as workers:
        places = [workers.submit(meeting.wait, 20) for _ in range(2)]

    assert sorted(place.result() for place in places) == [0, 1]


@pytest.mark.parametrize(("count", "cores", "share"), [(2, 2, 1), (2, 8, 4), (3, 8, 2), (4, 2, 1)])
def test_each_worker_has_its_share_of_the_cores(count, cores, share, two_cores):
    """And the process keeps what it had: its own thread, and those that start later."""
    with CpuWorkers(count, cores) as workers:
        found = workers.submit(torch.get_num_threads).result()

    assert found == share
    assert torch.get_num_threads() == 2
    assert in_new_thread(torch.get_num_threads) == 2


@pytest.mark.parametrize(("allowed", "usable"), [(1, 1), (2, 2), (64, 2)])
def test_a_container_of_few_cores_gets_few_threads(allowed, usable, two_cores, monkeypatch):
    """However many the machine has: more threads than cores wait for each other."""
    monkeypatch.setattr(joblib, "cpu_count", lambda: allowed)
    assert cpu.usable_cores() == usable

    cpu.apply_cpu_quota()

    assert torch.get_num_threads() == usable


@pytest.mark.parametrize(
    ("hidden", "wide", "cores", "count"),
    [
        (512, 1536, 2, 2),
        (512, 1536, 64, 15),
        (1024, None, 64, 6),
        (4096, 14336, 64, 1),
        (65536, 65536, 64, 1),
    ],
)
def test_large_models_get_few_workers(hidden, wide, cores, count, monkeypatch):
    """Activations of all of them stay within 4 GiB; where one needs more, there is one."""
    monkeypatch.setattr(cpu, "usable_cores", lambda: cores)
    config = SimpleNamespace(hidden_size=hidden, intermediate_size=wide)

    assert cpu.worker_count(config, 0) == count
    assert cpu.worker_count(config, 4 << 30) == 1
    assert cpu.worker_count(SimpleNamespace(), 0) == 1


def test_a_shared_context_is_left_by_the_last():
    """Who leaves first takes nothing from under the other; afterwards it can be entered again."""
    events = []

    class Noted:
        def __enter__(self):
            events.append("in")

        def __exit__(self, *error):
            events.append("out")

    shared = SharedContext(Noted)
    first, second = shared(), shared()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    between = list(events)
    second.__exit__(None, None, None)
    with pytest.raises(ZeroDivisionError), shared():
        raise ZeroDivisionError

    assert between == ["in"]
    assert events == ["in", "out", "in", "out"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory, llama_folder, bert_folder, policy_pair):
    """A spec for each kind of model that torch runs here."""
    place = tmp_path_factory.mktemp("kinds")
    gemma = tiny_models.save(
        tiny_models.decoder_config("gemma2", initializer_range=0.3), place / "gemma2"
    )
    labelled = process_models.labelled(place / "labelled")
    judge = place / "judge.yaml"
    judge.write_text(
        f"engine: hf:{policy_pair.partition(',')[0]}\n"
        "prompt: '{{ prompt }}? {{ response }}'\nread: {yes: [f], no: [w]}\n"
    )
    return {
        "shared": f"hf:{llama_folder}?prefix=shared",
        "padded": f"hf:{llama_folder}?prefix=off",
        "gemma2": f"hf:{gemma}",
        "bfloat16": f"hf:{llama_folder}?dtype=bfloat16",
        "encoder": f"hf:{bert_folder}?template=pair",
        "implicit": f"implicit:{policy_pair}",
        "process": f"process:{labelled}?aggregate=min&tag=%0A%0A",
        "judge": f"judge:{judge}",
    }


KINDS = ["shared", "padded", "gemma2", "bfloat16", "encoder", "implicit", "process", "judge"]


@pytest.mark.parametrize("kind", KINDS)
def test_rewards_do_not_depend_on_the_number_of_workers(kind, folders, two_cores, monkeypatch):
    """Many small batches in two threads give what one thread gives, to the bit the second time."""
    samples = [
        type(s)(f"{s.prompt_id}{round}", s.index, s.messages, f"{s.response} {'so ' * round}")
        for round in range(12)
        for s in tiny_models.samples()
    ]
    found, threads = {}, set()
    for count in (1, 2):
        monkeypatch.setattr(joblib, "cpu_count", lambda count=count: count)
        model, store = open_model(folders[kind]).load(), MemoryStore()
        torch.set_num_threads(2)
        own = model.scoring

        def noted(score, batch):
            threads.add(threading.current_thread().name)
            time.sleep(0.002)  # the other begins meanwhile, however fast this one is
            return score(batch)

        def scoring(proven, own=own, noted=noted):
            return partial(noted, own(proven))

        fill(model, samples, store, budget=256)
        found[count] = scores_of(model, samples, store).scores
        model.scoring, again = scoring, MemoryStore()
        fill(model, samples, again, budget=256)
        np.testing.assert_array_equal(scores_of(model, samples, again).scores, found[count])

    tolerance = 0.1 if kind == "bfloat16" else 2e-5
    np.testing.assert_allclose(found[2], found[1], rtol=0, atol=tolerance)
    assert np.ptp(found[1]) > 0.01
    assert {name.partition("_")[0] for name in threads} == {"MainThread", "score"}
    assert len(threads) == 3


def test_one_call_gets_ready_while_another_runs():
    """With one ahead two calls are in their threads, and a third waits."""
    begun = threading.Barrier(2)
    with Threads(ahead=1) as workers:
        both = [workers.submit(begun.wait, 20) for _ in range(2)]
        last = workers.submit(threading.active_count)

    assert (workers.count, workers.ahead) == (1, 1)
    assert sorted(place.result() for place in both) == [0, 1]
    assert last.done()


def test_a_gpu_computes_one_batch_and_the_next_is_ready(llama_folder, monkeypatch):
    """Of two calls in their threads one is in the model; all rewards are there."""
    model = open_model(f"hf:{llama_folder}?device=cpu&prefix=off").load()
    encoded = model.encode(tiny_models.samples())
    expected = model.score(encoded)
    scorer, inside, most = model.scorer, [], []
    monkeypatch.setattr(scorer, "_turn", threading.Lock())
    body = scorer._body.forward

    def counting(*args, **kwargs):
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.002)
        found = body(*args, **kwargs)
        inside.pop()
        return found

    monkeypatch.setattr(scorer._body, "forward", counting)
    monkeypatch.setattr(model, "workers", lambda: Threads(ahead=1))
    monkeypatch.setattr(model, "prove", lambda encoded: Proven())
    store = MemoryStore()
    report = fill(model, tiny_models.samples(), store, budget=64)

    assert report.batches > 2
    assert max(most) == 1
    found = scores_of(open_model(model.model.spec), tiny_models.samples(), store).scores
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)


def test_a_quantised_model_is_called_by_whoever_asks(llama_folder, two_cores):
    """What quantised layers do in threads nobody here knows."""
    model = open_model(f"hf:{llama_folder}").load()
    of_two = model.workers().count
    model.scorer.for_threads = False

    assert of_two == 2
    assert type(model.workers()) is Workers
