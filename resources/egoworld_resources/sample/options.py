"""Options of a sample video."""

from dataclasses import asdict, dataclass

from egoworld_resources.errors import BadConfiguration

HEADS = ("sway", "turn", "look")


class InvalidOptions(BadConfiguration):
    """The requested sample cannot be rendered; the message names the option and its valid values."""


@dataclass(frozen=True)
class SampleOptions:
    """The size, length, seed and difficulty of a sample video; equal options give equal pixels.

    `seed`: textures, sizes, camera path and motions all follow from it. `seconds`: length of the video, two shots of
    half that each. `width`, `height`: pixels, even. `fps`: frames a second. `gloves`: the hand wears a work glove.
    `workers`: processes that render; the pixels do not depend on it.

    `head`: "sway" (the person moves about), "turn" (the head turns about the neck) or "look" (the camera turns about
    its own centre: no parallax at all). `k1`: radial distortion of the lens (SIMPLE_RADIAL), negative for a wide one.
    `readout`: share of a frame's time in which the rows are read one after the other (rolling shutter), `exposure`: in
    which the shutter is open (blur).
    """

    seed: int = 0
    seconds: float = 12.0
    width: int = 640
    height: int = 360
    fps: int = 15
    gloves: bool = False
    workers: int = 2
    head: str = "sway"
    k1: float = 0.0
    readout: float = 0.0
    exposure: float = 0.0

    def __post_init__(self) -> None:
        limits: dict[str, tuple[float, float]] = {
            "seed": (0, 2**32 - 1),
            "seconds": (0.1, 600.0),
            "width": (64, 3840),
            "height": (64, 2160),
            "fps": (1, 120),
            "workers": (1, 64),
            "k1": (-0.2, 0.0),
            "readout": (0.0, 1.0),
            "exposure": (0.0, 1.0),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise InvalidOptions(f"sample option {name}={value} is outside {low:g} to {high:g}: choose one within")
        if self.head not in HEADS:
            raise InvalidOptions(f"sample option head={self.head!r} is not known: choose one of {', '.join(HEADS)}")
        for name in ("width", "height"):
            if getattr(self, name) % 2:
                raise InvalidOptions(f"sample option {name}={getattr(self, name)} is odd: H.264 needs an even number")
        if self.frame_count < 2:
            raise InvalidOptions(f"{self.seconds} s at {self.fps} fps is less than one frame a shot: ask for more")

    @property
    def frame_count(self) -> int:
        """Frames of the whole video."""
        return round(self.seconds * self.fps)

    @property
    def shot_starts(self) -> tuple[int, int]:
        """Decode index of the first frame of each of the two shots."""
        return 0, self.frame_count // 2

    @property
    def recipe(self) -> dict[str, int | float | str | bool]:
        """The options that decide the pixels (all but the number of processes)."""
        return {name: value for name, value in asdict(self).items() if name != "workers"}
