"""An MP4 file being written: H.264 pictures and AAC sound, encoded as they come.

The file grows beside its final name and is renamed when it is complete; if anything goes wrong nothing stays behind.
Memory stays constant but for the index of an MP4, which the format puts at the end: about 20 MB for an hour.
"""

from __future__ import annotations

import os
import tempfile
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from avacast.engine.errors import BadSetting, Unavailable

if TYPE_CHECKING:
    from av import AudioStream, VideoStream
    from av.container import OutputContainer

    from avacast.engine.config import ModelConfig

_SOUND_BIT_RATE = 128_000
_BT709 = 1
"""The number of BT.709 in H.264's colour description (ITU-T H.273)."""

_LIMITED_RANGE = 1


class VideoFile:
    """A context manager: pictures and sound go in, and the file is at `path` once the block has ended without error.

    Raises BadSetting for a path that cannot be written to, Unavailable when the disk refuses later.
    """

    def __init__(
        self, path: Path, *, height: int, width: int, fps: int, sample_rate_hz: int, num_channels: int
    ) -> None:
        assert height % 2 == width % 2 == 0, f"yuv420p halves {height}x{width}"
        self.path = path
        self._height, self._width, self._fps = height, width, fps
        self._sample_rate_hz, self._num_channels = sample_rate_hz, num_channels
        self._num_frames = 0
        self._num_samples = 0

    @classmethod
    def of(cls, path: Path, config: ModelConfig, sample_rate_hz: int, num_channels: int) -> Self:
        """A file of a model's pictures."""
        return cls(
            path,
            height=config.height,
            width=config.width,
            fps=config.fps,
            sample_rate_hz=sample_rate_hz,
            num_channels=num_channels,
        )

    def __enter__(self) -> Self:
        import av

        check_output(self.path)
        try:
            descriptor, name = tempfile.mkstemp(prefix=f".{self.path.stem}-", suffix=".mp4", dir=self.path.parent)
        except OSError as error:
            raise BadSetting(f"{self.path.parent} cannot be written to ({error.strerror}); choose another") from error
        os.close(descriptor)
        self._partial = Path(name)
        # The index moves to the front at the end, so that a browser can play while it loads.
        self._container: OutputContainer = av.open(name, "w", format="mp4", options={"movflags": "+faststart"})
        self._video = self._add_video()
        self._sound: AudioStream = self._container.add_stream("aac", rate=self._sample_rate_hz)
        self._sound.layout = "mono" if self._num_channels == 1 else "stereo"
        self._sound.bit_rate = _SOUND_BIT_RATE
        return self

    def write_frame(self, image: NDArray[np.uint8]) -> None:
        """Adds one picture, uint8 [H, W, 3] RGB."""
        import av
        from av.video.reformatter import Colorspace

        assert image.shape == (self._height, self._width, 3), image.shape
        picture = av.VideoFrame.from_ndarray(image, format="rgb24")
        picture = picture.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)
        picture.pts = self._num_frames
        picture.time_base = Fraction(1, self._fps)
        self._num_frames += 1
        self._mux(self._video, picture)

    def write_sound(self, samples: NDArray[np.float32]) -> None:
        """Adds sound, float32 [C, N] in [-1, 1] at the file's rate; N may be anything."""
        import av

        assert samples.shape[0] == self._num_channels, samples.shape
        if not samples.shape[1]:
            return
        sound = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=self._sound.layout.name)
        sound.sample_rate = self._sample_rate_hz
        sound.pts = self._num_samples
        sound.time_base = Fraction(1, self._sample_rate_hz)
        self._num_samples += samples.shape[1]
        self._mux(self._sound, sound)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._mux(self._video, None)
                self._mux(self._sound, None)
                self._close()
                self._publish()
        finally:
            # Closing twice does nothing; closing a broken file may complain of what already broke it.
            try:
                self._close()
            except Unavailable:
                if kind is None:
                    raise
            finally:
                self._partial.unlink(missing_ok=True)

    def _add_video(self) -> VideoStream:
        stream = self._container.add_stream("libx264", rate=self._fps, options={"preset": "veryfast", "crf": "18"})
        stream.height, stream.width, stream.pix_fmt = self._height, self._width, "yuv420p"
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED_RANGE
        return stream

    def _mux(self, stream: VideoStream | AudioStream, frame: object) -> None:
        from av.error import FFmpegError

        try:
            for packet in stream.encode(frame):  # type: ignore[arg-type]  # each stream takes its own kind of frame
                self._container.mux(packet)
        except FFmpegError as error:
            raise Unavailable(f"{self.path} cannot be written ({error.strerror}); is the disk full?") from error

    def _close(self) -> None:
        from av.error import FFmpegError

        try:
            self._container.close()
        except FFmpegError as error:
            raise Unavailable(f"{self.path} cannot be written ({error.strerror}); is the disk full?") from error

    def _publish(self) -> None:
        try:
            with self._partial.open("rb") as stream:
                os.fsync(stream.fileno())
            self._partial.chmod(0o644)
            self._partial.rename(self.path)
        except OSError as error:
            raise Unavailable(f"{self.path} cannot be written ({error.strerror}); choose another name") from error


def check_output(path: Path) -> None:
    """Raises BadSetting when no MP4 can be written to `path`."""
    if path.is_dir():
        raise BadSetting(f"the output {path} is a folder; add a file name")
    if path.suffix.lower() != ".mp4":
        raise BadSetting(f"the output {path} must end in .mp4")
    if not path.parent.is_dir():
        raise BadSetting(f"there is no folder {path.parent} for the output; make it first")
    if not os.access(path.parent, os.W_OK):
        raise BadSetting(f"the folder {path.parent} of the output cannot be written to; choose another")
