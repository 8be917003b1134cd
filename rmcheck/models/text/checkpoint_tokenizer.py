"""How the tokenizer of a checkpoint folder is set up, for engines that take token ids."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rmcheck.errors import ConformanceError, ModelError, UsageError
from rmcheck.models.checkpoint.folder import Checkpoint
from rmcheck.models.libraries import brief, engine, quiet_transformers
from rmcheck.models.spec import ModelSpec, whole_number
from rmcheck.models.text.chat_template import ChatTemplate, dated_template


def tokenizer_folder(spec: ModelSpec, path: Path) -> Checkpoint:
    """The folder with the tokenizer of a model that a server has.

    Raises:
        UsageError: There is no such folder.
    """
    if not path.is_dir():
        raise UsageError(
            f"{spec.text}: there is no tokenizer folder {path}; copy tokenizer.json, "
            "tokenizer_config.json and the chat template of the served model there"
        )
    return Checkpoint(path)


def token_limit(spec: ModelSpec, checkpoint: Checkpoint, stated: str) -> int | None:
    """Most tokens of a conversation; None when neither spec nor checkpoint says.

    Args:
        spec: For messages.
        checkpoint: The folder.
        stated: Value of `max_length`; empty when not given.

    Raises:
        UsageError: It is no whole number, or more than the model has positions for.
    """
    if not stated:
        return checkpoint.max_length
    wanted = whole_number(spec, "max_length", stated, least=1)
    positions = checkpoint.model_length
    if positions is not None and wanted > positions:
        raise UsageError(
            f"{spec.text}: max_length is {wanted}, but config.json gives the model {positions} "
            "positions"
        )
    return wanted


def chosen_template(
    spec: ModelSpec, checkpoint: Checkpoint, named: str = "", date: str = "", eos: str = "keep"
) -> ChatTemplate:
    """The `template` argument of `ConversationTokenizer`.

    Args:
        spec: What relative paths are relative to, and for messages.
        checkpoint: The folder.
        named: Value of `template`: a file, `pair`, or empty when not given.
        date: Value of `date`; empty when not given.
        eos: Value of `eos`.

    Raises:
        ModelError: The folder has no tokenizer.
        UsageError: There is no such file; `eos` is given with `pair`; or see `dated_template`.
        ConformanceError: There is no chat template and none is named, or it reads the clock.
    """
    if not checkpoint.has_tokenizer:
        raise ModelError(
            f"{checkpoint.path} has no tokenizer (tokenizer.json, tokenizer_config.json); save it "
            "beside the weights: tokenizer.save_pretrained(DIR)"
        )
    if named == "pair":
        if eos != "keep":
            raise UsageError(f"{spec.text}: template=pair leaves EOS to the tokenizer; remove eos=")
        return dated_template(spec, checkpoint, named, date)
    if named:
        path = spec.resolve(named)
        if not path.is_file():
            raise UsageError(
                f"{spec.text}: there is no template file {path}; template is a file, or pair"
            )
        return dated_template(spec, checkpoint, _source(spec, path), date)
    if checkpoint.has_chat_template:
        return dated_template(spec, checkpoint, None, date)
    raise ConformanceError(
        f"{checkpoint.path} has no chat template, and a guessed one would give other rewards. Name "
        f"the one it was trained with: {spec.with_setting('template', 'FILE.jinja')!r}, or "
        "template=pair for a model that was trained on the tokenizer's text pair (prompt, response)"
    )


def _source(spec: ModelSpec, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise UsageError(f"{spec.text}: template file {path} cannot be read ({reason})") from error


def load_tokenizer(checkpoint: Checkpoint) -> Any:
    """The folder's tokenizer, without a length limit of its own.

    Raises:
        MissingDependencyError: transformers is not installed.
        ModelError: transformers cannot load it.
    """
    _, transformers = engine()
    try:
        with quiet_transformers():
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                checkpoint.text_path,
                local_files_only=True,
                trust_remote_code=checkpoint.remote_code,
            )
    # transformers raises OSError, ValueError, RuntimeError, ImportError and the errors of what it
    # is built on; all of them mean the same here.
    except Exception as error:
        raise ModelError(
            f"{checkpoint.path}: transformers cannot load the tokenizer. {brief(error)}"
        ) from error
    # Lengths are checked once for all prompts; transformers would only log.
    tokenizer.model_max_length = int(1e30)
    return tokenizer


def installed_version(*distributions: str) -> str:
    """Version of the first of these distributions that is installed, else `not installed`."""
    for name in distributions:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "not installed"
