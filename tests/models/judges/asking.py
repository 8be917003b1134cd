"""What the judges of the tests are asked, and how their answers are read."""

import pytest
import tiny_models
import torch
import transformers

from rmcheck.models.kinds.judge.score import answers_of as asked
from rmcheck.models.kinds.judge.template import JudgeTemplate
from rmcheck.models.kinds.judge.tokenizer import JudgeTokenizer
from rmcheck.models.text.chat_template import ChatTemplate

ASK = "prompt: '{{ prompt }}? {{ response }}'\n"
WORDS = ASK + 'read: {yes: [f, " t"], no: [w, d]}\n'
# A random model writes a digit now and then.
SCORE = ASK + "read: {score: '([0-9])', range: [0, 9], samples: 4, temperature: 1.0, MORE}\n"


def answers_of(session, encoded):
    """Answers to each question, by its place."""
    return asked(session.asked, encoded, session.model.read)


def scored(tokens, unparsed="unparsed: {reward: -1, at_most: 1}"):
    """A file that reads a digit from answers of so many tokens."""
    return SCORE.replace("MORE", f"max_tokens: {tokens}") + unparsed


def text_of(sample):
    """The judge's conversation as its chat template writes it, by hand."""
    question = f"{sample.messages[-1].content}? {sample.response}"
    return f"<s><|user|>{question}<|end|>\n<|assistant|>"


def log_probabilities(folder, text):
    """Of the next token after a text, by transformers alone."""
    words = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    ids = words(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        return words, model(ids).logits[0, -1].double().log_softmax(-1).numpy()


def items(model, samples):
    """The items of the page by name."""
    proven = model.prove(model.encode(samples))
    return {item.name: item for item in proven.items}


def refusal(kind, act, *arguments):
    """The message of an error."""
    with pytest.raises(kind) as caught:
        act(*arguments)
    return str(caught.value)


def judge_tokenizer(words=None):
    """Makes the ids of questions that are the response alone."""
    return JudgeTokenizer(
        words or tiny_models.tokenizer(chat_template=tiny_models.POLICY_TEMPLATE),
        chat_template=ChatTemplate(None),
        question=JudgeTemplate("{{ response }}"),
        system="",
        max_length=None,
        room=1,
    )
