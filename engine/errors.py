"""Every error that avacast raises on purpose, as one tree.

A user's mistake is an `AvacastError`: its text is one line that says what is wrong and what to do, and the command
line prints it without a traceback. A broken contract inside the code is an assertion, never one of these.

    AvacastError
    ├── BadPortrait      the picture cannot be used
    ├── BadAudio         the sound cannot be used
    ├── BadText          the text cannot be spoken
    ├── BadVideo         the video cannot be learnt from
    ├── BadBundle        the model on disk is missing, damaged or foreign
    ├── BadSetting       a setting or an argument is out of range
    ├── SessionClosed    a session was used after its end
    └── Unavailable      the machine cannot do this now (port taken, no free slot, no disk)
"""

from __future__ import annotations


class AvacastError(Exception):
    """A mistake or a circumstance that the user can understand and mend.

    `exit_code` is what the command line ends with; `code` is the stable word of the HTTP interface.
    """

    exit_code = 1
    code = "error"


class BadPortrait(AvacastError):
    exit_code = 3
    code = "bad_portrait"


class BadAudio(AvacastError):
    exit_code = 3
    code = "bad_audio"


class BadText(AvacastError):
    exit_code = 3
    code = "bad_text"


class BadVideo(AvacastError):
    exit_code = 3
    code = "bad_video"


class BadBundle(AvacastError):
    exit_code = 3
    code = "bad_bundle"


class BadSetting(AvacastError):
    exit_code = 2
    code = "bad_setting"


class SessionClosed(AvacastError):
    exit_code = 1
    code = "session_closed"


class Unavailable(AvacastError):
    exit_code = 5
    code = "unavailable"
