"""What is known of diffusers and transformers, and how it is read from their source."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pumas_agent.bundles.tables import ComponentKind, PipelineFacts, tables, tables_with
from pumas_agent.bundles.tables.regenerate import made_from
from pumas_agent.bundles.tables.source import PackageSource

KNOWN = tables()

DIFFUSERS = {
    "__init__.py": """
__version__ = "9.9.9"
_import_structure = {"pipelines": [], "schedulers": ["NewScheduler"], "models": ["NewModel"]}
_import_structure["pipelines"].extend(["DiffusionPipeline", "NewPipeline", "NewPriorPipeline"])
""",
    "models/__init__.py": '_import_structure = {"new": ["NewModel", "InnerModel"]}\n',
    "models/new.py": "class InnerModel(ModelMixin): pass\nclass NewModel(ModelMixin): pass\n",
    "schedulers/new.py": """
class NewScheduler(SchedulerMixin):
    def set_timesteps(self, steps, mu=None): self.init_noise_sigma = 1
""",
    "pipelines/__init__.py": '_import_structure = {"new": ["NewPipeline"]}\n',
    "pipelines/new/__init__.py": """
_import_structure = {"pipeline_new": ["NewPipeline", "OwnModel"]}
_import_structure["modeling_gone"] = ["NewModel"]
""",
    "pipelines/new/pipeline_new.py": """
class OwnModel(ModelMixin): pass
class NewPipeline(DiffusionPipeline):
    _optional_components = ["extra"]
    def __init__(self, unet: NewModel, text_encoder: "A | B", extra: Optional[OwnModel] = None, knob=1): ...
    def __call__(self, prompt, image=None, negative_prompt=None, seed=1):
        self.scheduler.scale_model_input()
        if hasattr(self.scheduler, "set_begin_index"): self.scheduler.set_begin_index()
        retrieve_timesteps(self.scheduler, mu=1, sigmas=2)
class NewPriorPipeline(NewPipeline):
    _load_connected_pipes = True
""",
    "utils/dummy_magic_objects.py": 'class NewPriorPipeline(metaclass=X):\n    _backends = ["torch", "magic"]\n',
    "utils/deprecation_utils.py": '_TRANSFORMERS_CLASS_REMAPPING = {"Old": {"new_class": "New"}}\n',
}
TRANSFORMERS = {
    "__init__.py": '__version__ = "8.8.8"\n_import_structure = {}\n',
    "models/new/tokenization_new.py": """
FILE = "vocab.txt"
VOCAB_FILES_NAMES = {"vocab_file": FILE}
class NewTokenizer(PreTrainedTokenizerBase):
    vocab_files_names = VOCAB_FILES_NAMES
__all__ = ["NewTokenizer"]
""",
    "models/new/modeling_new.py": """
class NewPreTrainedModel(PreTrainedModel): pass
class NewEncoder(NewPreTrainedModel): pass
@requires(backends=("magic",))
class MagicEncoder(NewPreTrainedModel): pass
__all__ = ["NewPreTrainedModel", "NewEncoder", "MagicEncoder"]
""",
    "models/new/modular_new.py": "class MagicEncoder(NewEncoder): pass\n",
    "convert_slow_tokenizer.py": """
SLOW_TO_FAST_CONVERTERS = {
    "LostTokenizer": LostConverter, "OldTokenizer": NewConverter, "NewTokenizer": NewConverter,
    "OtherTokenizer": OtherConverter, "ModernTokenizer": OtherConverter,
}
""",
    "models/modern/tokenization_modern.py": """
class ModernTokenizer(PreTrainedTokenizerBase):
    vocab_files_names = {"vocab_file": "modern.model"}
__all__ = ["ModernTokenizer"]
""",
    "broken.py": "def (\n",
}


def test_a_pipeline() -> None:
    """What it is for, what it takes, and which classes it calls."""
    facts = KNOWN.pipeline("StableDiffusionPipeline")

    assert facts is not None
    assert facts.task == "text-to-image"
    assert facts.required == ("scheduler", "text_encoder", "tokenizer", "unet", "vae")
    assert facts.optional == ("feature_extractor", "image_encoder", "safety_checker")
    assert facts.config_keys == ("requires_safety_checker",)
    assert facts.classes["unet"] == ("UNet2DConditionModel",)
    assert facts.scheduler_needs == ("init_noise_sigma",)


def test_every_pipeline_has_a_task() -> None:
    """306 classes; those that draw from a prompt alone are told by what they do, not by a word in their name."""
    drawing = [name for name, facts in KNOWN.pipelines.items() if facts.task == "text-to-image"]

    assert len(KNOWN.pipelines) == 306
    assert len(drawing) == 70
    assert "StableDiffusionGLIGENPipeline" not in drawing  # it asks for phrases and boxes too


@pytest.mark.parametrize(
    ("library", "name", "kind"),
    [
        ("diffusers", "UNet2DConditionModel", "diffusers_model"),
        ("diffusers.models", "UNet2DConditionModel", "diffusers_model"),
        ("diffusers.models", "PNDMScheduler", None),
        ("diffusers", "PNDMScheduler", "scheduler"),
        ("diffusers.schedulers", "PNDMScheduler", "scheduler"),
        ("diffusers", "LMSDiscreteScheduler", "dummy"),
        ("diffusers", "ModelMixin", None),
        ("transformers", "CLIPTextModel", "transformers_model"),
        ("transformers", "CLIPPreTrainedModel", None),
        ("transformers", "AutoModel", None),
        ("transformers", "CLIPTokenizerFast", "tokenizer"),
        ("transformers", "ElectraTokenizerFast", "tokenizer"),
        ("transformers", "Phi3Tokenizer", "tokenizer"),
        ("transformers", "CLIPFeatureExtractor", "image_processor"),
        ("transformers", "ViTFeatureExtractor", None),
        ("transformers", "CLIPImageProcessorFast", "dummy"),
        ("stable_diffusion", "StableDiffusionSafetyChecker", "transformers_model"),
        ("wuerstchen", "PaellaVQModel", None),
        ("qwenimage", "ReduxImageEncoder", None),
        ("os", "path", None),
    ],
)
def test_what_a_class_is(library: str, name: str, kind: str | None) -> None:
    """As diffusers looks it up: old names, fast names, and stand-ins for packages that are missing."""
    assert KNOWN.kind(library, name) == (None if kind is None else ComponentKind(kind))


def test_the_files_of_a_tokenizer() -> None:
    """By their roles; the fast class has those of the slow one."""
    files = {"merges_file": "merges.txt", "tokenizer_file": "tokenizer.json", "vocab_file": "vocab.json"}

    assert KNOWN.tokenizer_files("CLIPTokenizer") == files
    assert KNOWN.tokenizer_files("CLIPTokenizerFast") == files
    assert KNOWN.tokenizer_files("CLIPTextModel") is None


def test_a_class_that_an_operator_describes() -> None:
    """It is added to what is known, and nothing else changes."""
    mine = PipelineFacts("MyPipeline", "text-to-image", ("unet",), ())

    extended = tables_with({"MyPipeline": mine})

    assert extended.pipeline("MyPipeline") == mine
    assert KNOWN.pipeline("MyPipeline") is None
    assert tables_with({}) is KNOWN


@pytest.fixture
def site_packages(tmp_path: Path) -> Path:
    """A diffusers and a transformers that nobody could import."""
    for package, files in (("diffusers", DIFFUSERS), ("transformers", TRANSFORMERS)):
        for name, text in files.items():
            path = tmp_path / package / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return tmp_path


def test_tables_are_read_from_source(site_packages: Path) -> None:
    """Versions, constructors, classes and files, without importing anything."""
    made = made_from(PackageSource(site_packages, "diffusers"), PackageSource(site_packages, "transformers"))

    pipelines, components = made["pipelines.json"], made["components.json"]
    assert (pipelines["diffusers"], components["transformers"]) == ("9.9.9", "8.8.8")
    assert pipelines["pipelines"]["NewPipeline"] == {
        "required": ["text_encoder", "unet"],
        "optional": ["extra"],
        "config_keys": ["knob"],
        "connected": False,
        "classes": {"extra": ["OwnModel"], "text_encoder": ["A", "B"], "unet": ["NewModel"]},
        "scheduler_needs": ["scale_model_input", "set_timesteps(mu)"],
    }
    assert pipelines["pipelines"]["NewPriorPipeline"]["connected"]
    assert components["libraries"]["diffusers"] == {
        "diffusers_model": ["NewModel"],
        "dummy": ["NewPriorPipeline"],
        "scheduler": ["NewScheduler"],
    }
    assert components["libraries"]["diffusers.models"] == {"diffusers_model": ["InnerModel", "NewModel"]}
    assert components["libraries"]["new"] == {"diffusers_model": ["OwnModel"]}
    assert components["libraries"]["transformers"] == {
        "dummy": ["MagicEncoder"],
        "tokenizer": ["ModernTokenizer", "NewTokenizer", "OldTokenizer", "OtherTokenizer"],
        "transformers_model": ["NewEncoder"],
    }
    assert components["schedulers"] == {"NewScheduler": ["init_noise_sigma", "set_timesteps(mu)"]}
    assert components["remapped"] == {"Old": "New"}
    assert components["tokenizer_files"] == {
        "ModernTokenizer": {"vocab_file": "modern.model"},
        "NewTokenizer": {"vocab_file": "vocab.txt"},
        "OldTokenizer": {"vocab_file": "vocab.txt"},
        "OtherTokenizer": {"vocab_file": "modern.model"},
    }


def test_a_check_says_what_differs_and_writes_nothing(site_packages: Path) -> None:
    """A class without a task is named: nobody but a person can say what it is for."""
    command = [sys.executable, "-m", "pumas_agent.bundles.tables.regenerate", str(site_packages), "--check"]

    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 1
    assert "tasks.json: NewPipeline needs a task; its call is about prompt, image" in done.stdout
    assert "pipelines.json: /diffusers: '0.42.1' -> '9.9.9'" in done.stdout
    assert tables().diffusers_version == "0.42.1"


def test_a_folder_without_diffusers_is_an_error_of_the_caller(tmp_path: Path) -> None:
    """The script says what is missing, and writes nothing."""
    command = [sys.executable, "-m", "pumas_agent.bundles.tables.regenerate", str(tmp_path)]

    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 2
    assert f"{tmp_path} holds no diffusers" in done.stderr
    assert tables().diffusers_version == "0.42.1"


def test_the_files_are_as_the_script_writes_them() -> None:
    """Sorted and indented, so that a regeneration shows what changed and nothing else."""
    folder = Path(sys.modules["pumas_agent.bundles.tables"].__file__ or "").parent

    for name in ("pipelines.json", "components.json", "tasks.json"):
        text = (folder / name).read_text()
        assert text == json.dumps(json.loads(text), indent=1, sort_keys=True) + "\n"
