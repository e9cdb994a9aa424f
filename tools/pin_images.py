"""Pins the images of others to what their tags stand for today: `tools/pin_images.py`, where Docker reaches a registry.

Writes the digest behind each tag in docker-compose.yml and in the Dockerfiles, `postgres:17@sha256:...`, so that every
build is made of the same bytes until this is run again. Writes nothing unless all digests are known.
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]

FILES: Final = ("docker-compose.yml", "apps/*/Dockerfile", "deploy/*/Dockerfile")

_IMAGE: Final = re.compile(
    r"^(\s*(?:image:|FROM) )([a-z0-9][\w./-]*:[\w.-]+)(?:@sha256:[0-9a-f]{64})?(?=\s|$)", re.MULTILINE
)

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


class NoDigest(Exception):
    """There is no telling what {image} stands for: {reason}"""

    def __init__(self, image: str, reason: str) -> None:
        super().__init__((type(self).__doc__ or "").format(image=image, reason=reason))


def files(root: Path) -> list[Path]:
    """All that name images."""
    return [path for pattern in FILES for path in sorted(root.glob(pattern))]


def images(text: str) -> set[str]:
    """The names and tags in a file, without their digests."""
    return {image for _, image in _IMAGE.findall(text)}


def pinned(text: str, digests: dict[str, str]) -> str:
    """The file with the digest of each image behind its tag, in place of the one that may be there."""
    return _IMAGE.sub(lambda found: f"{found[1]}{found[2]}@{digests[found[2]]}", text)


def digest_of(image: str) -> str:
    """Of the index for all platforms. Raises NoDigest."""
    command = ["docker", "buildx", "imagetools", "inspect", image, "--format", "{{.Manifest.Digest}}"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise NoDigest(image, "there is no docker here.") from None
    digest = asked.stdout.strip()
    if asked.returncode or not _DIGEST.fullmatch(digest):
        raise NoDigest(image, asked.stderr.strip() or f"docker said {digest!r}.")
    return digest


def main(root: Path = ROOT) -> None:
    """Pins all of them, and tells to what."""
    texts = {path: path.read_text() for path in files(root)}
    try:
        digests = {image: digest_of(image) for image in sorted(set().union(*map(images, texts.values())))}
    except NoDigest as error:
        sys.exit(str(error))
    for path, text in texts.items():
        path.write_text(pinned(text, digests))
    for image, digest in digests.items():
        print(f"{image}@{digest}")


if __name__ == "__main__":
    main()
