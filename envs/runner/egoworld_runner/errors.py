"""What can go wrong inside a runner.

RunnerError
├── BadJob        the job file cannot be read or names things that do not exist; nothing was run
└── ClipFailed    this clip cannot be served; the rest of the batch goes on
    ├── BadVideo  the video file cannot be decoded as the contract needs
    └── BadRow    the model yielded a row that breaks its table
"""


class RunnerError(Exception):
    """Root of all errors that the contract raises on purpose."""


class BadJob(RunnerError):
    """The job file is wrong; the message names the field and the fix."""


class ClipFailed(RunnerError):
    """One clip cannot be served; the message says what happened and what to do."""


class BadVideo(ClipFailed):
    """The video cannot be decoded; the message names the file and the fix."""


class BadRow(ClipFailed):
    """A row breaks its table: wrong size, not finite, or a frame outside the clip."""
