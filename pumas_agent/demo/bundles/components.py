"""Owns what a component of a pipeline is made of: its class, its small files, and the tensors of its weights.

Each is made from its config; nothing is written here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pumas_agent.demo.bundles.convolutional import unet_tensors, vae_tensors
from pumas_agent.demo.bundles.diffusion_transformers import flux_tensors, pixart_tensors, sd3_tensors
from pumas_agent.demo.bundles.shapes import Config, Tensors
from pumas_agent.demo.bundles.text_encoders import clip_tensors, t5_tensors
from pumas_agent.demo.bundles.tokenizers import Files, json_file

_TENSORS: Mapping[str, Callable[[Config], Tensors]] = {
    "AutoencoderKL": vae_tensors,
    "CLIPTextModel": clip_tensors,
    "CLIPTextModelWithProjection": clip_tensors,
    "FluxTransformer2DModel": flux_tensors,
    "PixArtTransformer2DModel": pixart_tensors,
    "SD3Transformer2DModel": sd3_tensors,
    "T5EncoderModel": t5_tensors,
    "UNet2DConditionModel": unet_tensors,
    "UNet2DModel": unet_tensors,
}


@dataclass(frozen=True, slots=True)
class Component:
    """One folder of a bundle; without tensors it has no weights."""

    library: str
    class_name: str
    files: Files
    tensors: Tensors = field(default_factory=dict)

    @property
    def weights_stem(self) -> str:
        """How the files of its weights begin: each library looks for a name of its own."""
        return "diffusion_pytorch_model" if self.library == "diffusers" else "model"


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A whole bundle: what model_index.json says, and what stands in the folders that it names."""

    class_name: str
    components: Mapping[str, Component]
    absent: tuple[str, ...] = ()
    """Components that the class knows and this bundle does without."""
    settings: Mapping[str, bool] = field(default_factory=dict)
    """What the class is told besides its components."""

    def index(self, version: str) -> Mapping[str, object]:
        """The content of model_index.json, as that version of diffusers writes it."""
        entries: dict[str, object] = {
            **{name: (component.library, component.class_name) for name, component in self.components.items()},
            **dict.fromkeys(self.absent, (None, None)),
            **self.settings,
        }
        return {"_class_name": self.class_name, "_diffusers_version": version, **dict(sorted(entries.items()))}


def model(config: Config) -> Component:
    """A model of diffusers."""
    name = config["_class_name"]
    return Component("diffusers", name, {"config.json": json_file(config)}, _TENSORS[name](config))


def text_encoder(config: Config) -> Component:
    """A model of transformers."""
    (name,) = config["architectures"]
    return Component("transformers", name, {"config.json": json_file(config)}, _TENSORS[name](config))


def scheduler(config: Config) -> Component:
    """A scheduler of diffusers."""
    return Component("diffusers", config["_class_name"], {"scheduler_config.json": json_file(config)})


def image_processor(config: Config) -> Component:
    """An image processor of transformers."""
    return Component("transformers", config["image_processor_type"], {"preprocessor_config.json": json_file(config)})


def tokenizer(class_name: str, files: Files) -> Component:
    """A tokenizer of transformers."""
    return Component("transformers", class_name, files)
