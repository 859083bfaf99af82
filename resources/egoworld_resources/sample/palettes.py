"""The colours of the two rooms."""

from dataclasses import dataclass

from egoworld_resources.sample.textures import Colour


@dataclass(frozen=True)
class Palette:
    """The colours of one room."""

    wall: Colour
    floor: Colour
    table: Colour
    prints: tuple[Colour, ...]
    skin: Colour
    glove: Colour
    cloth: Colour


PALETTES = (
    Palette(
        (178, 186, 196), (128, 112, 98), (92, 112, 128),
        ((188, 66, 54), (44, 92, 150), (222, 190, 84), (66, 130, 96), (226, 226, 220)),
        (222, 172, 142), (52, 86, 150), (58, 66, 92),
    ),
    Palette(
        (226, 214, 180), (88, 92, 98), (74, 96, 80),
        ((120, 60, 130), (214, 128, 56), (52, 128, 140), (236, 236, 230), (150, 44, 60)),
        (222, 172, 142), (44, 44, 48), (118, 52, 56),
    ),
)  # fmt: skip
