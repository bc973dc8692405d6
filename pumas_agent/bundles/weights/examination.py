"""Owns what is said about a bundle's weights as a whole: which variant loads, and how its components are stored.

Never reads tensor data; the files themselves are judged by their own modules.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from pumas_agent.bundles.bundle import Bundle, Component, Unusable
from pumas_agent.bundles.findings import FindingCode, Problem, escaped, fatal, notice
from pumas_agent.bundles.weights.architectures import disagreements_with_config, is_described, pickle_faults
from pumas_agent.bundles.weights.choice import (
    WEIGHT_KINDS,
    VariantScanCrash,
    choose,
    components_with,
    index_name,
    plain_names,
    variants_of,
)
from pumas_agent.bundles.weights.files import WeightFile, WeightFiles
from pumas_agent.bundles.weights.leftover import unused_damage
from pumas_agent.bundles.weights.pickles import tensor_names
from pumas_agent.bundles.weights.shards import disagreements, missing_shards, read_index
from pumas_agent.contracts.bundles import ComponentWeights, SecurityTier

_TORCH_NAMES = {"F16": "float16", "BF16": "bfloat16", "F32": "float32"}


@dataclass(frozen=True, slots=True)
class Weights:
    """What there is to say about the weights of a bundle."""

    problems: tuple[Problem, ...]
    components: tuple[ComponentWeights, ...]
    """Of the variant that loads; those whose weights are whole."""
    variants: tuple[str, ...]
    """Complete on disk, the default being the empty text."""
    load_variant: str | None
    load_dtype: str | None
    """As torch names it; None when it is none of float16, bfloat16 and float32, or not known."""
    tier: SecurityTier


@dataclass(frozen=True, slots=True)
class _Verdict:
    """On the bundle loaded in one variant."""

    variant: str | None
    problems: tuple[Problem, ...]
    components: tuple[ComponentWeights, ...]

    @property
    def codes(self) -> frozenset[str]:
        """Of what keeps it from loading."""
        return frozenset(problem.finding.code for problem in self.problems if problem.fatal)


def examine(bundle: Bundle, variant: str | None = None) -> Weights:
    """Judge the weights of all components, by name, header and config.

    Without a variant the default is judged, and when that does not load, the first variant that is whole: a bundle that
    is complete only in a variant loads for who asks for it. With a variant, that alone is judged.
    """
    files = WeightFiles(bundle)
    if variant is not None:
        return _weights(_asked_for(_judge(bundle, files, variant)), ())
    plain = _judge(bundle, files, None)
    verdicts = [_judge(bundle, files, name) for name in variants_of(bundle)]
    whole = [verdict for verdict in verdicts if not verdict.codes]
    plain = _asked_for(whole[0]) if plain.codes and whole else _with_scan_crash(plain, verdicts)
    default = () if plain.codes or plain.variant is not None else ("",)
    return _weights(plain, (*default, *(verdict.variant or "" for verdict in whole)))


def _judge(bundle: Bundle, files: WeightFiles, variant: str | None) -> _Verdict:
    try:
        in_variant = frozenset() if variant is None else components_with(bundle, variant)
    except VariantScanCrash as crash:
        what = f"diffusers fails to look for variant {variant} at the name {crash.path}, which has no dot"
        return _Verdict(variant, (fatal(FindingCode.VARIANT_SCAN_CRASH, what, crash.path),), ())
    if variant is not None and not in_variant:
        what = f"no component has weights of variant {variant!r:.50}"
        return _Verdict(variant, (fatal(FindingCode.VARIANT_MISSING, what),), ())
    problems: list[Problem] = []
    whole: list[ComponentWeights] = []
    for component in bundle.components:
        if component.kind not in WEIGHT_KINDS:
            continue
        loaded = _Loaded(bundle, files, component, variant if component.folder in in_variant else None)
        said = list(loaded.problems())
        problems += said
        if not any(problem.fatal for problem in said):
            whole.append(loaded.report())
    return _Verdict(variant, tuple(problems), tuple(whole))


class _Loaded:
    """The weights of one component, as the library would load them."""

    def __init__(self, bundle: Bundle, files: WeightFiles, component: Component, variant: str | None) -> None:
        self._bundle = bundle
        self._files = files
        self._component = component
        self._variant = variant
        self._loaded: dict[str, WeightFile] = {}

    def problems(self) -> Iterator[Problem]:
        try:
            yield from self._load()
        except Unusable as unusable:
            yield unusable.problem

    def report(self) -> ComponentWeights:
        """Of weights about which nothing fatal was said."""
        loaded = self._loaded.values()
        pickled = any(file.tensors is None for file in loaded)
        parameters: Counter[str] = Counter()
        for file in loaded:
            parameters.update(file.parameters)
        return ComponentWeights(
            component=self._component.name,
            files=tuple(escaped(path) for path in self._loaded),
            tier=SecurityTier.PICKLE if pickled else SecurityTier.SAFE,
            size_bytes=sum(file.size_bytes for file in loaded),
            tensors=None if pickled else sum(len(file.tensors or ()) for file in loaded),
            parameters=None if pickled else dict(sorted(parameters.items())),
        )

    def _load(self) -> Iterator[Problem]:
        choice = choose(self._bundle, self._component, self._variant)
        if choice.sharded:
            index = read_index(self._bundle, choice.path)
            missing = list(missing_shards(self._bundle, index))
            broken = [] if missing else list(self._read(index.shards))
            yield from missing or broken
            if missing or broken:
                return
            if not self._has_pickles:
                shards = {path: file.tensors or {} for path, file in self._loaded.items()}
                described = is_described(self._bundle, self._component)
                yield from disagreements(index, shards, described=described)
        else:
            broken = list(self._read([choice.path]))
            yield from broken
            if broken:
                return
            yield from self._stale_index(choice.path)
        yield from self._trusted()
        yield from self._complete(choice.path)
        yield from unused_damage(self._bundle, self._component, self._loaded)

    @property
    def _has_pickles(self) -> bool:
        return any(file.tensors is None for file in self._loaded.values())

    def _names(self) -> frozenset[str] | None:
        """Of the tensors in pickles; None unless each of the files tells."""
        names: set[str] = set()
        for path, file in self._loaded.items():
            told = tensor_names(self._bundle, path) if file.tensors is None else frozenset(file.tensors)
            if told is None:
                return None
            names |= told
        return frozenset(names)

    def _read(self, paths: list[str]) -> Iterator[Problem]:
        for path in paths:
            try:
                self._loaded[path] = self._files.read(path)
            except Unusable as unusable:
                yield unusable.problem

    def _stale_index(self, path: str) -> Iterator[Problem]:
        """A single file of safetensors wins in transformers, and loses in diffusers."""
        stale = self._component.path(index_name(plain_names(self._component)[0], self._variant))
        if path.endswith(".safetensors") and self._bundle.is_file(stale):
            yield notice(FindingCode.STALE_SHARD_INDEX, f"{stale} is not used: {path} is there", stale)

    def _trusted(self) -> Iterator[Problem]:
        for path, file in self._loaded.items():
            if file.tensors is None:
                what = f"{path} is a pickle, which a runtime has to be trusted to load without running code"
                say = notice if self._bundle.policy.allow_pickle_weights else fatal
                yield say(FindingCode.PICKLE_WEIGHTS, what, path)

    def _complete(self, path: str) -> Iterator[Problem]:
        if self._has_pickles:
            yield from pickle_faults(self._bundle, self._component, path, self._names())
            return
        tensors = {name: tensor for file in self._loaded.values() for name, tensor in (file.tensors or {}).items()}
        if not tensors:
            yield fatal(FindingCode.WEIGHTS_INCOMPLETE, f"{path} holds no tensor", path)
            return
        sharded = path not in self._loaded
        yield from disagreements_with_config(self._bundle, self._component, path, tensors, sharded=sharded)


def _asked_for(verdict: _Verdict) -> _Verdict:
    """With the notice that a runtime has to name the variant."""
    if verdict.codes:
        return verdict
    what = f"it loads in variant {verdict.variant} alone: a runtime has to ask for it"
    return _Verdict(
        verdict.variant, (*verdict.problems, notice(FindingCode.VARIANT_REQUIRED, what)), verdict.components
    )


def _with_scan_crash(plain: _Verdict, verdicts: list[_Verdict]) -> _Verdict:
    """The default, with the crash that keeps the first variant on disk from loading: fatal where it is needed."""
    crash = next((verdict for verdict in verdicts if verdict.codes == {FindingCode.VARIANT_SCAN_CRASH}), None)
    if crash is None or (plain.codes and plain.codes != {FindingCode.WEIGHTS_ONLY_VARIANT}):
        return plain
    said = crash.problems[0].finding
    problem = crash.problems[0] if plain.codes else notice(FindingCode.VARIANT_SCAN_CRASH, said.message, said.path)
    return _Verdict(plain.variant, (*plain.problems, problem), plain.components)


def _weights(verdict: _Verdict, variants: tuple[str, ...]) -> Weights:
    loads = not verdict.codes
    tiers = {component.tier for component in verdict.components}
    asked = () if verdict.variant is None or not loads else (verdict.variant,)
    return Weights(
        problems=verdict.problems,
        components=verdict.components,
        variants=variants or asked,
        load_variant=verdict.variant if loads else None,
        load_dtype=_dtype([component.parameters for component in verdict.components]),
        tier=next((tier for tier in (SecurityTier.PICKLE, SecurityTier.SAFE) if tier in tiers), SecurityTier.UNKNOWN),
    )


def _dtype(stored: list[dict[str, int] | None]) -> str | None:
    parameters: Counter[str] = Counter()
    for counts in stored:
        if counts is None:
            return None
        parameters.update(counts)
    return _TORCH_NAMES.get(max(parameters, key=lambda dtype: (parameters[dtype], dtype), default=""))
