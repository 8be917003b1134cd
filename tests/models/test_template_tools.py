"""Calls of tools and tools on offer reach a model by its chat template, or are refused."""

import json
from pathlib import Path

import pytest
import tiny_models

from rmcheck.errors import ScoringError
from rmcheck.models.registry import open_model
from rmcheck.models.sample import Sample
from rmcheck.models.text.chat_template import ChatTemplate
from rmcheck.models.text.tokenization import ConversationTokenizer, conversation, pair_texts
from rmcheck.pool.reading import read_pool

LOOK = {"name": "look", "arguments": {"what": "slate", "near": ["é", 2]}}
COUNT = {"name": "count", "arguments": {}}
WHAT = {"type": "object", "properties": {"what": {"type": "string"}}}
TOOL = {
    "type": "function",
    "function": {"name": "look", "description": "Looks it up.", "parameters": WHAT},
}
# As Qwen 3, Llama 3.1 and DeepSeek R1 write calls.
QWEN = (
    "{% if tools %}<tools>{% for t in tools %}{{ t | tojson }}{% endfor %}</tools>{% endif %}"
    "{% for m in messages %}<|{{ m.role }}|>{% if m.content %}{{ m.content }}{% endif %}"
    "{% for c in m.tool_calls or [] %}<tool_call>"
    '{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}'
    "</tool_call>{% endfor %}<|end|>{% endfor %}"
)
LLAMA = (
    "{% if tools is not none %}{{ tools | tojson(indent=4) }}{% endif %}"
    "{% for m in messages %}<|{{ m.role }}|>{% if 'tool_calls' in m %}"
    "{% if m.tool_calls | length != 1 %}{{ raise_exception('one call a turn') }}{% endif %}"
    '{"name": "{{ m.tool_calls[0].function.name }}", '
    '"parameters": {{ m.tool_calls[0].function.arguments | tojson }}}'
    "{% else %}{{ m.content }}{% endif %}<|end|>{% endfor %}"
)
DEEPSEEK = (
    "{% for m in messages %}{% if m.role == 'assistant' and m.content is none %}"
    "{% for c in m['tool_calls'] %}{{ '<|call|>' + c['type'] + c['function']['name'] + '```json' + "
    "c['function']['arguments'] + '```' }}{% endfor %}"
    "{% else %}{{ '<|' + m.role + '|>' + m.content }}{% endif %}{% endfor %}"
)
# Reads the first call of a turn, and no other.
FIRST_ONLY = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}"
    "{% if m.tool_calls %}{{ m.tool_calls[0] | tojson }}{% endif %}{% endfor %}"
)
JOINS = "{% for m in messages %}{{ m.role + m.content }}{% endfor %}"


def asked(folder, calls=(LOOK,), *, tools=(), content=None, name="pool.jsonl"):
    """A sample of a pool whose second turn calls tools."""
    called = [{"id": f"c{i}", "type": "function", "function": f} for i, f in enumerate(calls)]
    row = {
        "prompt": [
            {"role": "user", "content": "what is it"},
            {"role": "assistant", "content": content, "tool_calls": called},
            {"role": "tool", "tool_call_id": "c0", "name": "look", "content": "a stone"},
        ],
        "responses": ["four", "five"],
        "golden": [1, 0],
        **({"tools": list(tools)} if tools else {}),
    }
    (folder / name).write_text(json.dumps(row) + "\n")
    return Sample.all_of(read_pool(folder / name).prompts[0])[0]


def written(template, sample):
    """The text that rmcheck makes of a sample, and that of transformers."""
    words = tiny_models.tokenizer(chat_template=template)
    ours = ConversationTokenizer(words, template=ChatTemplate(None))
    (text,) = ours.written([conversation(sample)])
    return text, words


@pytest.mark.parametrize("template", [QWEN, LLAMA], ids=["qwen", "llama"])
def test_calls_and_tools_stand_in_the_text_as_transformers_writes_them(tmp_path, template):
    """`apply_chat_template(messages, tools=…)`, with arguments as objects."""
    sample = asked(tmp_path, tools=[TOOL])
    turns = [
        {"role": "user", "content": "what is it"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"type": "function", "function": LOOK}],
        },
        {"role": "tool", "tool_call_id": "c0", "name": "look", "content": "a stone"},
        {"role": "assistant", "content": "four"},
    ]

    text, words = written(template, sample)

    assert text == words.apply_chat_template(turns, tools=[TOOL], tokenize=False)
    assert '"what": "slate"' in text
    assert '"parameters": {' in text


def test_arguments_are_a_text_where_a_template_joins_texts(tmp_path):
    """As OpenAI has them, for templates that would fail on an object."""
    text, _ = written(DEEPSEEK, asked(tmp_path))

    assert 'look```json{"what": "slate", "near": ["é", 2]}```' in text


@pytest.mark.parametrize(
    ("name", "tools", "shown"),
    [
        ("qwen3", [TOOL], '{"name": "look", "arguments": {"what": "slate"'),
        ("llama3_1", [TOOL], '{"name": "look", "parameters": {"what": "slate"'),
        ("glm4moe", [TOOL], "<arg_key>what</arg_key>"),
        ("gptoss", [TOOL], "to=functions.look"),
        ("deepseekv3", [], '{"what": "slate", "near": ["é", 2]}'),
    ],
)
def test_templates_of_models_write_calls(tmp_path, name, tools, shown):
    """Those that TRL keeps; some fail on a turn without text, or on arguments as objects."""
    folder = Path(pytest.importorskip("trl").__file__).parent / "chat_templates"
    source = (folder / f"{name}.jinja").read_text()
    words = ConversationTokenizer(
        tiny_models.tokenizer(chat_template=source),
        template=ChatTemplate(None, "2026-01-01"),
    )

    (text,) = words.written([conversation(asked(tmp_path, tools=tools))])

    assert shown in text
    assert "a stone" in text


def test_a_tokenizer_may_have_another_template_for_tools(tmp_path):
    """`tool_use`, which transformers takes where tools are on offer."""
    both = {
        "default": tiny_models.CHAT_TEMPLATE.replace("raise", "nothing or raise"),
        "tool_use": QWEN,
    }

    text, _ = written(both, asked(tmp_path, tools=[TOOL]))

    assert text.startswith("<tools>")


@pytest.mark.parametrize(
    ("template", "sample", "lost"),
    [
        (JOINS, {}, "the call of 'look' in turn 2"),
        (JOINS, {"content": "I look."}, "the call of 'look' in turn 2"),
        ("{% for m in messages %}{{ m.content }}{% endfor %}", {}, "the call of 'look' in turn 2"),
        (FIRST_ONLY, {"calls": [LOOK, COUNT]}, "the call of 'count' in turn 2"),
        (FIRST_ONLY, {"tools": [TOOL]}, "the tools on offer"),
    ],
    ids=["no text", "with text", "writes None", "the first call only", "tools"],
)
def test_what_a_template_leaves_out_is_refused(tmp_path, template, sample, lost):
    """The text is the same without it, and the reward would be."""
    with pytest.raises(ScoringError) as caught:
        written(template, asked(tmp_path, **sample))

    assert f"its text is the same without {lost}, so no reward would depend on it" in str(
        caught.value
    )


@pytest.fixture
def caller(llama_copy):
    """A reward model whose template writes calls."""
    (llama_copy / "chat_template.jinja").write_text(QWEN)
    return llama_copy


def test_a_reward_depends_on_what_was_called(tmp_path, caller):
    """Another argument is another key, other token ids and another reward."""
    one, other = asked(tmp_path), asked(tmp_path, [{**LOOK, "arguments": {"what": "wood"}}])
    model = open_model(f"hf:{caller}").load()

    encoded = model.encode([one, other])
    rewards = model.score(encoded)

    assert one.text_key != other.text_key
    assert encoded[0].key != encoded[1].key
    assert rewards[0] != rewards[1]


def test_a_refusal_names_the_prompt_and_what_to_do(tmp_path, caller):
    """With the roles of its turns."""
    (caller / "chat_template.jinja").write_text(JOINS)
    sample = asked(tmp_path)
    model = open_model(f"hf:{caller}").load()

    with pytest.raises(ScoringError) as caught:
        model.encode([sample])

    said = str(caught.value)
    assert (
        f"the chat template refuses prompt {sample.prompt_id!r} (roles: user, assistant, tool"
        in said
    )
    assert "name a template that writes it (template=FILE.jinja)" in said


def test_a_text_pair_refuses_calls(tmp_path):
    """It has no place for them."""
    with pytest.raises(ScoringError, match="a text pair has no place for calls of tools"):
        pair_texts([asked(tmp_path)])
