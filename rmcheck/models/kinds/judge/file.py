"""The YAML file that describes a judge: `judge:FILE.yaml`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rmcheck.config.yaml_file import root_of
from rmcheck.errors import UsageError, near_miss
from rmcheck.models.kinds.judge.nodes import NodeReader, Nodes
from rmcheck.models.kinds.judge.read import Read, Score, YesNo
from rmcheck.models.kinds.judge.template import JudgeTemplate
from rmcheck.parsing import ParsingError, user_path
from rmcheck.pool.limits import special_file

if TYPE_CHECKING:
    import yaml

KEYS = ("engine", "template", "prompt", "system", "read", "unparsed")
_YES_NO = ("yes", "no", "top_logprobs", "censored_at_most")
_SCORE = ("score", "range", "samples", "temperature", "max_tokens", "last")
_UNPARSED = ("reward", "at_most")
# What a file may hold that a stranger's judge names is not for messages.
_OUTSIDE = (
    "is no template that a judge can use; nothing of it is shown, since it stands outside of the "
    "judge file's folder"
)


@dataclass(frozen=True)
class JudgeFile:
    """A judge as its file describes it.

    Attributes:
        path: The file; relative paths in it are relative to its folder.
        engine: `scheme:location?setting=value`: what answers.
        question: Makes the user turn.
        system: The system turn; empty for none.
        read: How the answer becomes a reward.
    """

    path: Path
    engine: str
    question: JudgeTemplate
    system: str
    read: Read


def read_judge_file(path: Path) -> JudgeFile:
    """The judge that a file describes.

    Raises:
        UnknownModelError: There is no such file.
        UsageError: The file is wrong; all problems are named, with line and column.
        MissingDependencyError: jinja2 is not installed.
    """
    import yaml

    root = root_of(path, "judge")
    if not isinstance(root, yaml.MappingNode):
        raise UsageError(f"{path}: a judge file is a mapping with the keys {', '.join(KEYS)}")
    reader = _Reader(path)
    found = reader.judge(root)
    if found is None or reader.problems:
        ordered = sorted(reader.problems, key=lambda p: (p.line, p.column))
        raise UsageError("\n".join(map(str, ordered)))
    return found


class _Reader(NodeReader):
    """Reads the mapping and gathers what is wrong with it."""

    def judge(self, root: "yaml.MappingNode") -> JudgeFile | None:
        """The whole file; None where something needed is missing or wrong."""
        nodes = self.mapping(root, KEYS, "the file")
        engine = self.needed(nodes, "engine", root, self.text)
        if engine == "":
            self.note(nodes["engine"], "engine is empty; write hf:DIR, vllm:DIR or http:URL")
        system = self.text("system", nodes["system"]) if "system" in nodes else ""
        question = self.question(nodes, root)
        read = self.read(nodes["read"], nodes) if "read" in nodes else None
        if "read" not in nodes:
            self.note(root, "'read' is missing; it has yes: and no:, or score: and range:")
        if not engine or question is None or read is None:
            return None
        return JudgeFile(self.path, engine, question, system or "", read)

    def question(self, nodes: Nodes, root: "yaml.Node") -> JudgeTemplate | None:
        """The template: a file, or inline."""
        given = [name for name in ("template", "prompt") if name in nodes]
        if len(given) != 1:
            self.note(
                nodes[given[-1]] if given else root,
                "a judge has one template: template: FILE.jinja, or prompt: with the template "
                "itself",
            )
            return None
        node = nodes[given[0]]
        source = self.text(given[0], node)
        if source is None:
            return None
        where = given[0]
        if where == "template":
            try:
                file = user_path(source, self.path.parent)
            except ParsingError as error:
                self.note(node, f"template: {error}")
                return None
            if wrong := special_file(file):
                self.note(node, f"template file {file} {wrong}")
                return None
            try:
                source, where = file.read_text(encoding="utf-8"), str(file)
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "not UTF-8 text"
                self.note(node, f"template file {file} cannot be read ({reason})")
                return None
        try:
            return JudgeTemplate(source)
        except ValueError as error:
            inside = Path(where).resolve().is_relative_to(self.path.parent.resolve())
            said = str(error) if where == given[0] or inside else _OUTSIDE
            self.note(node, f"{where}: {said}")
            return None

    def read(self, node: "yaml.Node", top: Nodes) -> Read | None:
        """How the answer becomes a reward."""
        kinds = "yes: and no: (words), or score: (a regular expression)"
        nodes = self.mapping(node, (*_YES_NO, *_SCORE), "read", valid=kinds)
        scored, worded = "score" in nodes, "yes" in nodes or "no" in nodes
        if scored == worded:
            self.note(node, f"read has either {kinds}")
            return None
        foreign = [name for name in nodes if name not in (_SCORE if scored else _YES_NO)]
        for name in foreign:
            other = "a score" if name in _SCORE else "yes and no"
            self.note(nodes[name], f"{name!r} is for reading {other}; remove it")
        if scored:
            return self.score(node, nodes, top.get("unparsed"))
        if "unparsed" in top:
            self.note(top["unparsed"], "'unparsed' is for reading a score; remove it")
        return self.yes_no(node, nodes)

    def yes_no(self, node: "yaml.Node", nodes: Nodes) -> YesNo | None:
        """Words for and against."""
        yes = self.needed(nodes, "yes", node, self.words)
        no = self.needed(nodes, "no", node, self.words)
        top = self.whole(nodes, "top_logprobs", 20, least=2)
        share = self.share(nodes, "censored_at_most", 0.05)
        both = sorted(set(yes or ()) & set(no or ()))
        if both:
            self.note(nodes["no"], f"{', '.join(map(repr, both))} stands in both yes and no")
        return None if yes is None or no is None else YesNo(yes, no, top, share)

    def score(self, node: "yaml.Node", nodes: Nodes, unparsed: "yaml.Node | None") -> Score | None:
        """A number in the answer."""
        pattern = self.needed(nodes, "score", node, self.pattern)
        bounds = self.needed(nodes, "range", node, self.range)
        samples = self.whole(nodes, "samples", 1, least=1)
        heat = self.number("temperature", nodes["temperature"]) if "temperature" in nodes else 0.0
        if heat is not None and heat < 0:
            self.note(nodes["temperature"], f"temperature is {heat:g}; it is 0 or more")
        if heat == 0 and samples > 1:
            self.note(
                nodes["samples"],
                f"{samples} answers at temperature 0 are one answer, {samples} times; set "
                "temperature: 1.0, or samples: 1",
            )
        tokens = self.whole(nodes, "max_tokens", 512, least=1)
        last = self.truth("last", nodes["last"]) if "last" in nodes else True
        missing = self.unparsed(unparsed, bounds)
        if pattern is None or bounds is None or heat is None:
            return None
        return Score(pattern, *bounds, samples, heat, tokens, last, *missing)

    def unparsed(
        self, node: "yaml.Node | None", bounds: tuple[float, float] | None
    ) -> tuple[float | None, float]:
        """Reward of what is not parsed, and the share that may have it."""
        import yaml

        if node is None or (isinstance(node, yaml.ScalarNode) and node.value == "error"):
            return None, 0.0
        if isinstance(node, yaml.ScalarNode):
            near = near_miss(node.value, ("error",))
            self.note(node, f"unparsed is {node.value!r}.{near} It is error, or {{reward: X}}")
            return None, 0.0
        nodes = self.mapping(node, _UNPARSED, "unparsed")
        reward = self.needed(nodes, "reward", node, self.number)
        if reward is not None and bounds is not None and bounds[0] <= reward <= bounds[1]:
            self.note(
                nodes["reward"],
                f"the reward of what is not parsed is {reward:g}, which answers can have too "
                f"(range {bounds[0]:g} to {bounds[1]:g}); take one outside, so that it can be told "
                "apart",
            )
        return reward, self.share(nodes, "at_most", 0.05)
