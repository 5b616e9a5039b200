"""The cells that `zoobench guard` was asked to guard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoobench import api
from zoobench.catalog import MODEL_REGISTRY, find, load_registry
from zoobench.driver import Observer, Settings
from zoobench.errors import UsageError
from zoobench.executors import open_executor
from zoobench.plan import Request
from zoobench.search.guard import Bench
from zoobench.spec import Case, ModelSpec
from zoobench.terms import Effort, OptionValue, Precision

GUARDED_MODELS = ("resnet18",)
GUARDED_BACKENDS = ("onnx_cpu",)


@dataclass(frozen=True)
class Asked:
    """The flags that say which cells; None where a default depends on the mode."""

    models: Sequence[str] | None
    backends: Sequence[str] | None
    batch_sizes: Sequence[int] | None
    precisions: Sequence[str] | None
    threads: int | None
    options: Mapping[str, OptionValue]
    effort: Effort
    registry: Path | None

    def entries(self) -> Mapping[str, ModelSpec]:
        """The catalog with the user's registry over it."""
        if self.registry is None:
            return MODEL_REGISTRY  # type: ignore[return-value]
        return {**MODEL_REGISTRY, **load_registry(self.registry)}  # type: ignore[dict-item]

    def find(self, word: str) -> ModelSpec:
        """The one model that `word` means.

        Raises:
            UsageError: there is none, or it means several.
        """
        found = find([word], self.entries())
        if len(found) != 1:
            raise UsageError(f"{word!r} means {len(found)} models; name one")
        return found[0]

    def names(self) -> Sequence[str]:
        """The models to guard, as a person wrote them."""
        if self.models is not None:
            return self.models
        return list(load_registry(self.registry)) if self.registry is not None else GUARDED_MODELS

    def word_for(self, model: ModelSpec) -> str:
        """What `find` will know `model` by, in another folder of the same repository's too."""
        return model.name if model.path is None or model.name in self.entries() else str(model.path)

    def wants(self, case: Case) -> bool:
        """Whether a cell that stands in a file or a run was asked for; what was not said asks for all."""
        return (
            (self.models is None or case.model in {model.name for model in find(self.models, self.entries())})
            and (self.backends is None or case.backend in self.backends)
            and (self.batch_sizes is None or case.batch in self.batch_sizes)
            and (self.precisions is None or case.precision.value in self.precisions)
        )

    def request(self, models: Sequence[str | ModelSpec], **more: Any) -> Request:
        """The request for these models, with the guard's defaults for what was not said."""
        return api.request(
            models,
            backends=GUARDED_BACKENDS if self.backends is None else self.backends,
            batch_sizes=(1,) if self.batch_sizes is None else self.batch_sizes,
            precisions=(Precision.FP32,) if self.precisions is None else self.precisions,
            threads=self.threads,
            options=self.options,
            **more,
        )

    def bench(self, models: Mapping[str, ModelSpec], settings: Settings, observer: Observer) -> Bench:
        """Where cells of these models, by name, are measured again."""
        return Bench(models, settings, open_executor("local"), observer, self.effort)
