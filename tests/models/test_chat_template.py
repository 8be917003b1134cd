"""A chat template writes what transformers writes, but for the clock and for chance."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import tiny_models

from rmcheck.errors import ConformanceError, ScoringError, UsageError
from rmcheck.models.registry import open_model
from rmcheck.models.text.chat_template import ChatTemplate
from rmcheck.models.text.confined import ConfinedError, confined
from rmcheck.models.text.tokenization import conversation
from rmcheck.policies.registry import open_policy

# As Llama 3.2 asks for the day.
CLOCK = (
    "{%- if not date_string is defined %}{%- if strftime_now is defined %}"
    '{%- set date_string = strftime_now("%d %b %Y") %}{%- else %}'
    '{%- set date_string = "26 Jul 2024" %}{%- endif %}{%- endif %}'
)
DATED = "{{ bos_token }}today is {{ date_string }} " + tiny_models.CHAT_TEMPLATE.removeprefix(
    "{{ bos_token }}"
)
TEMPLATES = {
    "plain": tiny_models.CHAT_TEMPLATE,
    "policy": tiny_models.POLICY_TEMPLATE,
    "generation": (
        "{% for m in messages %}{{ m.role }}: {% generation %}{% set x = m.content %}{{ x }}"
        "{% endgeneration %}{{ x }}\n{% endfor %}"
    ),
    "loop controls": (
        "{%- for m in messages %}\n    {%- if loop.index > 2 %}\n    {% break %}{% endif %}\n"
        "  {% if m.role == 'system' %}\n  {% continue %}\n  {% endif %}\n{{ m.content | trim }}\n"
        "{% endfor %}"
    ),
    "json": "{{ messages | tojson }}{{ messages[0] | tojson(indent=2, sort_keys=true) }}",
    "nothing given": "{{ tools }}{{ documents is none }}{{ unknown }}{{ unknown is defined }}",
    "special tokens": "{{ bos_token }}{{ eos_token }}{{ pad_token }}{{ unk_token }}",
    "macros": (
        "{% macro say(m) %}<{{ m['role'] }}>{{ m.get('content') }}{% endmacro %}"
        "{% set ns = namespace(seen=0) %}{% for m in messages %}{{ say(m) }}"
        "{% set ns.seen = ns.seen + 1 %}{% endfor %}{{ ns.seen }}{{ range(3) | list }}"
        "{{ dict(a=1).items() | list }}{{ '%s' % 'a' }}{{ messages | length }}"
    ),
    "prompt": "{% for m in messages %}{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<answer>{% endif %}",
}


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("generation_prompt", [False, True])
def test_texts_are_those_of_transformers(samples, name, generation_prompt):
    """Extensions, filters, globals, white space and special tokens as `apply_chat_template`."""
    words = tiny_models.tokenizer(chat_template=TEMPLATES[name])
    turns = [conversation(replace(s, response=f"é <{s.response}>\n ")) for s in samples]
    expected = words.apply_chat_template(
        turns, tokenize=False, add_generation_prompt=generation_prompt
    )

    nothing = {"documents": None, "add_generation_prompt": generation_prompt}
    found = confined(
        "chat",
        [{"messages": one, "tools": None} for one in turns],
        source=TEMPLATES[name],
        date=None,
        variables=words.special_tokens_map | nothing,
    )

    assert found == expected


def dated(folder, source=CLOCK + DATED):
    """A checkpoint whose template has a clock."""
    (folder / "chat_template.jinja").write_text(source)
    return folder


@pytest.fixture
def clock_copy(llama_copy):
    """A reward model whose template reads the clock."""
    return dated(llama_copy)


def test_a_clock_asks_for_a_day(clock_copy):
    """The message is a spec that works, with the template's own day where it has one."""
    with pytest.raises(ConformanceError) as caught:
        open_model(f"hf:{clock_copy}")

    said = str(caught.value)
    assert "reads the clock (strftime_now)" in said
    assert said.endswith(f"its own where there is no clock: 'hf:{clock_copy}?date=2024-07-26'")
    assert open_model(f"hf:{clock_copy}?date=2024-07-26")


def test_a_day_is_part_of_the_model(clock_copy, samples):
    """Another day is another fingerprint, other ids, and stands on the page."""
    ids, prints = [], []
    for day in ("2024-07-26", "2026-11-26", "2024-07-26"):
        model = open_model(f"hf:{clock_copy}?date={day}").load()
        encoded = model.encode(samples)
        ids.append([e.ids for e in encoded])
        prints.append(model.model.fingerprint)
        assert model.tokenizer.text(encoded[0].ids).startswith("<s>today is 26 ")

    proven = model.prove(encoded)
    rewards = model.score(encoded)

    assert ids[0] == ids[2] != ids[1]
    assert prints[0] == prints[2] != prints[1]
    assert np.isfinite(rewards).all()
    page = {item.name: item.detail for item in proven.items}
    assert "which reads the day 2024-07-26" in page["template"]
    assert "which reads the day 2024-07-26" in model.description["template"]


def test_a_template_without_a_clock_is_the_model_that_it_was(llama_folder):
    """Its fingerprint knows of no day, so that scores which are stored stay good."""
    assert ChatTemplate(None).facts == {"template": None}
    with pytest.raises(UsageError, match="reads no clock, so date=2024-07-26 changes nothing"):
        open_model(f"hf:{llama_folder}?date=2024-07-26")


@pytest.mark.parametrize(
    "day", ["today", "26.07.2024", "2024-7-26", "2024-07-26T10:00", "20240726"]
)
def test_a_day_has_one_form(clock_copy, day):
    """Year, month, day."""
    with pytest.raises(UsageError, match=r"it is a day such as 2024-07-26"):
        open_model(f"hf:{clock_copy}?date={day}")


@pytest.mark.parametrize("source", ["{{ [1, 2] | random }}", "{{ lipsum() }}"])
def test_chance_is_refused(llama_copy, source):
    """A text has one reward."""
    with pytest.raises(ConformanceError, match=r"draws at random \((random|lipsum)\)"):
        open_model(f"hf:{dated(llama_copy, source)}")


def test_words_of_a_template_are_no_clock(llama_copy):
    """Only a name or a filter counts, not a text that mentions one."""
    spoken = "{{ 'strftime_now and a random word' }}" + tiny_models.CHAT_TEMPLATE

    assert open_model(f"hf:{dated(llama_copy, spoken)}")


def test_a_template_of_the_tokenizer_config_is_looked_at(llama_copy):
    """Older folders keep it there, by itself or as one of several."""
    (llama_copy / "chat_template.jinja").unlink()
    config = llama_copy / "tokenizer_config.json"
    plain = config.read_text().rstrip().removesuffix("}")
    for value in (
        '"{{ strftime_now(1) }}"',
        '[{"name": "default", "template": "{{ strftime_now(1) }}"}]',
    ):
        config.write_text(f'{plain}, "chat_template": {value}}}')

        with pytest.raises(ConformanceError, match="reads the clock"):
            open_model(f"hf:{llama_copy}")


def test_every_engine_that_writes_conversations_asks(tmp_path, policy_pair):
    """Reward models, judges and policies alike, and each takes the day."""
    folders = []
    for name, folder in zip(("policy", "reference"), policy_pair.split(","), strict=True):
        folders.append(dated(shutil.copytree(folder, tmp_path / name)))
    judge = tmp_path / "judge.yaml"
    judge.write_text(
        f"engine: hf:{folders[0]}\n"
        "prompt: 'good? {{ response }}'\nread: {yes: [a], no: [b]}\n"
    )
    specs = [f"implicit:{folders[0]},{folders[1]}", f"process:{folders[0]}?aggregate=min&tag=two"]

    for spec in specs:
        with pytest.raises(ConformanceError, match="reads the clock"):
            open_model(spec)
        assert open_model(f"{spec}{'&' if '?' in spec else '?'}date=2024-07-26")
    with pytest.raises(ConformanceError, match="reads the clock"):
        open_model(f"judge:{judge}")
    judge.write_text(
        judge.read_text()
        .replace("engine: hf:", "engine: 'hf:")
        .replace("\nprompt", "?date=2024-07-26'\nprompt")
    )
    assert open_model(f"judge:{judge}")
    with pytest.raises(ConformanceError, match="reads the clock"):
        open_policy(f"hf:{folders[0]}")
    assert open_policy(f"hf:{folders[0]}?date=2024-07-26")


def test_a_clock_that_was_not_seen_is_no_clock(samples):
    """Where a spelling escapes the look at the template, rendering has no clock to read."""
    with pytest.raises(ConfinedError, match="no date= says which day"):
        confined(
            "chat",
            [{"messages": conversation(samples[0]), "tools": None}],
            source=CLOCK,
            date=None,
            variables={},
        )


def test_a_tokenizer_that_panics_is_a_message(llama_copy, samples):
    """Rust's panics are no Exception; they are told with the prompt like any other refusal."""
    model = open_model(f"hf:{llama_copy}").load()
    panic = type("PanicException", (BaseException,), {})

    def fail(*_, **__):
        raise panic("Onig: regex search error: retry-limit-in-match over")

    model.tokenizer._tokenizer.__class__ = type(
        "Broken", (type(model.tokenizer._tokenizer),), {"__call__": fail}
    )

    with pytest.raises(ScoringError, match=r"prompt 'p0'.*the tokenizer fails: PanicException"):
        model.encode(samples)
