"""`avacast replay`: a recorded session made again, and whether its frames are the same.

The recording's calls are made of a new session, in their order and at their samples, and the digest of what they
return is compared line by line. Knows recordings and the engine's door; knows nothing of how frames are made.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from avacast.engine.config import SAMPLE_RATE_HZ
from avacast.engine.errors import BadSetting
from avacast.engine.profile import Profile
from avacast.streaming.model import check_bundle
from avacast.streaming.recorded_session import about_session
from avacast.streaming.recording import About, Call, Recording
from avacast.streaming.render import BundleOption, progress_bar
from avacast.streaming.video_file import VideoFile, check_output

if TYPE_CHECKING:
    from avacast.engine.frame import Frame
    from avacast.engine.pipeline import Pipeline
    from avacast.engine.session import Session

_WORDS = {
    "model": "model",
    "manifest_sha256": "weights (SHA-256 of the manifest)",
    "device": "device",
    "precision": "precision",
    "torch": "version of PyTorch",
    "num_threads": "number of threads",
    "cpu": "processor",
}
"""What may make frames differ, in words."""


@dataclass(frozen=True)
class Outcome:
    """What a replay has shown."""

    num_frames: int
    first_difference: int | None
    """The first frame of the call whose frames are others, or are missing; None where all are the same."""


def replay(
    recording: Annotated[
        Path, typer.Argument(metavar="RECORDING", help="A folder made by `--record`, finished or not.", exists=False)
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the session to this MP4 too.", show_default="none")
    ] = None,
    bundle: BundleOption = None,
) -> None:
    """Make a recorded session again and tell whether every frame is the same, to the last bit.

    Record with `avacast serve --record DIR` or `avacast render ada speech.wav --record DIR`, then:

        avacast replay DIR/20261121T101500.000-ada --output again.mp4

    Says "identical: yes" and ends with 0. Other frames say "identical: no" and end with 1; where model, device,
    precision, threads or PyTorch are not those of the recording, that is named as the likely reason, and it ends
    with 0. What a crash left behind (NAME.unfinished) is replayed as far as it goes.
    """
    if output is not None:
        check_output(output)
    check_bundle(bundle)
    recorded = Recording.read(recording)
    if not recorded.num_frames:
        raise BadSetting(f"the recording {recording} ends before its first frame; there is nothing to compare")
    pipeline = load_as_recorded(recorded.about, bundle)
    fps = pipeline.config.fps
    with _video(pipeline, output) as file, progress_bar(recorded.path.name, recorded.num_frames, fps) as advance:
        outcome = make_again(pipeline, recorded, file, advance)
    here = about_session(pipeline, bundle, Profile.from_dict(recorded.about.profile), recorded.about.seed)
    if outcome.first_difference is None:
        typer.echo(f"identical: yes ({outcome.num_frames} frames, {outcome.num_frames / fps:.1f} s)")
        return
    at_s = outcome.first_difference / fps
    typer.echo(f"identical: no (from frame {outcome.first_difference} on, at {at_s:.2f} s)")
    reasons = differences(recorded.about, here)
    if not reasons:
        typer.echo("the model and the machine are those of the recording; please report this")
        raise typer.Exit(1)
    typer.echo(f"frames may differ since not all is as it was recorded: {'; '.join(reasons)}")


def load_as_recorded(about: About, bundle: Path | None) -> Pipeline:
    """The model in `bundle` (None: the embedded one) on the device, in the precision and threads of the recording.

    The CPU stands in for a device that is not here. Raises BadBundle, BadSetting for a precision that is none.
    """
    import torch

    from avacast.engine.bundle import embedded_bundle
    from avacast.engine.pipeline import Pipeline
    from avacast.engine.precision import Precision

    precision = Precision.parse(about.precision)
    if about.num_threads < 1:
        raise BadSetting(f"the recording names {about.num_threads} threads, so it is damaged; copy it again")
    torch.set_num_threads(about.num_threads)
    device = about.device if about.device == "cpu" or torch.cuda.is_available() else "cpu"
    return Pipeline.load(bundle or embedded_bundle(), device=device, dtype=precision)


def make_again(
    pipeline: Pipeline, recorded: Recording, file: VideoFile | None, on_frame: Callable[[], None] = lambda: None
) -> Outcome:
    """Makes the recorded calls of a new session; frames and sound go into `file` where there is one.

    Raises BadSetting for a call that this version does not know, and what the session raises.
    """
    profile = Profile.from_dict(recorded.about.profile)
    session = pipeline.open_session(recorded.picture, seed=recorded.about.seed, profile=profile, interruptible=True)
    whole, num_frames, num_pushed = hashlib.sha256(), 0, 0
    first_difference: int | None = None
    for call in recorded.calls:
        sound = recorded.sound[num_pushed : call.sample]
        num_pushed = call.sample
        if len(sound):  # after a flush a session takes none, not even none
            session.push(sound)
        frames = make_call(session, call)
        if first_difference is None and not _same(call, frames):
            first_difference = num_frames
        for frame in frames:
            whole.update(frame.image.tobytes())
            on_frame()
        num_frames += len(frames)
        if file is not None:
            file.write_sound(sound[None])
            for frame in frames:
                file.write_frame(frame.image)
    if first_difference is None and recorded.sha256 not in (None, whole.hexdigest()):
        first_difference = 0
    return Outcome(num_frames, first_difference)


def make_call(session: Session, call: Call) -> list[Frame]:
    """The call that was recorded; its frames, if it makes any."""
    from avacast.engine.batch import step

    match call.call:
        case "pull":
            return session.pull()
        case "step":
            return step([session])[0]
        case "flush":
            session.flush()
        case "profile":
            session.change_profile(Profile.from_dict(call.profile or {}))
        case "interrupt":
            session.interrupt(call.frame or 0)
        case _:
            raise BadSetting(f"the recording holds the call {call.call!r}; a newer avacast made it, so use that one")
    return []


def differences(recorded: About, here: About) -> list[str]:
    """What is not as it was, in words."""
    then, now = asdict(recorded), asdict(here)
    return [
        f"{words} was {_short(then[name])}, is {_short(now[name])}"
        for name, words in _WORDS.items()
        if then[name] != now[name]
    ]


def _same(call: Call, frames: list[Frame]) -> bool:
    if len(frames) != (call.frames or 0):
        return False
    digest = hashlib.sha256(b"".join(frame.image.tobytes() for frame in frames)).hexdigest()
    return not frames or digest == call.sha256


def _short(value: object) -> str:
    return str(value)[:16]


@contextlib.contextmanager
def _video(pipeline: Pipeline, output: Path | None) -> Generator[VideoFile | None]:
    if output is None:
        yield None
        return
    with VideoFile.of(output, pipeline.config, SAMPLE_RATE_HZ, num_channels=1) as file:
        yield file
