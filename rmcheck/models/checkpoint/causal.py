"""A checkpoint folder of a causal language model, judged without loading it."""

from dataclasses import dataclass
from pathlib import Path

from rmcheck.errors import ConformanceError
from rmcheck.models.checkpoint.folder import Checkpoint
from rmcheck.models.checkpoint.json_file import read_object

GENERATION = "generation_config.json"
# First part of the name of a tensor that turns hidden states into logits of the vocabulary.
_OUTPUT_LAYERS = ("lm_head", "embed_out", "output")


@dataclass(frozen=True)
class CausalCheckpoint(Checkpoint):
    """A folder that AutoModelForCausalLM loads."""

    @property
    def end_ids(self) -> frozenset[int]:
        """Tokens that end a turn: chat models name several, in generation_config.json."""
        named = [self.config.get("eos_token_id")]
        if self.generation_files:
            named.append(read_object(self.generation_files[0]).get("eos_token_id"))
        lists = [one if isinstance(one, list) else [one] for one in named]
        return frozenset(int(token) for ids in lists for token in ids if token is not None)

    @property
    def generation_files(self) -> tuple[Path, ...]:
        """generation_config.json, where there is one."""
        path = self.base_path / GENERATION
        return (path,) if path.is_file() else ()

    def _check_architecture(self) -> None:
        own_class = "AutoModelForCausalLM" in (self.config.get("auto_map") or {})
        if self.architecture.endswith(("ForCausalLM", "LMHeadModel")) or own_class:
            if own_class and not self.remote_code:
                raise ConformanceError(
                    f"{self.path} is a {self.architecture}: its own code would be run; allow that "
                    "with trust_remote_code=yes"
                )
            return
        if self.architecture.endswith("ForSequenceClassification"):
            why = "it gives tokens no probabilities; score it as hf:DIR"
        else:
            why = "rmcheck reads log-probabilities from ...ForCausalLM models"
        raise ConformanceError(f"{self.path} is a {self.architecture}: {why}")

    def _check_head(self) -> None:
        # Where the config is silent its class decides; what is missing then is found at load.
        if self.remote_code or self.config.get("tie_word_embeddings") is not False:
            return
        if not any(name.split(".")[0] in _OUTPUT_LAYERS for name in self.tensors):
            raise ConformanceError(
                f"{self.path} has no lm_head among its {len(self.tensors)} tensors, and "
                "config.json says that it is not tied to the embeddings; "
                f"{self.architecture} would start with a random one"
            )
