"""Which camera made a file, and what the file says of its lens, as phones and cameras write it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MAKES = ("com.apple.quicktime.make", "com.android.manufacturer", "make")
MODELS = ("com.apple.quicktime.model", "com.android.model", "model")
LENSES = ("com.apple.quicktime.camera.lens_model",)
FOCALS = ("com.apple.quicktime.camera.focal_length.35mm_equivalent", "com.android.capture.focal_length_35mm")
GOPRO, FIRMWARE = "GoPro", "firmware"
LONGEST = 100


@dataclass(frozen=True)
class NamedCamera:
    """name: maker and model, with the lens where one camera has several; empty when the file does not say.

    focal_35mm: focal length of the same view on film of 43.3 mm diagonal, mm; None when the file does not say.
    """

    name: str
    focal_35mm: float | None

    @classmethod
    def of(cls, container: Mapping[str, str], stream: Mapping[str, str]) -> NamedCamera:
        """From the metadata of a container and of its stream of pictures."""
        facts = {_key(key): str(value).strip() for part in (container, stream) for key, value in part.items()}
        make, model, lens = (_first(facts, names) for names in (MAKES, MODELS, LENSES))
        if not model and GOPRO in facts.get("handler_name", ""):
            make, model = GOPRO, facts.get(FIRMWARE, "").partition(".")[0]
        whole = model if model.lower().startswith(make.lower()) else f"{make} {model}"
        name = " ".join(f"{whole} {'' if lens in whole else lens.removeprefix(model).strip()}".split())
        printable = "".join(letter for letter in name if letter.isprintable() and letter != '"')
        return cls(printable[:LONGEST], _millimetres(_first(facts, FOCALS)))


def _key(key: str) -> str:
    """The key of one language: FFmpeg writes `name-eng` beside `name`."""
    before, between, language = key.lower().rpartition("-")
    return before if between and len(language) == 3 else key.lower()


def _first(facts: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((facts[name] for name in names if facts.get(name)), "")


def _millimetres(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 1 < value < 2000 else None
