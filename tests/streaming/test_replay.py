"""A recorded session is made again to the last bit, whatever it was told and when; a damaged recording is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
import torch
import typer
from numpy.typing import NDArray
from typer.testing import CliRunner

from avacast.engine.batch import step
from avacast.engine.bundle import write_bundle
from avacast.engine.config import ModelConfig
from avacast.engine.errors import AvacastError, BadSetting
from avacast.engine.pipeline import Pipeline
from avacast.engine.profile import Profile, SamplerConfig
from avacast.streaming import recording_writer
from avacast.streaming.audio_file import AudioBlock
from avacast.streaming.messages import Audio, Close, Cut, Open
from avacast.streaming.recorded_session import RecordedSession, RecordingFolder
from avacast.streaming.recording import CALLS, PICTURE, SESSION, SOUND, Recording
from avacast.streaming.render import write_video
from avacast.streaming.replay import differences, make_again, replay
from avacast.streaming.worker_process import EngineLoop

NOISE = (0.1 * np.random.default_rng(2).standard_normal(16_000)).astype(np.float32)


@pytest.fixture(scope="module")
def pipeline(load_tiny: partial[Pipeline]) -> Pipeline:
    """The tiny model in three steps, so that looking ahead makes a difference."""
    torch.set_num_threads(1)
    config: ModelConfig = replace(load_tiny.args[0], sampler=SamplerConfig(num_steps=3, shift=3.0, spacing="even"))
    return Pipeline.with_random_weights(config, dtype=torch.float32)


@pytest.fixture(scope="module")
def bundle(pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    networks = pipeline.networks
    parts = {"dit": networks.dit, "vae": networks.vae, "speech_encoder": networks.speech_encoder}
    write_bundle(folder, pipeline.config, {name: part.state_dict() for name, part in parts.items()})
    return folder


@pytest.fixture
def recordings(tmp_path: Path, bundle: Path) -> RecordingFolder:
    return RecordingFolder(tmp_path / "recordings", bundle)


@pytest.fixture
def record(
    pipeline: Pipeline, recordings: RecordingFolder, picture: NDArray[np.uint8]
) -> Callable[[Profile], RecordedSession]:
    """Opens a recorded session in a profile."""

    def begin(profile: Profile) -> RecordedSession:
        session = pipeline.open_session(picture, seed=5, profile=profile)
        return recordings.begin(session, pipeline, picture, 5, "ada")

    return begin


@pytest.fixture
def recorded(record: Callable[[Profile], RecordedSession], recordings: RecordingFolder, pipeline: Pipeline) -> Path:
    """The finished recording of a second of noise."""
    session = record(pipeline.config.profile("mic"))
    for piece in np.split(NOISE, range(640, 16_000, 640)):
        session.push(piece)
        session.pull()
    session.close()
    return only(recordings)


def only(recordings: RecordingFolder) -> Path:
    (path,) = recordings.path.iterdir()
    return path


def run(*arguments: object) -> tuple[int, str]:
    """Exit code and what was said; an AvacastError is raised."""
    application = typer.Typer()
    application.command()(replay)
    done = CliRunner().invoke(application, [str(argument) for argument in arguments])
    if isinstance(done.exception, AvacastError):
        raise done.exception
    return done.exit_code, done.stdout


def test_a_recorded_lane_is_made_again(
    pipeline: Pipeline, bundle: Path, recordings: RecordingFolder, picture: NDArray[np.uint8]
):
    """What the worker's loop records, the silence before the stream included, is identical in every frame."""
    loop = EngineLoop(pipeline, lambda _: True, recordings=recordings)
    loop.handle(Open("a", picture, 3))
    for number, piece in enumerate(np.split(NOISE, range(640, 16_000, 640))):
        loop.handle(Audio("a", number, piece, number))
        while loop.step():
            pass
    loop.handle(Close("a"))
    path = only(recordings)
    assert path.name.endswith("-a")
    recording = Recording.read(path)
    assert np.array_equal(recording.picture, picture)
    assert len(recording.sound) > len(NOISE)
    assert np.array_equal(recording.sound[-len(NOISE) :], NOISE)
    assert not recording.sound[: -len(NOISE)].any()
    code, said = run(path, "--bundle", bundle)
    assert code == 0, said
    assert said.startswith(f"identical: yes ({recording.num_frames} frames")


def test_a_session_that_was_interrupted_is_made_again(
    pipeline: Pipeline, bundle: Path, recordings: RecordingFolder, picture: NDArray[np.uint8]
):
    """Also the frames that were taken back, and those that came in their place."""
    loop = EngineLoop(pipeline, lambda _: True, recordings=recordings)
    loop.handle(Open("a", picture, 3))
    for number, piece in enumerate(np.split(NOISE, range(640, 16_000, 640))):
        loop.handle(Audio("a", number, piece, max(0, number - 20)))
        while loop.step():
            pass
        if number == 20:
            loop.handle(Cut("a", 1, 4))
    loop.handle(Close("a"))
    path = only(recordings)
    recording = Recording.read(path)
    (cut,) = [call for call in recording.calls if call.call == "interrupt"]
    before = sum(call.frames or 0 for call in recording.calls[: recording.calls.index(cut)])
    assert cut.frame is not None
    assert cut.frame < before
    code, said = run(path, "--bundle", bundle)
    assert code == 0, said
    assert said.startswith(f"identical: yes ({recording.num_frames} frames")


def feeds() -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "in pieces of a frame", (640,) * 25
    yield "all at once", (16_000,)
    yield "half at once, then slowly", (8_000, *((640,) * 12), 320)


@pytest.mark.parametrize("sizes", [sizes for _, sizes in feeds()], ids=[name for name, _ in feeds()])
def test_a_profile_that_looks_at_what_has_come_is_made_again(
    pipeline: Pipeline,
    bundle: Path,
    record: Callable[[Profile], RecordedSession],
    recordings: RecordingFolder,
    sizes: tuple[int, ...],
):
    """Under `tts` frames depend on when sound came; the recording knows, also past a change of profile and the end."""
    session = record(pipeline.config.profile("tts"))
    for start, piece in enumerate(np.split(NOISE, np.cumsum(sizes)[:-1])):
        session.push(piece)
        session.pull()
        if start == 8:
            session.change_profile(pipeline.config.profile("mic"))
    session.flush()
    while not session.finished:
        session.pull()
    session.close()
    assert Recording.read(only(recordings)).num_frames == 25
    assert run(only(recordings), "--bundle", bundle)[1].startswith("identical: yes")


def test_frames_under_tts_do_depend_on_when_sound_came(
    pipeline: Pipeline, record: Callable[[Profile], RecordedSession], recordings: RecordingFolder
):
    """So a recording without the moments of its pulls would not be made again: the test above can fail."""
    digests: set[str | None] = set()
    for _, sizes in list(feeds())[:2]:
        session = record(pipeline.config.profile("tts"))
        for piece in np.split(NOISE, np.cumsum(sizes)[:-1]):
            session.push(piece)
            session.pull()
        session.flush()
        while not session.finished:
            session.pull()
        session.close()
        digests.add(Recording.read(max(recordings.path.iterdir())).sha256)
    assert len(digests) == 2


def test_a_session_advanced_in_a_batch_is_made_again(
    pipeline: Pipeline, record: Callable[[Profile], RecordedSession], recordings: RecordingFolder
):
    """Pass by pass instead of window by window."""
    session = record(pipeline.config.profile("tts"))
    for piece in np.split(NOISE, range(4_000, 16_000, 4_000)):
        session.push(piece)
        for _ in range(3):
            step([session])  # type: ignore[list-item]  # it has a session's calls
    session.close()
    recording = Recording.read(only(recordings))
    assert recording.num_frames > 0
    assert make_again(pipeline, recording, None).first_difference is None


def test_a_rendered_file_is_recorded_too(
    pipeline: Pipeline, bundle: Path, recordings: RecordingFolder, picture: NDArray[np.uint8], tmp_path: Path
):
    """And the replay writes it as an MP4."""

    class Sound:
        heard_rate_hz, num_channels, num_engine_samples = 16_000, 1, len(NOISE)

        def blocks(self) -> Iterator[AudioBlock]:
            yield from (AudioBlock(piece, piece[None]) for piece in np.split(NOISE, 10))

    write_video(pipeline, picture, Sound(), tmp_path / "ada.mp4", recordings=recordings)
    assert only(recordings).name.endswith("-ada")
    code, said = run(only(recordings), "--bundle", bundle, "--output", tmp_path / "again.mp4")
    assert (code, said) == (0, "identical: yes (25 frames, 1.0 s)\n")
    with av.open(str(tmp_path / "again.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 25
    with av.open(str(tmp_path / "again.mp4")) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) >= len(NOISE)


def test_other_frames_are_told_and_end_with_1(bundle: Path, recorded: Path):
    """The digest of one call changed: the first frame of it is named."""
    lines = (recorded / CALLS).read_text().splitlines()
    made = [i for i, line in enumerate(lines) if json.loads(line).get("frames")]
    values = json.loads(lines[made[1]])
    lines[made[1]] = json.dumps(values | {"sha256": "0" * 64})
    (recorded / CALLS).write_text("\n".join(lines) + "\n")
    code, said = run(recorded, "--bundle", bundle)
    first = json.loads(lines[made[0]])["frames"]
    assert code == 1
    assert said.startswith(f"identical: no (from frame {first} on")


def test_another_sound_makes_other_frames(pipeline: Pipeline, recorded: Path):
    """The digests are of what the session really makes, not of what the files say."""
    recording = Recording.read(recorded)
    assert make_again(pipeline, recording, None).first_difference is None
    other = replace(recording, sound=recording.sound[::-1])
    assert make_again(pipeline, other, None).first_difference is not None


def test_another_model_is_named_as_the_reason_and_no_fault(recorded: Path, pipeline: Pipeline, tmp_path: Path):
    config = replace(pipeline.config, name="other")
    networks = Pipeline.with_random_weights(config, seed=1, dtype=torch.float32).networks
    parts = {"dit": networks.dit, "vae": networks.vae, "speech_encoder": networks.speech_encoder}
    write_bundle(tmp_path / "other", config, {name: part.state_dict() for name, part in parts.items()})
    code, said = run(recorded, "--bundle", tmp_path / "other")
    assert code == 0
    assert "identical: no" in said
    assert "model was tiny, is other; weights (SHA-256 of the manifest) was" in said


def test_device_precision_threads_and_versions_are_named(recorded: Path):
    about = Recording.read(recorded).about
    assert differences(about, about) == []
    here = replace(about, device="cuda", precision="bfloat16", num_threads=about.num_threads + 1, torch="9.9")
    assert len(differences(about, here)) == 4
    assert differences(about, here)[0] == "device was cpu, is cuda"


def test_a_crash_leaves_a_recording_up_to_there(
    bundle: Path,
    pipeline: Pipeline,
    record: Callable[[Profile], RecordedSession],
    recordings: RecordingFolder,
    tmp_path: Path,
):
    """The files as they lie there in mid-session, the last line torn: all whole lines are replayed."""
    session = record(pipeline.config.profile("mic"))
    for piece in np.split(NOISE, 10):
        session.push(piece)
        session.pull()
    crashed = tmp_path / "crashed"
    shutil.copytree(only(recordings), crashed)
    session.close()
    with (crashed / CALLS).open("a") as file:
        file.write('{"call": "pull", "sam')
    recording = Recording.read(crashed)
    assert recording.sha256 is None
    assert recording.num_frames == Recording.read(only(recordings)).num_frames > 0
    assert run(crashed, "--bundle", bundle)[1].startswith("identical: yes")


def test_a_full_recording_ends_whole_and_the_session_goes_on(
    bundle: Path,
    pipeline: Pipeline,
    record: Callable[[Profile], RecordedSession],
    recordings: RecordingFolder,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(recording_writer, "MAX_RECORDED_S", 0.7)
    session = record(pipeline.config.profile("mic"))
    num_frames = 0
    for piece in np.split(NOISE, range(640, 16_000, 640)):
        session.push(piece)
        num_frames += len(session.pull())
    session.close()
    recording = Recording.read(only(recordings))
    assert len(recording.sound) == 17 * 640
    assert 0 < recording.num_frames < num_frames
    assert json.loads((recording.path / SESSION).read_text())["end"]["cut"] is True
    assert run(recording.path, "--bundle", bundle)[1].startswith("identical: yes")


def test_a_disk_that_refuses_ends_the_recording_and_not_the_session(
    pipeline: Pipeline, record: Callable[[Profile], RecordedSession], recordings: RecordingFolder
):
    session = record(pipeline.config.profile("mic"))
    session._writer._sound.close()
    num_frames = 0
    with Path("/dev/full").open("wb", buffering=0) as session._writer._sound:
        for piece in np.split(NOISE, range(640, 16_000, 640)):
            session.push(piece)
            num_frames += len(session.pull())
    session.close()
    assert num_frames > 0
    assert only(recordings).name.endswith(".unfinished")


def test_a_worker_that_cannot_record_serves_all_the_same(
    pipeline: Pipeline, bundle: Path, tmp_path: Path, picture: NDArray[np.uint8], caplog: pytest.LogCaptureFixture
):
    (tmp_path / "file").write_text("")
    loop = EngineLoop(pipeline, lambda _: True, recordings=RecordingFolder(tmp_path / "file", bundle))
    loop.handle(Open("a", picture, 3))
    assert list(loop.lanes) == ["a"]
    assert "session a is not recorded" in caplog.text
    with pytest.raises(BadSetting, match="cannot hold recordings"):
        RecordingFolder(tmp_path / "file", bundle).check()


def test_a_worker_whose_model_was_moved_away_serves_all_the_same(
    pipeline: Pipeline, tmp_path: Path, picture: NDArray[np.uint8], caplog: pytest.LogCaptureFixture
):
    """The model is in memory; only the recording needs its files."""
    loop = EngineLoop(pipeline, lambda _: True, recordings=RecordingFolder(tmp_path, tmp_path / "gone"))
    loop.handle(Open("a", picture, 3))
    assert list(loop.lanes) == ["a"]
    assert "session a is not recorded" in caplog.text


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def garbled(path: Path) -> None:
    path.write_bytes(b"[1]\n[2]\n")


@pytest.mark.parametrize("damage", [Path.unlink, torn, emptied, garbled], ids=["missing", "torn", "empty", "garbled"])
@pytest.mark.parametrize("name", [PICTURE, SOUND, CALLS, SESSION])
def test_a_damaged_recording_is_refused_in_one_line(recorded: Path, name: str, damage: Callable[[Path], None]):
    damage(recorded / name)
    with pytest.raises(BadSetting, match="is damaged") as error:
        Recording.read(recorded)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "value"), [("seed", "7"), ("profile", {"window": {"window": 0}}), ("profile", {"speed": 1})]
)
def test_a_recording_that_says_nonsense_is_refused(recorded: Path, name: str, value: object):
    values = json.loads((recorded / SESSION).read_text())
    values["about"][name] = value
    (recorded / SESSION).write_text(json.dumps(values))
    with pytest.raises(BadSetting, match="is damaged"):
        Recording.read(recorded)


def test_an_unknown_call_or_precision_or_no_recording_at_all_is_refused(recorded: Path, bundle: Path, tmp_path: Path):
    with pytest.raises(BadSetting, match="there is no recording at"):
        run(tmp_path / "none")
    lines = (recorded / CALLS).read_text()
    (recorded / CALLS).write_text(lines.replace('"pull"', '"juggle"', 1))
    with pytest.raises(BadSetting, match="'juggle'; a newer avacast"):
        run(recorded, "--bundle", bundle)
    text = (recorded / SESSION).read_text()
    (recorded / SESSION).write_text(text.replace('"float32"', '"manual_seed"'))
    with pytest.raises(BadSetting, match="'manual_seed' is no precision"):
        run(recorded, "--bundle", bundle)


def test_a_recording_without_a_frame_has_nothing_to_compare(
    pipeline: Pipeline, record: Callable[[Profile], RecordedSession], recordings: RecordingFolder
):
    session = record(pipeline.config.profile("mic"))
    session.push(NOISE[:640])
    session.pull()
    session.close()
    with pytest.raises(BadSetting, match="before its first frame"):
        run(only(recordings))
