"""What a file is, told from its name.

Owns the table of extensions. Must not look at bytes or trust what the client calls the type: the
type is decided once, from the extension of the name, and carried (key, label, folder).
Invariant: nothing of the name but a known extension ever reaches a key or a header.
"""

from tusplyr.core.model import Media

AUDIO = {
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "m4a": "audio/mp4",
    "aiff": "audio/aiff",
    "aif": "audio/aiff",
    "flac": "audio/flac",
    "webm": "audio/webm",
    "ogg": "audio/ogg",
}
IMAGES = {
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "gif": "image/gif",
}
OTHER = Media("files", "", "application/octet-stream")

MEDIA = {name: Media("audio", f".{name}", label) for name, label in AUDIO.items()} | {
    name: Media("images", f".{name}", label) for name, label in IMAGES.items()
}


def media_of(name: str) -> Media:
    """Return what a file of this name is; `OTHER` for an extension that is not in the table.

    A bare extension (``.mp3``) is a name without an extension, as in a shell.
    """
    stem, dot, extension = name.rpartition(".")
    if not dot or not stem.rpartition("/")[2]:
        return OTHER
    return MEDIA.get(extension.lower(), OTHER)
