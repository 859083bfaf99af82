"""Where it is said that a clip honestly has no rows."""

NOTHING = "nothing"
"""The note of a clip that says why it honestly has no rows."""

LEFT_OUT = "left_out"
"""The note that says what of a clip or a video was left out of the rows, and why."""

REMARKS = "remarks.json"
"""The file of an artifact that says why clips have no rows, by clip; there is none when every clip has."""
